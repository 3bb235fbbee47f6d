//! From arguments to an exit code.

use std::ffi::OsString;

use crate::args::{self, Cli, Command};
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::style::{BAD, paint};
use crate::{
    adopt, application, audit, cluster, controller, demo, diagnose, drift, get, history, install, local,
    promote, simulate, version, why,
};

/// Runs one command line, the program's name first.
pub async fn run(environment: &Environment, arguments: &[OsString]) -> Exit {
    let cli = match args::parse(environment.called, arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(environment, &error),
    };
    let outcome = if minds_signals(&cli.command) {
        Box::pin(dispatch(environment, &cli)).await
    } else {
        tokio::select! {
            outcome = Box::pin(dispatch(environment, &cli)) => outcome,
            _ = tokio::signal::ctrl_c() => Err(Failure::silent(Exit::Interrupted)),
        }
    };
    match outcome {
        Ok(()) => Exit::Done,
        Err(failure) => {
            if !failure.message.is_empty() {
                environment.streams.note(&format!("{} {failure}", paint(BAD, "error:")));
            }
            failure.exit
        }
    }
}

/// Those that have something to put in order before they end.
fn minds_signals(command: &Command) -> bool {
    matches!(command, Command::Demo(_) | Command::Local(_) | Command::Controller(_))
}

async fn dispatch(environment: &Environment, cli: &Cli) -> Outcome {
    let global = &cli.global;
    match &cli.command {
        Command::Demo(arguments) => demo::run(environment, arguments).await,
        Command::Local(arguments) => local::run(environment, arguments).await,
        Command::Controller(arguments) => controller::run(environment, global, arguments).await,
        Command::Get(arguments) => get::run(environment, global, arguments).await,
        Command::Status(arguments) => application::status(environment, global, arguments).await,
        Command::Plan(arguments) => application::plan(environment, global, arguments).await,
        Command::Why(arguments) => Box::pin(why::run(environment, global, arguments)).await,
        Command::History(arguments) => Box::pin(history::run(environment, global, arguments)).await,
        Command::Diff(arguments) => Box::pin(application::diff(environment, global, arguments)).await,
        Command::Delete(arguments) => application::delete(environment, global, arguments).await,
        Command::Workflow(arguments) => application::workflow(environment, global, arguments).await,
        Command::Diagnose(arguments) => diagnose::run(environment, global, arguments).await,
        Command::Cluster(arguments) => cluster::run(environment, global, arguments).await,
        Command::Adopt(arguments) => adopt::run(environment, global, arguments).await,
        Command::Promote(arguments) => Box::pin(promote::run(environment, global, arguments)).await,
        Command::Audit(arguments) => audit::run(environment, global, arguments).await,
        Command::Drift(arguments) => drift::run(environment, global, arguments).await,
        Command::Simulate(arguments) => simulate::run(environment, global, arguments).await,
        Command::Install(arguments) => install::run(environment, global, arguments).await,
        Command::Uninstall(arguments) => install::uninstall(environment, global, arguments).await,
        Command::Version(arguments) => version::run(environment, arguments),
        Command::Completion(arguments) => completion(environment, arguments.shell),
    }
}

fn completion(environment: &Environment, shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    let mut command = args::command(environment.called);
    // Shells complete programs, not plugins.
    clap_complete::generate(shell, &mut command, "fleetctl", &mut script);
    environment.streams.print(&String::from_utf8_lossy(&script))
}

/// Help and version go to stdout; what is wrong with the arguments goes to stderr.
fn refuse(environment: &Environment, error: &clap::Error) -> Exit {
    let text = error.render().ansi().to_string();
    if error.use_stderr() {
        environment.streams.note(text.trim_end());
        return Exit::Usage;
    }
    match environment.streams.print(&text) {
        Ok(()) => Exit::Done,
        Err(failure) => failure.exit,
    }
}
