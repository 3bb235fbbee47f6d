//! `fleetctl audit`: the record of what happened to an Application and who decided.

pub(crate) mod chain;

use std::path::Path;
use std::sync::Arc;

use fleet_api::audit_log::holds;
use fleet_api::{AuditEntry, AuditHead};
use fleet_controller::audit::{Signer, check_public_key, verify_head};
use serde_json::json;

use self::chain::Chain;
use crate::application::{Place, clock};
use crate::args::{AuditArgs, AuditCommand, AuditExportArgs, AuditShowArgs, AuditVerifyArgs, Global};
use crate::environment::Environment;
use crate::exit::{Failure, Outcome};
use crate::table::Table;
use crate::version::write;

/// The controller's key, from a file or as it is.
///
/// # Errors
/// Where there is no such file, or something else in it.
pub(crate) fn signer(key: Option<&str>) -> Outcome<Option<Arc<Signer>>> {
    let Some(key) = key else { return Ok(None) };
    let (pem, from) = if key.trim_start().starts_with("-----BEGIN") {
        (key.as_bytes().to_vec(), "the key in the environment".to_owned())
    } else {
        (read(Path::new(key))?, key.to_owned())
    };
    let signer =
        Signer::from_pem(&pem).map_err(|error| Failure::usage(format!("--audit-key: {from}: {error}")))?;
    Ok(Some(Arc::new(signer)))
}

/// Does it.
///
/// # Errors
/// See the exit codes; a record that isn't whole is a failure.
pub async fn run(environment: &Environment, global: &Global, arguments: &AuditArgs) -> Outcome {
    match &arguments.command {
        AuditCommand::Show(arguments) => show(environment, global, arguments).await,
        AuditCommand::Verify(arguments) => verify(environment, global, arguments).await,
        AuditCommand::Export(arguments) => export(environment, global, arguments).await,
    }
}

async fn show(environment: &Environment, global: &Global, arguments: &AuditShowArgs) -> Outcome {
    let place = Place::find(environment, global, &arguments.app).await?;
    let chain = Chain::of(&place).await?;
    let wanted = |entry: &&AuditEntry| match arguments.run.as_deref() {
        None => true,
        Some(run) => {
            let number = entry.run.rsplit_once('-').map(|(_, number)| number);
            entry.run == run || number == Some(run)
        }
    };
    let entries: Vec<&AuditEntry> = chain.entries.iter().filter(wanted).collect();
    if let Some(run) = arguments.run.as_deref().filter(|_| entries.is_empty()) {
        return Err(Failure::not_found(format!(
            "the record of {} has no run {run:?}; see them all: {}",
            place.name,
            place.command("audit show")
        )));
    }
    // What is shown of a record that isn't whole is shown, and no script takes it for one that is.
    let whole =
        || chain.check().map_err(|why| Failure::failed(format!("{} isn't whole: {why}", chain.about())));
    if let Some(format) = arguments.output.output {
        let written = write(format, &json!({ "head": chain.head, "items": entries }))?;
        environment.streams.print(&written)?;
        return whole();
    }
    let mut table = Table::new(["NO", "TIME", "EVENT", "RUN", "STEP", "WHO", "WHAT"]);
    for entry in &entries {
        table.row([
            entry.sequence.to_string(),
            clock(entry.at),
            entry.event.clone(),
            or_dash(&entry.run),
            or_dash(&entry.step),
            who(entry),
            what(entry),
        ]);
    }
    environment.streams.print(&table.to_string())?;
    whole()
}

/// Everything that is on record of an Application, the oldest first.
///
/// # Errors
/// Nothing is, or it can't be read.
pub(crate) async fn recorded(place: &Place) -> Outcome<Vec<AuditEntry>> {
    Ok(Chain::of(place).await?.entries)
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn who(entry: &AuditEntry) -> String {
    match (entry.actor.as_str(), entry.proven) {
        ("", _) => "-".to_owned(),
        (actor, true) => actor.to_owned(),
        (actor, false) => format!("{actor} (not proved)"),
    }
}

fn what(entry: &AuditEntry) -> String {
    let mut said = Vec::new();
    if entry.event == "RunStarted" {
        said.push(format!("revision {}", entry.revision));
    }
    said.extend((!entry.reason.is_empty()).then(|| entry.reason.clone()));
    said.extend((!entry.message.is_empty()).then(|| entry.message.clone()));
    let plan: String = entry.plan_hash.chars().take(12).collect();
    said.extend((!plan.is_empty()).then(|| format!("plan {plan}")));
    for (phase, targets) in &entry.targets {
        said.push(match targets.as_slice() {
            [one] => format!("{phase}: {one}"),
            several => format!("{phase}: {} targets", several.len()),
        });
    }
    said.join("; ").replace('\n', " ")
}

async fn verify(environment: &Environment, global: &Global, arguments: &AuditVerifyArgs) -> Outcome {
    let mut remembered = Vec::new();
    // A key or an export that is no such thing says nothing about the record.
    let key = arguments.key.as_deref().map(read).transpose()?;
    if let (Some(pem), Some(file)) = (&key, &arguments.key) {
        check_public_key(pem).map_err(|why| {
            Failure::usage(format!("--key: {}: {why}; nothing was verified", file.display()))
        })?;
    }
    let earlier = arguments.against.as_deref().map(Chain::from_file).transpose()?;
    if let (Some(earlier), Some(file)) = (&earlier, &arguments.against) {
        let unfit = |why: String| {
            Failure::usage(format!("--against: {} {why}; nothing was verified", file.display()))
        };
        earlier.check().map_err(|why| unfit(format!("isn't whole itself: {why}")))?;
    }
    let mut missing = None;
    let chain = match (&arguments.file, &arguments.app) {
        (Some(file), _) => Chain::from_file(file)?,
        (None, Some(app)) => {
            let place = Place::find(environment, global, app).await?;
            // Before the record, which only grows.
            remembered = Chain::remembered(&place).await?;
            // Where something remembers a record that isn't there, it was taken away as a whole.
            match Chain::find(&place).await? {
                Some(chain) => chain,
                None => {
                    missing = Some(Chain::missing(&place));
                    Chain::empty(&place)
                }
            }
        }
        (None, None) => return Err(Failure::usage("name an Application, or a file with -f")),
    };
    let about = chain.about();
    let broken = |why: String| Failure::failed(format!("{about} isn't whole: {why}"));
    chain.check().map_err(broken)?;
    for (who, head) in &remembered {
        holds(&chain.entries, head).map_err(|error| broken(format!("{error} ({who} remembers it)")))?;
    }
    if let (Some(earlier), Some(file)) = (&earlier, &arguments.against) {
        if (&chain.namespace, &chain.application) != (&earlier.namespace, &earlier.application) {
            return Err(Failure::usage(format!(
                "--against: {} is an export of {}/{}; name one of {}/{}",
                file.display(),
                earlier.namespace,
                earlier.application,
                chain.namespace,
                chain.application
            )));
        }
        let end = earlier.entries.last().map(AuditEntry::head).unwrap_or_default();
        holds(&chain.entries, &end)
            .map_err(|why| broken(format!("{why} ({} remembers it)", file.display())))?;
    }
    if let Some(missing) = missing {
        return Err(missing);
    }
    if let Some(key) = &key {
        verify_head(key, &chain.head, &chain.namespace, &chain.application).map_err(broken)?;
    }
    let signed = match (&arguments.key, &chain.head) {
        (Some(_), AuditHead { signature: Some(signature), .. }) => {
            format!(", signed with key {}", signature.key)
        }
        _ => String::new(),
    };
    environment.streams.line(&format!("{about} is whole: {} entries{signed}", chain.head.sequence))?;
    if arguments.key.is_none() && arguments.against.is_none() {
        environment.streams.note(
            "a record that was cut off at its end is whole as well; --key or --against shows that nothing is missing there",
        );
    }
    Ok(())
}

fn read(file: &Path) -> Outcome<Vec<u8>> {
    std::fs::read(file)
        .map_err(|error| Failure::not_found(format!("{} can't be read: {error}", file.display())))
}

async fn export(environment: &Environment, global: &Global, arguments: &AuditExportArgs) -> Outcome {
    let place = Place::find(environment, global, &arguments.app).await?;
    let chain = Chain::of(&place).await?;
    environment.streams.print(&chain.to_lines()?)
}
