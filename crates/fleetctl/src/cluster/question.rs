//! Questions to whoever sits at the terminal.

use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};

/// Asks, and answers what was typed, in lower case. Without a terminal it is refused: `flag` says how to answer
/// beforehand.
pub(crate) async fn ask(environment: &Environment, question: &str, flag: &str) -> Outcome<String> {
    let streams = &environment.streams;
    if !streams.in_is_terminal {
        return Err(Failure::new(
            Exit::CannotAsk,
            format!("{question} There is no terminal to ask on; answer beforehand: {flag}"),
        ));
    }
    streams.print(&format!("{question} "))?;
    // Reading can't be given up, so it has a thread of its own, which the end of the program doesn't wait for.
    let line = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let line = line.await.ok().and_then(Result::ok).unwrap_or_default();
    Ok(line.trim().to_lowercase())
}

/// Asks for a yes.
///
/// # Errors
/// Where the answer is another one.
pub(crate) async fn agree(environment: &Environment, question: &str, yes: bool) -> Outcome {
    if yes {
        return Ok(());
    }
    let answer = ask(environment, &format!("{question} [y/N]"), "--yes").await?;
    if matches!(answer.as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(Exit::Waiting, "the question was answered with no; nothing was changed"))
}
