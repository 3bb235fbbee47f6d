//! What would be made, and what was.

use fleet_json::few;

use super::found::Member;
use super::manifest::{KEEP, Manifest, REPORT_ONLY};
use crate::application::Place;
use crate::cluster::plural;
use crate::table::Table;

/// The most fields that are named in a row.
const FIELDS: usize = 4;

/// What would be taken over, and what follows from it.
pub(super) fn plan(place: &Place, members: &[Member], manifest: &Manifest, tried: bool) -> String {
    let mut table = Table::new(["OBJECT", "CLUSTER", "DIFFERS", "LEFT TO OTHERS"]);
    for (at, id) in manifest.ids.iter().enumerate() {
        for (which, member) in members.iter().enumerate() {
            let left =
                manifest.left.get(at).and_then(|of| of.get(which)).map(Vec::as_slice).unwrap_or_default();
            let differs = some(manifest.differs(at, which));
            table.row([id.to_string(), member.label.clone(), differs, some(left)]);
        }
    }
    let changes = match tried {
        true => "Nothing of them changes but labels: tried on each cluster by a dry run.",
        false => "Nothing of them is meant to change but labels; not everything could be tried.",
    };
    format!(
        "Application {}/{} would take over, as they are:\n\n{table}\n{changes}\n\
         Drift is reported and left alone until the policy {REPORT_ONLY} is taken out of the Application.\n\
         A deletion of the Application leaves them where they are until the policy {KEEP} is taken out.\n",
        place.namespace, place.name
    )
}

fn some(fields: &[String]) -> String {
    if fields.is_empty() { "-".to_owned() } else { few(fields, FIELDS) }
}

/// What was made, and the next steps.
pub(super) fn made(place: &Place, manifest: &Manifest) -> String {
    let targets: usize = manifest.groups.iter().map(|group| group.members.len()).sum();
    let mut table = Table::bare();
    table.row(["  how far it is", &format!("{} -w", place.command("status"))]);
    table.row([
        "  what differs",
        &format!("{} drift list {} -n {}", place.called, place.name, place.namespace),
    ]);
    if let Some(at) = manifest.policy(REPORT_ONLY) {
        table.row(["  let it be repaired", &without(place, at, REPORT_ONLY)]);
    }
    format!(
        "application {}/{} created: it takes over {} on {}\n{table}",
        place.namespace,
        place.name,
        plural(manifest.ids.len(), "object", "objects"),
        plural(targets, "cluster", "clusters"),
    )
}

/// The command that takes a policy out, and does nothing where another one stands there by then.
fn without(place: &Place, at: usize, policy: &str) -> String {
    format!(
        "kubectl patch application {} -n {} --type json -p '[{{\"op\":\"test\",\"path\":\"/spec/policies/{at}/name\",\"value\":\"{policy}\"}},{{\"op\":\"remove\",\"path\":\"/spec/policies/{at}\"}}]'",
        place.name, place.namespace
    )
}
