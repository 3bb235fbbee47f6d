//! Who changed what a run takes its content from, and whether that is recorded at all.
//!
//! Admission writes [`names::AUTHOR`]: built into an embedded hub, a mutating webhook elsewhere. What stands there counts
//! only where nobody can write past it, which [`AuthorRecord`] says.

pub(crate) mod webhook;

use std::collections::BTreeSet;

use fleet_api::names;
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

/// The authors of what was read from the hub.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Authors {
    known: BTreeSet<String>,
    unattributed: BTreeSet<String>,
}

impl Authors {
    /// Takes note of an object of ours.
    pub(crate) fn see<K: ResourceExt>(&mut self, kind: &str, object: &K) {
        self.note(author_of(object.annotations()), || format!("{kind} {}", object.name_any()));
    }

    /// Takes note of one input.
    pub(crate) fn note(&mut self, author: Option<String>, input: impl FnOnce() -> String) {
        match author {
            Some(author) => self.known.insert(author),
            None => self.unattributed.insert(input()),
        };
    }

    /// Everybody, sorted.
    pub(crate) fn known(&self) -> Vec<String> {
        self.known.iter().cloned().collect()
    }

    /// The inputs that say not who changed them; at most [`NAMED`].
    pub(crate) fn unattributed(&self) -> Vec<String> {
        self.unattributed.iter().take(NAMED).cloned().collect()
    }
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
