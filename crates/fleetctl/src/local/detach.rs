//! `local up --detach`: the same program, in the background.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::folder::Folder;
use super::serve;
use crate::args::UpArgs;
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};

/// A start that takes longer has gone wrong.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn up(environment: &Environment, arguments: &UpArgs) -> Outcome {
    let folder = Folder::at(&arguments.data.data)?;
    // Here, too, so that there is a place for the log, and what is wrong with it is said at once.
    folder.prepare()?;
    let mut child = spawn(environment, arguments, &folder)?;
    let process = child.id();
    let Some(stdout) = child.stdout.take() else {
        return Err(Failure::failed("the new process has no output"));
    };
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map(|_| line)
    });
    let log = folder.log();
    let seen = || format!("its log is {}", log.display());
    let told = match tokio::time::timeout(PATIENCE, line).await {
        Ok(Ok(Ok(line))) => serde_json::from_str::<Value>(&line).unwrap_or_default(),
        Ok(_) => Value::Null,
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            let message = format!("pid {process} isn't ready after {seconds} s; {}", seen());
            return Err(Failure::new(Exit::Waiting, message));
        }
    };
    if let Some(ready) = told.get("ready") {
        let address = ready.get("address").and_then(Value::as_str).unwrap_or_default();
        let members = ready.get("members").and_then(Value::as_u64).unwrap_or_default();
        let seconds = ready.get("seconds").and_then(Value::as_f64).unwrap_or_default();
        let members = usize::try_from(members).unwrap_or_default();
        return serve::announce(environment, &folder, process, address, members, seconds);
    }
    let ended = child.wait().ok().and_then(|status| status.code());
    match told.pointer("/failure/message").and_then(Value::as_str) {
        Some(message) => {
            let code = told.pointer("/failure/exit").and_then(Value::as_u64).unwrap_or(1);
            let exit = Exit::ALL.iter().find(|(exit, _)| u64::from(exit.code()) == code);
            Err(Failure::new(exit.map_or(Exit::Failed, |(exit, _)| *exit), message))
        }
        None => {
            let code = ended.map_or_else(|| "a signal".to_owned(), |code| format!("code {code}"));
            Err(Failure::failed(format!("the new process ended with {code} before it was ready; {}", seen())))
        }
    }
}

fn spawn(environment: &Environment, arguments: &UpArgs, folder: &Folder) -> Outcome<Child> {
    let path = folder.log();
    let log =
        OpenOptions::new().create(true).append(true).open(&path).map_err(|e| Failure::file(&path, &e))?;
    let mut command = Command::new(&environment.executable);
    command.args(["local", "up", "--notify", "--data"]).arg(folder.path());
    for member in &arguments.members {
        let alias = member.alias.as_ref().map(|alias| format!("={alias}")).unwrap_or_default();
        command.arg("--members").arg(format!("{}{alias}", member.name));
    }
    if let Some(port) = arguments.port {
        command.arg("--port").arg(port.to_string());
    }
    let turns = &arguments.turns;
    command.arg(format!("--max-runs={}", turns.max_runs));
    command.arg(format!("--one-run-per-cluster={}", turns.one_run_per_cluster));
    if let Some(key) = &arguments.audit_key {
        // Not among the arguments: it may be the key itself.
        command.env("FLEETCTL_AUDIT_KEY", key);
    }
    if arguments.memory {
        command.arg("--memory");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    // Ctrl-C in this terminal isn't meant for it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let shown = environment.executable.display();
    command.spawn().map_err(|error| Failure::failed(format!("can't start {shown}: {error}")))
}
