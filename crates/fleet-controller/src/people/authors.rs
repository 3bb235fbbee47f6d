//! Who changed what a run takes its content from, and whether that is recorded at all.
//!
//! Admission writes [`names::AUTHOR`]: built into an embedded hub, a mutating webhook elsewhere. What stands there counts
//! only where nobody can write past it, which [`AuthorRecord`] says.

pub(crate) mod webhook;

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::{Run, RunPhase, authorship, names};
use jiff::Timestamp;
use kube::ResourceExt;

/// How many inputs without an author a Run names.
const NAMED: usize = 20;

/// How who changes what comes to be recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AuthorSource {
    /// By the hub itself, which runs in this process.
    BuiltIn,
    /// By a webhook that may or may not be there.
    #[default]
    Webhook,
}

/// Whether who changes Applications, Policies and Workflows is recorded by something that lets no change pass it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthorRecord {
    /// The hub does it.
    BuiltIn,
    /// The webhook is there, as it was installed.
    Webhook,
    /// It isn't, or lets changes pass: no author can be relied upon. The text says why, and what to do.
    Missing(String),
}

/// Who changed one object: the last one, and those before, as admission wrote it down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Authorship {
    last: Option<String>,
    changes: Option<Box<str>>,
}

impl Authorship {
    /// What an object's annotations say.
    pub(crate) fn of(annotations: &BTreeMap<String, String>) -> Self {
        let changes = annotations.get(names::AUTHORS).map(|text| text.as_str().into());
        Self { last: author_of(annotations), changes }
    }
}

/// The authors of what was read from the hub.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Authors {
    last: BTreeSet<String>,
    changes: authorship::Changes,
    /// More people changed these than they remember, the last of those at this time.
    crowded: BTreeMap<String, Timestamp>,
    unattributed: BTreeSet<String>,
}

impl Authors {
    /// Takes note of an object of ours.
    pub(crate) fn see<K: ResourceExt>(&mut self, kind: &str, object: &K) {
        self.note(&Authorship::of(object.annotations()), || format!("{kind} {}", object.name_any()));
    }

    /// Takes note of one input.
    pub(crate) fn note(&mut self, by: &Authorship, input: impl FnOnce() -> String) {
        let Some(last) = &by.last else {
            self.unattributed.insert(input());
            return;
        };
        self.last.insert(last.clone());
        let Some(changes) = by.changes.as_deref() else { return };
        let Some(mut changes) = authorship::read(changes) else {
            self.unattributed.insert(input());
            return;
        };
        if let Some(forgotten) = changes.remove("") {
            self.crowded.insert(input(), forgotten);
        }
        for (user, at) in changes {
            let newest = self.changes.entry(user).or_insert(at);
            *newest = at.max(*newest);
        }
    }

    /// Everybody who changed something after a time, and whoever changed each thing last; sorted.
    pub(crate) fn known(&self, since: Option<Timestamp>) -> Vec<String> {
        let recent = self.changes.iter().filter(|(_, at)| after(**at, since)).map(|(user, _)| user);
        let all: BTreeSet<&String> = self.last.iter().chain(recent).collect();
        all.into_iter().cloned().collect()
    }

    /// The inputs that don't say who changed them after a time; at most [`NAMED`].
    pub(crate) fn unattributed(&self, since: Option<Timestamp>) -> Vec<String> {
        let crowded = self.crowded.iter().filter(|(_, at)| after(**at, since)).map(|(input, _)| input);
        let all: BTreeSet<&String> = self.unattributed.iter().chain(crowded).collect();
        all.into_iter().take(NAMED).cloned().collect()
    }

    /// Who made the newest change of all.
    pub(crate) fn newest(&self) -> Option<String> {
        self.changes.iter().max_by_key(|(_, at)| **at).map(|(user, _)| user.clone())
    }

    /// The newest change of all.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        self.changes.values().chain(self.crowded.values()).max().copied()
    }
}

fn after(at: Timestamp, since: Option<Timestamp>) -> bool {
    since.is_none_or(|since| at > since)
}

/// Up to when changes need nobody's approval any more: a run completed them. What a run that ended otherwise took along
/// stays to be approved, whoever touches it afterwards.
pub(crate) fn completed_until(before: Option<&Run>) -> Option<Timestamp> {
    let run = before?;
    let completed = run.status.as_ref().is_some_and(|status| status.phase == RunPhase::Succeeded);
    run.spec.authored_until.filter(|_| completed).or(run.spec.authors_since)
}

/// Who an object says changed it.
pub(crate) fn author_of(annotations: &std::collections::BTreeMap<String, String>) -> Option<String> {
    annotations.get(names::AUTHOR).filter(|author| !author.is_empty()).cloned()
}

/// Whether authors are recorded in a namespace.
pub(crate) fn record(source: AuthorSource, webhook: AuthorRecord, namespace: &str) -> AuthorRecord {
    match source {
        AuthorSource::BuiltIn => AuthorRecord::BuiltIn,
        AuthorSource::Webhook => webhook::within(webhook, namespace),
    }
}

/// What is said until the webhook has been looked at.
pub(crate) fn unknown() -> AuthorRecord {
    AuthorRecord::Missing("whether authors are recorded isn't known yet".to_owned())
}
