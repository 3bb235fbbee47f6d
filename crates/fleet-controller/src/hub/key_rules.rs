//! Which labels and annotations belong to members, by rules that people give: ConfigMaps of the controller's own namespace
//! that carry the label `fleetctl.dev/key-rules`.
//!
//! Each entry of `data` is a YAML list of [`fleet_render::KeyRule`].

use fleet_health::RuleError;
use fleet_render::{KeyRule, KeyRules};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::reflector::Store;
use kube::runtime::watcher;
use serde_json::Value;

use crate::hub::rule_maps;
use crate::propagation::Inbox;

/// What they are called where the hub's watches are told of.
pub(crate) const KIND: &str = "ConfigMaps with rules of keys";

/// Takes in what they say now.
pub(crate) fn changed(inbox: &Inbox, store: &Store<ConfigMap>, event: &watcher::Event<ConfigMap>) {
    if !rule_maps::is_known(event) {
        return;
    }
    let maps = store.state();
    let (rules, errors) = read_key_rules(maps.iter().map(AsRef::as_ref));
    for error in errors {
        tracing::warn!(%error, "rules of keys aren't used until they are mended");
    }
    inbox.key_rules(rules);
}

/// Reads rules as ConfigMaps hold them, in the order of the ConfigMaps' names and of their entries, and what is wrong with
/// them. An entry with a mistake isn't used; the others are.
#[must_use]
pub fn read_key_rules<'m>(maps: impl IntoIterator<Item = &'m ConfigMap>) -> (KeyRules, Vec<RuleError>) {
    let (entries, mut errors) = rule_maps::entries(maps);
    let mut given: Vec<KeyRule> = Vec::new();
    for (source, value) in entries {
        let read = read_rules(value).and_then(|mut rules| {
            for rule in rules.iter_mut().filter(|rule| rule.name.is_empty()) {
                rule.name.clone_from(&source);
            }
            KeyRules::with(&rules).map(|_| rules).map_err(|error| (error.place, error.problem))
        });
        match read {
            Ok(rules) => given.extend(rules),
            Err((place, problem)) => errors.push(RuleError { source_name: source, place, problem }),
        }
    }
    // Each was tried by itself, so together they can't be wrong.
    (KeyRules::with(&given).unwrap_or_else(|_| KeyRules::builtin().clone()), errors)
}

/// The rules of one entry, or where in it something is wrong, and what.
fn read_rules(entry: Value) -> Result<Vec<KeyRule>, (String, String)> {
    let Value::Array(rules) = entry else {
        return Err(("the whole".to_owned(), "expected a list of rules".to_owned()));
    };
    let read = |(index, rule)| {
        serde_json::from_value(rule).map_err(|error| (format!("[{index}]"), error.to_string()))
    };
    rules.into_iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Broken: one bad entry takes all the others away, or nobody learns which one it is.
    #[test]
    fn each_entry_stands_for_itself() {
        let map: ConfigMap = serde_json::from_value(json!({
            "metadata": { "name": "ours", "namespace": "fleetctl-system" },
            "data": {
                "good.yaml": "[{kinds: [Service], annotations: {member: [example.com/*]}}]",
                "typo.yaml": "[{kinds: [service], labels: {member: [a]}}]",
                "unknown.yaml": "[{kinds: [Service], label: {member: [a]}}]",
            },
        }))
        .unwrap_or_default();
        let (rules, errors) = read_key_rules([&map]);
        let mut service = json!({ "apiVersion": "v1", "kind": "Service",
            "metadata": { "annotations": { "example.com/made": "x", "a": "b" }, "labels": { "a": "b" } } });
        let left = rules.leave(&mut service);
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(left[0].rule, "ConfigMap fleetctl-system/ours, good.yaml");
        assert_eq!(service["metadata"], json!({ "annotations": { "a": "b" }, "labels": { "a": "b" } }));
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("typo.yaml: [0].kinds[0]: expected Kind"), "{said:?}");
        assert!(said[1].contains("unknown.yaml: [0]: unknown field `label`"), "{said:?}");
    }
}
