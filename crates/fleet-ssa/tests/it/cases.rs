//! Runs the stories of `tests/data/cases/*.json`: a list of steps, each an apply or an update of one object,
//! with what must come of it.

use std::collections::BTreeMap;

use fleet_ssa::{
    ApplyError, ApplyRequest, FieldSet, ManagedFieldsEntry, UpdateRequest, apply, conflict_message,
    decode_managed_fields, update, write_managed_fields,
};
use serde_json::Value;

use crate::shape::shape;

fn owner(entry: &ManagedFieldsEntry) -> String {
    let mut text = format!("{}/{}", entry.manager, entry.operation.as_str());
    if !entry.subresource.is_empty() {
        text = format!("{text}/{}", entry.subresource);
    }
    text
}

fn without_managed_fields(object: &Value) -> Value {
    let mut object = object.clone();
    write_managed_fields(&mut object, &[]);
    let empty = object.get("metadata").and_then(Value::as_object).is_some_and(|map| map.is_empty());
    if empty {
        object.as_object_mut().unwrap().remove("metadata");
    }
    object
}

fn time_of(step: usize) -> String {
    format!("2026-01-01T00:00:{step:02}Z")
}

struct Step<'c> {
    case: &'c str,
    number: usize,
    step: &'c Value,
}

impl Step<'_> {
    fn text(&self, name: &str) -> &str {
        self.step.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn run(&self, live: &mut Option<Value>) {
        let known = [
            "apply",
            "update",
            "by",
            "via",
            "force",
            "ignore",
            "changed",
            "object",
            "owners",
            "times",
            "conflicts",
            "message",
            "invalid",
        ];
        for name in self.step.as_object().unwrap().keys() {
            assert!(known.contains(&name.as_str()), "{}: unknown key {name}", self.case);
        }
        let ignore: Vec<Vec<&str>> = self
            .step
            .get("ignore")
            .map(|paths| serde::Deserialize::deserialize(paths).unwrap())
            .unwrap_or_default();
        let ignore: FieldSet = ignore.iter().map(|names| fleet_ssa::Path::of_fields(names)).collect();
        if let Some(config) = self.step.get("apply") {
            self.apply(config, &ignore, live);
        } else {
            let mut new = self.step["update"].clone();
            let entries = update(UpdateRequest {
                live: live.as_ref(),
                new: &new,
                manager: self.text("by"),
                subresource: self.text("via"),
                api_version: "v1",
                now: &time_of(self.number),
                shape: shape(),
                ignore: &ignore,
            });
            write_managed_fields(&mut new, &entries);
            *live = Some(new);
        }
        self.check(live.as_ref());
    }

    fn apply(&self, config: &Value, ignore: &FieldSet, live: &mut Option<Value>) {
        let place = format!("{}, step {}", self.case, self.number);
        let result = apply(ApplyRequest {
            live: live.as_ref(),
            config,
            manager: self.text("by"),
            subresource: self.text("via"),
            api_version: "v1",
            force: self.step.get("force").is_some(),
            now: &time_of(self.number),
            shape: shape(),
            ignore,
        });
        match result {
            Ok(applied) => {
                for name in ["conflicts", "message", "invalid"] {
                    assert!(self.step.get(name).is_none(), "{place}: applied, but {name} were expected");
                }
                if let Some(changed) = self.step.get("changed") {
                    assert_eq!(applied.changed, changed.as_bool().unwrap(), "{place}: changed");
                }
                if !applied.changed {
                    assert_eq!(
                        live.as_ref(),
                        Some(&applied.object),
                        "{place}: unchanged, but another object"
                    );
                }
                *live = Some(applied.object);
            }
            Err(ApplyError::Conflicts(conflicts)) => {
                let found: Vec<String> =
                    conflicts.iter().map(|c| format!("{}: {}", c.manager, c.field)).collect();
                let expected: Vec<String> = self
                    .step
                    .get("conflicts")
                    .map(|list| serde_json::from_value(list.clone()).unwrap())
                    .unwrap_or_default();
                assert_eq!(found, expected, "{place}: conflicts");
                if let Some(message) = self.step.get("message") {
                    assert_eq!(Value::String(conflict_message(&conflicts)), *message, "{place}");
                }
            }
            Err(error) => assert_eq!(error.to_string(), self.text("invalid"), "{place}"),
        }
    }

    fn check(&self, live: Option<&Value>) {
        let place = format!("{}, step {}", self.case, self.number);
        let entries = live.map(|live| decode_managed_fields(live).unwrap()).unwrap_or_default();
        if let Some(object) = self.step.get("object") {
            let found = live.map(without_managed_fields).unwrap_or_default();
            assert_eq!(found, *object, "{place}: object");
        }
        if let Some(owners) = self.step.get("owners") {
            let expected: BTreeMap<String, Vec<String>> = serde_json::from_value(owners.clone()).unwrap();
            let found: BTreeMap<String, Vec<String>> = entries
                .iter()
                .map(|entry| (owner(entry), entry.fields.paths().iter().map(ToString::to_string).collect()))
                .collect();
            assert_eq!(found, expected, "{place}: owners");
        }
        if let Some(times) = self.step.get("times") {
            let expected: BTreeMap<String, usize> = serde_json::from_value(times.clone()).unwrap();
            let expected: BTreeMap<String, String> =
                expected.into_iter().map(|(owner, step)| (owner, time_of(step))).collect();
            let found: BTreeMap<String, String> =
                entries.iter().map(|entry| (owner(entry), entry.time.clone().unwrap_or_default())).collect();
            assert_eq!(found, expected, "{place}: times");
        }
    }
}

fn run(text: &str) {
    let cases: Value = serde_json::from_str(text).unwrap();
    for case in cases.as_array().unwrap() {
        let name = case["case"].as_str().unwrap();
        let mut live = case.get("live").cloned();
        for (number, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            Step { case: name, number, step }.run(&mut live);
        }
    }
}

/// Breaks when applying, conflicts or giving up fields no longer behaves as kube-apiserver does.
#[test]
fn apply_cases() {
    run(include_str!("../data/apply.json"));
}

/// Breaks when lists are merged, ordered or pruned otherwise than kube-apiserver does.
#[test]
fn list_cases() {
    run(include_str!("../data/lists.json"));
}

/// Breaks when writes other than apply give fields to the wrong owner.
#[test]
fn update_cases() {
    run(include_str!("../data/updates.json"));
}

/// Breaks when a user of `kubectl apply` can't move to `kubectl apply --server-side`.
#[test]
fn kubectl_cases() {
    run(include_str!("../data/kubectl.json"));
}
