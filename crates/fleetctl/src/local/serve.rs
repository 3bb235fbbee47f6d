//! `local up`: runs the fleet in this process until it is told to end.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use super::folder::Folder;
use crate::args::UpArgs;
use crate::embedded::{Embedded, EmbeddedError, EmbeddedOptions, MemberSpec, Storage};
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};
use crate::signals::Signals;

/// Runs until a signal, `local down` or a failure.
pub(super) async fn up(environment: &Environment, arguments: &UpArgs) -> Outcome {
    let outcome = run(environment, arguments).await;
    if arguments.notify
        && let Err(failure) = &outcome
    {
        // The process that waits for us is told, too; where it heard "ready" already, it has gone.
        let told = json!({ "failure": { "exit": failure.exit.code(), "message": failure.to_string() } });
        let _ = environment.streams.line(&told.to_string());
    }
    outcome
}

async fn run(environment: &Environment, arguments: &UpArgs) -> Outcome {
    let mut signals = Signals::new(arguments.notify)?;
    let began = tokio::time::Instant::now();
    let folder = Folder::at(&arguments.data.data)?;
    folder.prepare()?;
    let Some(lock) = lock(&folder).await? else { return Err(already(environment, &folder)?) };
    let mut fleet = start(environment, arguments, &folder).await?;
    let quit = fleet.quit();
    let ready = ready(environment, arguments, &folder, &fleet, began.elapsed().as_secs_f64());
    let ended = match ready {
        Ok(()) => tokio::select! {
            failure = fleet.failure() => Err(Failure::failed(format!("{failure}; the data in {} is kept", folder.path().display()))),
            () = signals.wait() => Ok(()),
            () = quit.cancelled() => Ok(()),
        },
        Err(failure) => Err(failure),
    };
    fleet.shutdown().await;
    folder.note_ended();
    drop(lock);
    ended
}

/// Takes the folder. Whoever only looks whether somebody runs holds the lock for a moment, too.
async fn lock(folder: &Folder) -> Outcome<Option<std::fs::File>> {
    let mut again = tokio::time::interval(std::time::Duration::from_millis(20));
    for _ in 0..5 {
        again.tick().await;
        if let Some(lock) = folder.lock()? {
            return Ok(Some(lock));
        }
    }
    Ok(None)
}

async fn start(environment: &Environment, arguments: &UpArgs, folder: &Folder) -> Outcome<Embedded> {
    let kept = folder.address()?.map(|address| address.port());
    let port = arguments.port.or(kept).unwrap_or(0);
    let options = EmbeddedOptions {
        storage: if arguments.memory { Storage::Memory } else { Storage::Sqlite(folder.store()) },
        members: arguments.members.clone(),
        first_members: MemberSpec::three_centres(),
        listen: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        pki: Some(folder.pki()),
        limits: arguments.turns.limits(),
        audit_signer: crate::audit::signer(arguments.audit_key.as_deref())?,
        ..EmbeddedOptions::in_memory(environment.clock.clone(), environment.seed)
    };
    Embedded::start(options).await.map_err(|error| explain(error, folder))
}

fn explain(error: EmbeddedError, folder: &Folder) -> Failure {
    let shown = folder.path().display();
    match error {
        EmbeddedError::Listen { address, source } if source.kind() == ErrorKind::AddrInUse => {
            Failure::refused(format!(
                "port {} is in use by another process; end that one, or choose another port with --port (the kubeconfig in {shown} follows)",
                address.port()
            ))
        }
        EmbeddedError::Listen { address, source } => {
            Failure::failed(format!("can't listen on {address}: {source}; choose another port with --port"))
        }
        EmbeddedError::Pki(fleet_apiserver::pki::PkiError::File { path, source }) => {
            Failure::file(&path, &source)
        }
        EmbeddedError::Member { .. } => Failure::usage(error.to_string()),
        EmbeddedError::Store(
            fleet_store::OpenError::Schema { .. } | fleet_store::OpenError::Locked { .. },
        ) => Failure::refused(error.to_string()),
        other => match folder.probe() {
            // The store says so, too, but not always in the first error that comes through.
            Err(failure) => failure,
            Ok(()) => Failure::failed(other.to_string()),
        },
    }
}

fn ready(
    environment: &Environment,
    arguments: &UpArgs,
    folder: &Folder,
    fleet: &Embedded,
    seconds: f64,
) -> Outcome {
    let Some(address) = fleet.address() else { return Err(Failure::failed("the listener has no address")) };
    let before = folder.read("kubeconfig")?.and_then(|text| serde_saphyr::from_str::<Value>(&text).ok());
    let kubeconfig = fleet.kubeconfig(before).map_err(|error| explain(error, folder))?;
    folder.write("kubeconfig", &kubeconfig.unwrap_or_default())?;
    super::user::refresh(folder)?;
    folder.note_running(environment.process, address)?;
    let members = fleet.fleet().members().len();
    if arguments.notify {
        let told = json!({ "ready": { "address": address, "members": members, "seconds": seconds } });
        return environment.streams.line(&told.to_string());
    }
    announce(environment, folder, environment.process, &address.to_string(), members, seconds)?;
    environment.streams.note("Ctrl-C ends it");
    Ok(())
}

/// Says that a fleet is ready, and prints the line that makes kubectl use it.
pub(super) fn announce(
    environment: &Environment,
    folder: &Folder,
    process: u32,
    address: &str,
    members: usize,
    seconds: f64,
) -> Outcome {
    environment.streams.note(&format!(
        "hub and {members} {} are ready after {seconds:.2} s at https://{address} (pid {process}, data {})",
        if members == 1 { "member" } else { "members" },
        folder.path().display()
    ));
    environment.streams.line(&export_line(folder))
}

fn export_line(folder: &Folder) -> String {
    let path = folder.kubeconfig().display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,=".contains(c);
    if path.chars().all(plain) {
        format!("export KUBECONFIG={path}")
    } else {
        format!("export KUBECONFIG='{}'", path.replace('\'', r"'\''"))
    }
}

fn already(environment: &Environment, folder: &Folder) -> Outcome<Failure> {
    let running = folder.running()?;
    let shown = running.map_or_else(|| "it has just ended; repeat".to_owned(), |running| running.to_string());
    let called = environment.called.as_str();
    let data = folder.path().display();
    Ok(Failure::new(
        Exit::Refused,
        format!(
            "a fleet already runs here: {shown} (data {data}); use it: {}; or end it: {called} local down --data {data}",
            export_line(folder)
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line is given to a shell.
    #[test]
    fn the_export_line_is_quoted_where_needed() {
        let folder = |path: &str| Folder::at(std::path::Path::new(path)).unwrap();
        assert_eq!(export_line(&folder("/data/fleet")), "export KUBECONFIG=/data/fleet/kubeconfig");
        assert_eq!(export_line(&folder("/my data/it's")), r"export KUBECONFIG='/my data/it'\''s/kubeconfig'");
    }
}
