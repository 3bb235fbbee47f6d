//! What happened when: read off the Application's status, and told in the same order in every run.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_api::Application;
use serde::Serialize;

use crate::roster::Roster;

/// What something on the timeline is about. Of one instant, this is the order of telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum About {
    Fault,
    Approval,
    Target,
    Gate,
    Step,
    Condition,
    Application,
}

impl About {
    fn word(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Approval => "approval",
            Self::Target => "target",
            Self::Gate => "gate",
            Self::Step => "step",
            Self::Condition => "condition",
            Self::Application => "application",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    /// Milliseconds since the Application was applied.
    pub(super) at: u64,
    pub(super) about: About,
    /// The step, the member, or the Application.
    pub(super) place: String,
    /// What.
    pub(super) what: String,
    /// Why, where something says so.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) why: String,
}

impl Entry {
    pub(super) fn line(&self) -> String {
        let why = if self.why.is_empty() { String::new() } else { format!("  {}", self.why) };
        format!("{:>10}  {:<11}  {}: {}{why}", clock(self.at), self.about.word(), self.place, self.what)
    }
}

/// `m:ss.mmm`, with hours where there are some.
pub(super) fn clock(millis: u64) -> String {
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let (seconds, millis) = (millis / 1000 % 60, millis % 1000);
    match hours {
        0 => format!("{minutes}:{seconds:02}.{millis:03}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}.{millis:03}"),
    }
}

/// What was told, and the last state of each thing.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    entries: Vec<Entry>,
    known: BTreeMap<(About, String), String>,
}

impl Timeline {
    pub(super) fn note(&mut self, at: Duration, about: About, place: &str, what: &str, why: &str) {
        let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        let (place, what, why) = (place.to_owned(), what.to_owned(), why.to_owned());
        self.entries.push(Entry { at, about, place, what, why });
    }

    /// Notes a state where it is another one than before; says whether it is.
    pub(super) fn turned(
        &mut self,
        at: Duration,
        about: About,
        (key, place): (&str, &str),
        what: &str,
        why: &str,
    ) -> bool {
        let key = (about, key.to_owned());
        let same = self.known.get(&key).is_some_and(|known| known == what);
        if !same {
            self.known.insert(key, what.to_owned());
            self.note(at, about, place, what, why);
        }
        !same
    }

    /// Notes what is new of an Application; says whether something is.
    pub(super) fn see(&mut self, at: Duration, app: &Application, roster: &Roster) -> bool {
        let Some(status) = &app.status else { return false };
        let mut news = false;
        let workflow = status.workflow.clone().unwrap_or_default();
        for step in workflow.all_steps() {
            let id = format!("{}/{}", workflow.run, step.name);
            for target in &step.targets {
                if target.phase == "pending" && target.reason.is_empty() {
                    continue;
                }
                let place = format!("{} in {}", roster.label(&target.cluster), step.name);
                let what = match target.reason.as_str() {
                    "" => target.phase.clone(),
                    reason => format!("{} ({reason})", target.phase),
                };
                let key = format!("{id}/{}/{}", target.cluster, target.namespace);
                news |= self.turned(at, About::Target, (&key, &place), &what, &target.message);
            }
            // A gate says more than its step; what is yet to come says nothing.
            if !matches!(step.phase.as_str(), "pending" | "suspending") {
                // What a step that runs waits for, its targets say.
                let what = match step.reason.as_str() {
                    reason if step.phase != "running" && !reason.is_empty() => {
                        format!("{} ({reason})", step.phase)
                    }
                    _ => step.phase.clone(),
                };
                let why = if step.phase == "running" { "" } else { step.message.as_str() };
                news |= self.turned(at, About::Step, (&id, &step.name), &what, why);
            }
        }
        for condition in status.conditions.iter().filter(|c| matches!(c.type_.as_str(), "Drifted" | "Held")) {
            let what = format!("{} {}", condition.type_, condition.status);
            let first =
                condition.is_true() || self.known.contains_key(&(About::Condition, condition.type_.clone()));
            if first {
                let (key, name) = (condition.type_.as_str(), app.metadata.name.clone().unwrap_or_default());
                news |= self.turned(at, About::Condition, (key, &name), &what, &condition.message);
            }
        }
        let name = app.metadata.name.clone().unwrap_or_default();
        let said = status.services.iter().find(|service| !service.healthy && !service.message.is_empty());
        let why = match status.status {
            fleet_api::Phase::Running | fleet_api::Phase::RunningWorkflow => "",
            fleet_api::Phase::Unhealthy => said.map_or("", |service| service.message.as_str()),
            fleet_api::Phase::WorkflowSuspending => "",
            _ if workflow.message.is_empty() => said.map_or("", |service| service.message.as_str()),
            _ => workflow.message.as_str(),
        };
        news | self.turned(at, About::Application, ("", &name), status.status.as_str(), why)
    }

    /// Everything, in order of time, and of one instant in an order that depends on nothing else.
    pub(super) fn into_entries(mut self) -> Vec<Entry> {
        // Of one place, in the order in which it happened.
        self.entries.sort_by(|a, b| (a.at, a.about, &a.place).cmp(&(b.at, b.about, &b.place)));
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Broken: two runs of one seed print the lines of an instant in two orders.
    #[test]
    fn one_instant_is_told_in_one_order() {
        let (mut one, mut two) = (Timeline::default(), Timeline::default());
        let at = Duration::from_millis(3_661_007);
        for place in ["a", "b"] {
            one.note(at, About::Target, place, "delivering", "");
        }
        for place in ["b", "a"] {
            two.note(at, About::Target, place, "delivering", "");
        }
        two.note(Duration::ZERO, About::Step, "go", "running", "");
        let (one, two) = (one.into_entries(), two.into_entries());
        assert_eq!(one, two[1..]);
        assert_eq!(one[0].line(), "1:01:01.007  target       a: delivering");
    }
}
