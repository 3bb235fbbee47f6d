//! Judges a play from outside: every write in its order, against what was known at that moment.

mod audit;
mod beginnings;
mod measures;
mod members;
mod natives;
mod order;
mod replicas;
mod waves;

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::{Approval, Inventory, ResourceTracker, Run};
use fleet_apiserver::ApiServer;
use fleet_store::{Event, EventKind};
use kube::ResourceExt as _;
use serde_json::Value;

use super::play::Played;
use super::record::Record;
use super::wanted::{SECRET, Wanted};

/// What was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub check: &'static str,
    /// The store's revision at which it was seen; 0 at the end.
    pub revision: u64,
    /// What was seen.
    pub said: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (at revision {}): {}", self.check, self.revision, self.said)
    }
}

/// What is known after so many writes.
struct Known<'a> {
    record: &'a Record,
    /// Applications by name: as they are.
    apps: BTreeMap<String, Value>,
    /// All runs that ever were.
    runs: BTreeMap<String, Run>,
    approvals: Vec<Approval>,
    /// By Application.
    inventories: BTreeMap<String, Inventory>,
    natives: natives::Natives,
    records: audit::Records,
    /// Runs and the clusters where all their objects were done at some time.
    completed: BTreeSet<(String, String)>,
    /// Revisions that were delivered, by the UID of their Application.
    delivered: BTreeSet<(String, String)>,
    /// What revisions of Applications say, by UID.
    revisions: BTreeMap<(String, String), Wanted>,
    /// Applications that ran everything that they say, at some time.
    ran: BTreeSet<String>,
}

/// Finds the first thing that is wrong.
pub(super) fn judge(played: &Played) -> Option<Violation> {
    let at_the_end = |check: &'static str, said: &[String]| {
        (!said.is_empty()).then(|| Violation { check, revision: 0, said: said.join("; ") })
    };
    at_the_end("nothing panics", &played.panics)
        .or_else(|| writes(&played.record))
        .or_else(|| replicas::alone(&played.record))
        .or_else(|| at_the_end("a run ends or says what it waits for", &played.speechless))
        .or_else(|| at_the_end("healed, all is as the last revision says", &played.unfinished))
}

fn writes(record: &Record) -> Option<Violation> {
    let mut known = Known {
        record,
        apps: BTreeMap::new(),
        runs: BTreeMap::new(),
        approvals: Vec::new(),
        inventories: BTreeMap::new(),
        natives: natives::Natives::default(),
        records: audit::Records::new(),
        completed: BTreeSet::new(),
        delivered: BTreeSet::new(),
        revisions: BTreeMap::new(),
        ran: BTreeSet::new(),
    };
    for event in &record.events {
        let broken = known.see(event);
        if let Err((check, said)) = broken {
            return Some(Violation { check, revision: event.revision, said });
        }
    }
    known.record_is_whole().or_else(|| known.measured_what_it_says())
}

type Verdict = Result<(), (&'static str, String)>;

fn holds_secret(text: &[u8], encoded: &[u8]) -> bool {
    let find = |needle: &[u8]| memchr::memmem::find(text, needle).is_some();
    find(SECRET.as_bytes()) || find(encoded)
}

impl Known<'_> {
    fn see(&mut self, event: &Event) -> Verdict {
        self.keeps_secrets(event)?;
        if &*event.key.cluster != ApiServer::HUB {
            self.native(event)?;
            return self.on_member(event);
        }
        match &*event.key.resource {
            "applications.core.oam.dev" => self.application(event),
            "runs.fleetctl.dev" => self.run(event),
            "auditlogs.fleetctl.dev" => self.record_grows(event),
            "approvals.fleetctl.dev" => {
                if event.kind == EventKind::Added
                    && let Ok(approval) = serde_json::from_slice(&event.value)
                {
                    self.approvals.push(approval);
                }
                Ok(())
            }
            "resourcetrackers.core.oam.dev" => {
                if let Ok(tracker) = serde_json::from_slice::<ResourceTracker>(&event.value) {
                    // What policies distribute is recorded in several.
                    let app = if tracker.name_any().starts_with("propagation-") {
                        tracker.name_any()
                    } else {
                        tracker.spec.application_name.clone()
                    };
                    match tracker.spec.inventory.unpack() {
                        Ok(inventory) if event.kind != EventKind::Deleted => {
                            self.inventories.insert(app, inventory);
                        }
                        _ => drop(self.inventories.remove(&app)),
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// No Secret's value leaves the objects that hold it.
    fn keeps_secrets(&self, event: &Event) -> Verdict {
        // base64 of the value, which is no multiple of three bytes long: without its last letters.
        const ENCODED: &[u8] = b"Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBs";
        if &*event.key.resource == "secrets" {
            return Ok(());
        }
        let mut told = holds_secret(&event.value, ENCODED);
        if matches!(
            &*event.key.resource,
            "applicationrevisions.core.oam.dev" | "resourcetrackers.core.oam.dev"
        ) {
            let object: Value = serde_json::from_slice(&event.value).unwrap_or_default();
            for packed in ["/spec/content", "/spec/inventory"] {
                let packed = object.pointer(packed).cloned().map(serde_json::from_value::<fleet_api::Packed>);
                if let Some(Ok(packed)) = packed {
                    let inside = packed.unpack::<Value>().map(|value| value.to_string()).unwrap_or_default();
                    told |= holds_secret(inside.as_bytes(), ENCODED);
                }
            }
        }
        if told { Err(("no Secret's value leaves it", event.key.to_string())) } else { Ok(()) }
    }

    /// The runs of an Application, the newest first.
    fn runs_of<'k>(&'k self, app: &'k str) -> impl Iterator<Item = &'k Run> {
        let mut runs: Vec<&Run> = self.runs.values().filter(|run| run.spec.application == app).collect();
        runs.sort_by_key(|run| std::cmp::Reverse((run.creation_timestamp(), run.spec.number)));
        runs.into_iter()
    }
}
