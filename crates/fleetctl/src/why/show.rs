//! What is said of each field.

use fleet_api::{Application, ObjectId, Source};
use fleet_controller::Delivered;
use kube::ResourceExt as _;
use serde_json::json;

use super::fields::{Field, SetBy};
use super::policies::{self, lost_of, said_of_lost};
use crate::application::plan::shown;
use crate::args::Output;
use crate::exit::Outcome;
use crate::output::style::{self, paint};
use crate::table::Table;
use crate::version::write;

/// What the fields are about.
pub(super) struct Head<'a> {
    pub(super) place: &'a str,
    pub(super) cluster: &'a str,
    pub(super) id: &'a ObjectId,
    pub(super) app: &'a Application,
    pub(super) delivered: &'a Delivered,
    /// What policies say that select it, too.
    pub(super) policies: Option<policies::Head<'a>>,
}

/// For programs.
pub(super) fn for_programs(format: Output, head: &Head<'_>, fields: &[Field]) -> Outcome<String> {
    let delivered = head.delivered;
    let policies = head.policies.as_ref().map(|policies| policies.distributed);
    let value = json!({
        "cluster": head.cluster,
        "object": head.id,
        "application": { "namespace": head.app.namespace().unwrap_or_default(), "name": head.app.name_any() },
        "component": delivered.component,
        "revision": delivered.revision,
        "step": delivered.step,
        "policy": policies.and_then(|found| found.winner.as_ref()),
        "place": policies.and_then(|found| found.place.as_ref()),
        "lost": policies.map(|found| lost_of(&found.lost)).unwrap_or_default(),
        "fields": fields,
    });
    write(format, &value)
}

/// For people.
pub(super) fn for_people(head: &Head<'_>, fields: &[Field]) -> String {
    let delivered = head.delivered;
    let app = format!("{}/{}", head.app.namespace().unwrap_or_default(), head.app.name_any());
    let mut out = format!(
        "{} on {}: Application {app}, component {}, revision {}, step {}\n",
        paint(style::STRONG, &head.id.to_string()),
        head.place,
        delivered.component,
        delivered.revision,
        delivered.step
    );
    if let Some(policies) = &head.policies {
        let found = policies.distributed;
        // What has it on the hub may be to bring it elsewhere only.
        let here = found.chosen || found.place.is_some();
        let winner = found.winner.as_ref().filter(|_| here);
        let has =
            winner.map(|winner| format!("{winner} has it on the hub: {}", policies::standing(policies)));
        for line in has.into_iter().chain(found.lost.iter().map(said_of_lost)) {
            out.push_str(&line);
            out.push('\n');
        }
    }
    out.push_str(&table(fields, |by| said(by, head)));
    out
}

/// The fields, in a table.
pub(super) fn table(fields: &[Field], said: impl Fn(&SetBy) -> String) -> String {
    let mut table = Table::new(["FIELD", "VALUE", "SET BY"]);
    for field in fields {
        let value = field.value.as_ref().map_or_else(|| "gone".to_owned(), shown::short);
        let mut by = said(&field.set_by);
        if let (Some(was), Some(was_by)) = (&field.delivered, &field.delivered_by) {
            let what = format!("; {} was delivered ({})", shown::short(was), said(was_by));
            by = format!("{by}{}", paint(style::WAITING, &what));
        }
        table.row([shown::visible(&field.path.to_dotted()), value, by]);
    }
    table.to_string()
}

fn said(by: &SetBy, head: &Head<'_>) -> String {
    match by {
        SetBy::Revision(Source::Referenced) => {
            let namespace = head.app.namespace().unwrap_or_default();
            format!("referenced object ({} {namespace}/{} on the hub)", head.id.kind, head.id.name)
        }
        SetBy::Revision(Source::Inline) => format!("properties of component {}", head.delivered.component),
        SetBy::Revision(source @ Source::Override { rule, .. }) if !rule.is_empty() => {
            format!("{source}, {rule}")
        }
        SetBy::Topology { policy: Some(policy) } => format!("policy {policy} (topology)"),
        SetBy::Topology { policy: None } => "the Application's namespace".to_owned(),
        SetBy::Application => format!(
            "component {} (the revision was recorded by an older version, which didn't say more)",
            head.delivered.component
        ),
        other => anybody(other),
    }
}

/// Who set a field, where it doesn't matter what delivers the object.
pub(super) fn anybody(by: &SetBy) -> String {
    match by {
        SetBy::Revision(source) => source.to_string(),
        SetBy::Fleetctl => "fleetctl".to_owned(),
        SetBy::Division { policy } => format!("{policy} (division of replicas)"),
        SetBy::Manager { manager, operation, time } => {
            let since = time.as_ref().map(|time| format!(", {time}")).unwrap_or_default();
            format!("{} on the member ({operation}{since})", shown::visible(manager))
        }
        SetBy::Server => "the member's API server".to_owned(),
        SetBy::Topology { .. } | SetBy::Application => "the Application".to_owned(),
    }
}
