//! The roles and bindings that every cluster has from the start.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::aggregation;
use super::{GROUP, Rule};

const DATA: &str = include_str!("../../data/rbac.yaml");

/// `"true"` where the server may add what a default role or binding lacks.
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

#[derive(Deserialize)]
struct Defaults {
    roles: Vec<Role>,
    bindings: Vec<Binding>,
}

#[derive(Deserialize)]
struct Role {
    name: String,
    #[serde(default)]
    gathers: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Binding {
    role: String,
    groups: Vec<String>,
}

/// The objects with the store's names of their resources; aggregated roles already have their rules.
pub(crate) fn objects() -> &'static [(&'static str, Value)] {
    static OBJECTS: OnceLock<Vec<(&'static str, Value)>> = OnceLock::new();
    OBJECTS.get_or_init(|| match serde_saphyr::from_str::<Defaults>(DATA) {
        Ok(defaults) => made_of(defaults),
        Err(error) => {
            tracing::error!(%error, "the roles that every cluster has can't be read");
            Vec::new()
        }
    })
}

fn made_of(defaults: Defaults) -> Vec<(&'static str, Value)> {
    let mut roles: BTreeMap<String, Value> = BTreeMap::new();
    for role in defaults.roles {
        let mut labels: Map<String, Value> =
            role.labels.into_iter().map(|label| (label, json!("true"))).collect();
        labels.insert("kubernetes.io/bootstrapping".into(), json!("rbac-defaults"));
        let mut object = json!({
            "apiVersion": format!("{GROUP}/v1"),
            "kind": "ClusterRole",
            "metadata": metadata(&role.name, labels),
            "rules": role.rules,
        });
        if let (Some(label), Some(fields)) = (role.gathers, object.as_object_mut()) {
            let selectors = json!([{"matchLabels": {label: "true"}}]);
            fields.insert("aggregationRule".into(), json!({"clusterRoleSelectors": selectors}));
        }
        roles.insert(role.name, object);
    }
    aggregation::settle(&mut roles);
    let bindings = defaults.bindings.into_iter().map(|binding| {
        let subjects: Vec<Value> = binding
            .groups
            .iter()
            .map(|name| json!({"apiGroup": GROUP, "kind": "Group", "name": name}))
            .collect();
        let mut labels = Map::new();
        labels.insert("kubernetes.io/bootstrapping".into(), json!("rbac-defaults"));
        let object = json!({
            "apiVersion": format!("{GROUP}/v1"),
            "kind": "ClusterRoleBinding",
            "metadata": metadata(&binding.role, labels),
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": binding.role},
            "subjects": subjects,
        });
        ("clusterrolebindings.rbac.authorization.k8s.io", object)
    });
    let roles = roles.into_values().map(|role| (aggregation::RESOURCE, role));
    roles.chain(bindings.collect::<Vec<_>>()).collect()
}

/// A default role or binding that stands there, with what it lacks of the default of this version; nothing where it lacks
/// nothing, or somebody said that it isn't to be changed (the annotation
/// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#auto-reconciliation>). What somebody added stays, and the
/// rules of an aggregated role follow those that it gathers.
pub(crate) fn completed(stored: &Value, default: &Value) -> Option<Value> {
    let kept = stored.pointer("/metadata/annotations").and_then(|all| all.get(AUTO_UPDATE));
    if kept.and_then(Value::as_str) != Some("true") {
        return None;
    }
    let mut completed = stored.clone();
    let gathers = default.get("aggregationRule").is_some();
    let lists: &[&str] = if gathers { &[] } else { &["rules", "subjects"] };
    for field in lists {
        let Some(wanted) = default.get(*field).and_then(Value::as_array) else { continue };
        let fields = completed.as_object_mut()?;
        let list = fields.entry(*field).or_insert_with(|| json!([]));
        if list.is_null() {
            *list = json!([]);
        }
        let list = list.as_array_mut()?;
        for entry in wanted {
            if !list.contains(entry) {
                list.push(entry.clone());
            }
        }
    }
    if gathers && completed.get("aggregationRule").is_none_or(Value::is_null) {
        completed.as_object_mut()?.insert("aggregationRule".into(), default.get("aggregationRule")?.clone());
    }
    let labels = default.pointer("/metadata/labels").and_then(Value::as_object);
    let metadata = completed.get_mut("metadata")?.as_object_mut()?;
    let own = metadata.entry("labels").or_insert_with(|| json!({})).as_object_mut()?;
    for (label, value) in labels.into_iter().flatten() {
        own.entry(label.clone()).or_insert_with(|| value.clone());
    }
    (completed != *stored).then_some(completed)
}

fn metadata(name: &str, labels: Map<String, Value>) -> Value {
    json!({
        "name": name,
        "labels": labels,
        "annotations": {AUTO_UPDATE: "true"},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectExt;

    /// Every member has them, and an idle one may take 64 KiB.
    #[test]
    fn they_are_small() {
        let bytes: usize = objects().iter().map(|(_, object)| object.to_string().len()).sum();
        assert!(bytes < 20 * 1024, "{bytes}");
    }

    /// Broken: a newer version starts on an old data folder, and who has a default role lacks what clients need by now; or
    /// what somebody added, or took in hand, is overwritten.
    #[test]
    fn what_an_earlier_version_did_not_know_is_added() {
        let default = |name: &str, kind: &str| {
            let mut found =
                objects().iter().filter(|(_, object)| object.name() == name && object["kind"] == kind);
            found.next().unwrap().1.clone()
        };
        for (name, kind, list) in [
            ("system:discovery", "ClusterRole", "rules"),
            ("system:discovery", "ClusterRoleBinding", "subjects"),
        ] {
            let new = default(name, kind);
            assert_eq!(completed(&new, &new), None, "nothing to do is nothing done");
            let mut old = new.clone();
            let mine = json!({"mine": true});
            old[list] = json!([mine]);
            let after = completed(&old, &new).unwrap();
            let all = after[list].as_array().unwrap();
            assert_eq!(all[0], mine, "what somebody added stays, and first");
            assert_eq!(all[1..], *new[list].as_array().unwrap());
            assert_eq!(completed(&after, &new), None);
            old["metadata"]["annotations"][AUTO_UPDATE] = json!("false");
            assert_eq!(completed(&old, &new), None, "whoever takes it in hand keeps it");
        }
        let new = default("view", "ClusterRole");
        let mut old = new.clone();
        old["rules"] = json!([]);
        old["metadata"]["labels"] = json!({});
        let after = completed(&old, &new).unwrap();
        assert_eq!((&after["rules"], &after["metadata"]["labels"]), (&json!([]), &new["metadata"]["labels"]));
    }

    /// Without them nobody but `system:masters` could even ask what there is.
    #[test]
    fn everybody_finds_the_roles_that_clients_expect() {
        let objects = objects();
        let role = |name: &str| objects.iter().find(|(_, object)| object.name() == name).map(|(_, o)| o);
        for name in ["cluster-admin", "admin", "edit", "view", "system:basic-user", "system:discovery"] {
            assert!(role(name).is_some_and(|role| !role["rules"].as_array().unwrap().is_empty()), "{name}");
        }
        let rules = |name: &str| -> Vec<Rule> {
            serde_json::from_value(role(name).unwrap()["rules"].clone()).unwrap()
        };
        // Who may administer a namespace may do what who edits and views it may; nobody sees Secrets by viewing.
        for (more, less) in [("admin", "edit"), ("edit", "view")] {
            assert_eq!(super::super::escalation::lacking(&rules(more), &rules(less)), Ok(vec![]));
        }
        let secrets =
            |rules: Vec<Rule>| rules.iter().any(|rule| rule.resources.iter().any(|r| r == "secrets"));
        assert!(!secrets(rules("view")) && secrets(rules("edit")));
    }
}
