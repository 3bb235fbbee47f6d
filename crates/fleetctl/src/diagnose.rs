//! `fleetctl diagnose`: finds the usual mistakes and says how to mend each. It reads and changes nothing.
//!
//! ```text
//!  gather (reads the hub) ──► Snapshot ──► findings (pure) ──► table, or JSON
//! ```

pub mod findings;
pub(crate) mod gather;
pub mod snapshot;

use serde_json::json;

use self::findings::{Finding, Severity, findings};
use self::gather::{Scope, gather};
use crate::access::Access;
use crate::args::{DiagnoseArgs, Global};
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::style::{self, paint};
use crate::version::write;

/// Does it.
///
/// # Errors
/// [`Exit::Failed`] with nothing more to say where an error was found, and where the hub doesn't answer.
pub async fn run(environment: &Environment, global: &Global, arguments: &DiagnoseArgs) -> Outcome {
    let access = Access::load(environment, global)?;
    let hub = access.hub().await?;
    let scope = match &arguments.app {
        Some(name) => Scope::One { namespace: access.namespace(&hub), name: name.clone() },
        None => Scope::All,
    };
    let snapshot = Box::pin(gather(&hub, access.called(), environment.now(), &scope)).await?;
    let found = findings(&snapshot);
    match arguments.output.output {
        Some(format) => {
            let whole = json!({
                "hub": { "context": hub.context, "server": hub.server },
                "applications": snapshot.applications.len(),
                "members": snapshot.clusters.len(),
                "findings": found,
            });
            environment.streams.print(&write(format, &whole)?)?;
        }
        None => environment.streams.print(&text(&found))?,
    }
    if found.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(Failure::silent(Exit::Failed));
    }
    Ok(())
}

fn text(found: &[Finding]) -> String {
    let mut out = String::new();
    for finding in found {
        let (word, look) = match finding.severity {
            Severity::Error => ("error", style::BAD),
            Severity::Warning => ("warning", style::WAITING),
            Severity::Note => ("note", style::FAINT),
        };
        out.push_str(&format!(
            "{} {} ({})\n",
            paint(look, word),
            paint(style::STRONG, &finding.about),
            finding.code
        ));
        out.push_str(&format!("  {}\n  {} {}\n", finding.message, paint(style::FAINT, "→"), finding.mend));
    }
    let count = |severity| found.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings, notes) = (count(Severity::Error), count(Severity::Warning), count(Severity::Note));
    if found.is_empty() {
        out.push_str("nothing is wrong\n");
    } else {
        out.push_str(&format!("errors: {errors}, warnings: {warnings}, notes: {notes}\n"));
    }
    out
}
