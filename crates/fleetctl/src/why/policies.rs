//! What is said of an object that policies distribute: who has it, who doesn't, what overrides made of it.

use fleet_api::propagation::{ObjectPlace, PlacePhase, Precision};
use fleet_api::{Source, names};
use fleet_controller::{Distributed, LostClaim};
use serde_json::{Value, json};

use super::fields::{Field, SetBy};
use super::show::{anybody, table};
use crate::application::plan::shown;
use crate::args::Output;
use crate::exit::Outcome;
use crate::output::style::{self, paint};
use crate::table::Table;
use crate::version::write;

/// What is to be said.
pub(super) struct Head<'a> {
    pub(super) place: &'a str,
    pub(super) cluster: &'a str,
    pub(super) distributed: &'a Distributed,
    /// The object there; nothing where it isn't, or isn't from them.
    pub(super) live: Option<&'a Value>,
    /// Whose the object is that is there and isn't from them.
    pub(super) instead: Option<String>,
}

impl Head<'_> {
    /// What is there was delivered before something changed on the hub.
    fn is_outdated(&self) -> bool {
        let label =
            |live: &Value| Some(live.pointer("/metadata/labels")?.get(names::CONTENT)?.as_str()?.to_owned());
        self.live.and_then(label).is_some_and(|content| content != self.distributed.content)
    }
}

fn precision(precision: Precision) -> &'static str {
    match precision {
        Precision::Kind => "kind",
        Precision::Labels => "labels",
        Precision::Name => "name",
    }
}

/// The policies that don't have it, for programs.
pub(super) fn lost_of(lost: &[LostClaim]) -> Vec<Value> {
    let one =
        |lost: &LostClaim| json!({ "policy": lost.policy, "reason": lost.reason, "message": lost.message });
    lost.iter().map(one).collect()
}

/// For programs.
pub(super) fn for_programs(format: Output, head: &Head<'_>, fields: &[Field]) -> Outcome<String> {
    let found = head.distributed;
    let overrides = found.overrides.iter().map(|step| {
        let changes = step.changes.iter();
        let changes =
            changes.map(|one| json!({ "path": one.path, "before": one.before, "after": one.after }));
        json!({ "policy": step.policy, "place": step.place, "changes": changes.collect::<Vec<Value>>() })
    });
    let left = found.left.iter();
    let left = left.map(|left| json!({ "field": left.field.as_str(), "key": left.key, "rule": left.rule }));
    let value = json!({
        "cluster": head.cluster,
        "object": found.id,
        "policy": found.winner,
        "selectedBy": found.precision.map(precision),
        "dependent": found.dependent,
        "lost": lost_of(&found.lost),
        "place": found.place,
        "leftOut": found.left_out,
        "replicas": found.replicas,
        "overrides": overrides.collect::<Vec<Value>>(),
        "warnings": found.warnings.iter().map(ToString::to_string).collect::<Vec<String>>(),
        "failed": found.failed.as_ref().map(ToString::to_string),
        "leftToMember": left.collect::<Vec<Value>>(),
        "instead": head.instead,
        "outdated": head.is_outdated(),
        "fields": fields,
    });
    write(format, &value)
}

/// For people.
pub(super) fn for_people(head: &Head<'_>, fields: &[Field]) -> String {
    let found = head.distributed;
    let by = match (&found.winner, found.precision) {
        (Some(winner), Some(how)) => format!("{winner} has it, by {}", precision(how)),
        (Some(winner), _) if found.dependent => {
            format!("it goes along with workloads of {winner} (propagateDeps)")
        }
        (Some(winner), None) => format!("{winner} keeps it, though it doesn't select it any more"),
        (None, _) => "no policy has it".to_owned(),
    };
    let mut out = format!("{} on {}: {by}\n", paint(style::STRONG, &found.id.to_string()), head.place);
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(standing(head));
    if let Some(instead) = &head.instead {
        line(paint(style::WAITING, &format!("what is there isn't from it: {instead}")));
    }
    found.lost.iter().for_each(|lost| line(said_of_lost(lost)));
    if let Some(failed) = &found.failed {
        line(paint(style::WAITING, &format!("nothing new is delivered there: {failed}")));
    }
    for warning in &found.warnings {
        line(paint(style::WAITING, &warning.to_string()));
    }
    for left in &found.left {
        let what = format!("metadata.{}[{:?}]", left.field.as_str(), left.key);
        line(format!("{what} of the hub's object isn't sent: it belongs to the member ({})", left.rule));
    }
    if !found.overrides.is_empty() {
        let mut table = Table::new(["OVERRIDE", "FIELD", "BEFORE → AFTER"]);
        for step in &found.overrides {
            let name = format!("{}, {}", step.policy, step.place);
            if step.changes.is_empty() {
                table.row([name.clone(), "-".to_owned(), "it was so before".to_owned()]);
            }
            for one in &step.changes {
                let change = shown::change(one.before.as_ref(), one.after.as_ref());
                table.row([name.clone(), shown::visible(&one.path.to_dotted()), change]);
            }
        }
        line(String::new());
        out.push_str(&table.to_string());
    }
    if !fields.is_empty() {
        out.push('\n');
        out.push_str(&table(fields, |by| said(by, head)));
    }
    out
}

/// A policy that selects the object and doesn't have it.
pub(super) fn said_of_lost(lost: &LostClaim) -> String {
    format!("{} doesn't have it ({}): {}", lost.policy, lost.reason, lost.message)
}

/// How it stands there.
pub(super) fn standing(head: &Head<'_>) -> String {
    let found = head.distributed;
    let there = match (&found.place, head.live) {
        (Some(ObjectPlace { phase: PlacePhase::Delivered, .. }), None) => {
            "it isn't there, though its policy's status says Delivered yet; ask again in a moment".to_owned()
        }
        (Some(ObjectPlace { phase, reason, message, replicas, health, ready, addresses, .. }), _) => {
            let mut replicas = replicas.map(|count| format!(", {count} replicas")).unwrap_or_default();
            if let Some(health) = health {
                replicas.push_str(&format!(", {health}"));
            }
            if !ready.is_empty() {
                replicas.push_str(&format!(", {ready} ready"));
            }
            if !addresses.is_empty() {
                replicas.push_str(&format!(", at {}", addresses.join(", ")));
            }
            let why = match reason.as_str() {
                "" => String::new(),
                reason => format!(" ({reason}): {message}"),
            };
            format!("{}{replicas}{why}", phase.as_str())
        }
        (None, Some(_)) if found.chosen => {
            "it is to be there; its policy's status lists 100 objects at most, the unfinished and the unwell first".to_owned()
        }
        (None, None) if found.chosen => "it is to be there, and on its way".to_owned(),
        (None, Some(_)) => "its policy says nothing about this cluster: it is leaving".to_owned(),
        (None, None) if found.winner.is_none() => "so no policy sends it anywhere".to_owned(),
        (None, None) => match &found.left_out {
            Some(why) => format!("it isn't to be there: {why}"),
            None => "it isn't to be there: its policy doesn't choose this cluster".to_owned(),
        },
    };
    match head.is_outdated() {
        true => format!("{there}; what is there was delivered earlier, the hub says something else now"),
        false => there,
    }
}

fn said(by: &SetBy, head: &Head<'_>) -> String {
    match by {
        SetBy::Revision(Source::Referenced) => format!("{} on the hub", head.distributed.id),
        SetBy::Revision(Source::Override { policy, rule, .. }) if !rule.is_empty() => {
            format!("{policy}, {rule}")
        }
        other => anybody(other),
    }
}
