//! The record: one chain for each Application, that only grows and misses nothing that people decided.

use std::collections::BTreeMap;

use fleet_api::{AuditEntry, AuditLog, GateOutcome, audit_log};
use fleet_store::{Event, EventKind};

use super::{Known, Verdict, Violation};

const CHAIN: &str = "the record is one chain that only grows";
const WHOLE: &str = "the record misses nothing that was decided";

/// Entries by Application, of all segments.
pub(super) type Records = BTreeMap<String, BTreeMap<u32, Vec<AuditEntry>>>;

impl Known<'_> {
    pub(super) fn record_grows(&mut self, event: &Event) -> Verdict {
        if event.kind == EventKind::Deleted {
            return Err((CHAIN, format!("{} was deleted", event.key)));
        }
        let Ok(log) = serde_json::from_slice::<AuditLog>(&event.value) else {
            return Err((CHAIN, format!("{} can't be read", event.key)));
        };
        let segments = self.records.entry(log.spec.application.clone()).or_default();
        let before = segments.insert(log.spec.segment, log.spec.entries.clone()).unwrap_or_default();
        if !log.spec.entries.starts_with(&before) {
            return Err((CHAIN, format!("{} says something else than before", event.key)));
        }
        let head = audit_log::verify_chain(segments.values().flatten());
        let head = head.map_err(|error| (CHAIN, format!("{}: {error}", event.key)))?;
        if (head.sequence, &head.hash) != (log.spec.head.sequence, &log.spec.head.hash) {
            return Err((CHAIN, format!("the head of {} isn't its end", event.key)));
        }
        Ok(())
    }

    /// At the end, every run that is over is on record, and every decision at its gates.
    pub(super) fn record_is_whole(&self) -> Option<Violation> {
        let missing = |run: &str, what: &str| Violation {
            check: WHOLE,
            revision: 0,
            said: format!("{run}: {what} isn't on record"),
        };
        for (name, run) in &self.runs {
            // Of an Application that went away in the middle nothing more is written.
            let there = self.apps.get(&run.spec.application).is_some_and(|app| {
                let uid = app.pointer("/metadata/uid").and_then(serde_json::Value::as_str);
                uid == Some(run.spec.application_uid.as_str())
            });
            let Some(status) = run.status.as_ref().filter(|status| status.phase.is_over() && there) else {
                continue;
            };
            let entries =
                self.records.get(&run.spec.application).into_iter().flat_map(BTreeMap::values).flatten();
            let entries: Vec<&AuditEntry> = entries.filter(|entry| entry.run == *name).collect();
            let has = |event: &str, step: &str| entries.iter().any(|e| e.event == event && e.step == step);
            if !has("RunEnded", "") {
                return Some(missing(name, "its end"));
            }
            for step in &status.steps {
                let Some(gate) = &step.gate else { continue };
                let decided = match gate.outcome {
                    GateOutcome::Approved => "Approved",
                    GateOutcome::Rejected => "Rejected",
                    _ => continue,
                };
                if !has(decided, &step.name) {
                    return Some(missing(name, &format!("{decided} at {}", step.name)));
                }
            }
        }
        None
    }
}
