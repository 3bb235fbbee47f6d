//! ClusterRoles that are made of others: their rules follow those that their selectors find.
//!
//! See <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles>.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_json::LabelSelector;
use fleet_store::{Page, Range};
use http::Method;
use serde_json::{Value, json};

use crate::object::ObjectExt;
use crate::upkeep::{Refusal, Upkeep, Work, gone_is_fine};

/// The store's name of ClusterRoles.
pub(crate) const RESOURCE: &str = "clusterroles.rbac.authorization.k8s.io";
const CONTROLLER: &str = "clusterrole-aggregation-controller";
/// Roles that gather each other are settled in as many turns as the longest chain has links.
const TURNS: usize = 16;

/// Looks at a cluster's aggregated roles: after a ClusterRole has changed.
pub(crate) fn changed(upkeep: &Upkeep, cluster: &Arc<str>, resource: &str) {
    if resource == RESOURCE {
        upkeep.queues.add(cluster, Work::Roles);
    }
}

/// Looks at every cluster's: after changes were missed.
pub(crate) fn look_at_all(upkeep: &Upkeep) {
    for cluster in upkeep.server.clusters() {
        upkeep.queues.add(&cluster.into(), Work::Roles);
    }
}

/// Brings the rules of a cluster's aggregated roles to what the others say now.
pub(crate) async fn tend(upkeep: &Upkeep, cluster: &Arc<str>) -> Result<(), Refusal> {
    let range = Range::cluster(Arc::clone(cluster), RESOURCE);
    let Ok(listing) = upkeep.server.store().list(&range, Page::default()) else { return Ok(()) };
    let gathers = |value: &[u8]| memchr::memmem::find(value, b"\"aggregationRule\"").is_some();
    if !listing.entries.iter().any(|entry| gathers(&entry.value)) {
        return Ok(());
    }
    let mut roles: BTreeMap<String, Value> = BTreeMap::new();
    for entry in &listing.entries {
        let role: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
        roles.insert(entry.key.name.as_ref().to_owned(), role);
    }
    for name in settle(&mut roles) {
        let Some(role) = roles.get(&name) else { continue };
        let path = format!("/apis/{}/v1/clusterroles/{}", super::GROUP, escaped(&name));
        // With the version: whoever changed the role meanwhile brings it up again.
        let body = json!({
            "metadata": {"resourceVersion": role.meta_str("resourceVersion")},
            "rules": role.get("rules"),
        });
        gone_is_fine(upkeep.call(cluster, CONTROLLER, Method::PATCH, &path, &body).await)?;
    }
    Ok(())
}

/// Gives the aggregated ones among these ClusterRoles, by name, the rules that they are to have; answers which have
/// changed.
pub(super) fn settle(roles: &mut BTreeMap<String, Value>) -> Vec<String> {
    let gathering: Vec<(String, Vec<LabelSelector>)> =
        roles.iter().filter_map(|(name, role)| Some((name.clone(), selectors(role)?))).collect();
    let mut changed: Vec<String> = Vec::new();
    for _ in 0..TURNS {
        let mut moved = false;
        for (name, selectors) in &gathering {
            let rules = gathered(name, selectors, roles);
            let Some(fields) = roles.get_mut(name).and_then(Value::as_object_mut) else { continue };
            let now = fields.get("rules").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            if now != rules {
                fields.insert("rules".into(), Value::Array(rules));
                moved = true;
                if !changed.contains(name) {
                    changed.push(name.clone());
                }
            }
        }
        if !moved {
            break;
        }
    }
    changed
}

/// What a role selects; `None` where it doesn't gather. A selector that can't be read selects nothing.
fn selectors(role: &Value) -> Option<Vec<LabelSelector>> {
    let rule = role.get("aggregationRule").filter(|rule| !rule.is_null())?;
    let all = rule.get("clusterRoleSelectors").and_then(Value::as_array);
    Some(all.into_iter().flatten().filter_map(|one| LabelSelector::from_json(one).ok()).collect())
}

fn gathered(name: &str, selectors: &[LabelSelector], roles: &BTreeMap<String, Value>) -> Vec<Value> {
    let mut rules: Vec<Value> = Vec::new();
    for (_, role) in roles.iter().filter(|(other, _)| *other != name) {
        if selectors.iter().any(|selector| selector.matches_value(role.pointer("/metadata/labels"))) {
            for rule in role.get("rules").and_then(Value::as_array).into_iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    rules
}

/// Names of roles may have characters that a path can't.
fn escaped(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str, label: &str, gathers: &str, verbs: &[&str]) -> (String, Value) {
        let mut object = json!({"metadata": {"name": name, "labels": {label: "true"}}});
        if gathers.is_empty() {
            object["rules"] = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]);
        } else {
            object["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {gathers: "true"}}]});
        }
        (name.to_owned(), object)
    }

    /// Rights that a role was to gather would be missing, or stay after their role is gone.
    #[test]
    fn rules_follow_the_roles_that_are_gathered() {
        let mut roles = BTreeMap::from([
            role("admin", "none", "to-admin", &[]),
            role("edit", "to-admin", "to-edit", &[]),
            role("one", "to-edit", "", &["get"]),
            role("other", "unrelated", "", &["delete"]),
        ]);
        assert_eq!(settle(&mut roles), ["edit", "admin"]);
        assert_eq!(roles["admin"]["rules"], roles["one"]["rules"]);
        assert!(settle(&mut roles).is_empty(), "nothing to do is nothing done");
        roles.remove("one");
        settle(&mut roles);
        assert_eq!((&roles["edit"]["rules"], &roles["admin"]["rules"]), (&json!([]), &json!([])));
    }

    /// A circle would turn for ever.
    #[test]
    fn roles_that_gather_each_other_come_to_rest() {
        let mut roles = BTreeMap::from([
            role("a", "to-b", "to-a", &[]),
            role("b", "to-a", "to-b", &[]),
            role("c", "to-a", "", &["get"]),
            role("self", "to-self", "to-self", &[]),
        ]);
        settle(&mut roles);
        assert!(settle(&mut roles).is_empty());
        assert_eq!(roles["b"]["rules"], roles["c"]["rules"]);
        // An empty selector selects everything, itself aside.
        roles.insert(
            "all".to_owned(),
            json!({"metadata": {"name": "all"}, "aggregationRule": {"clusterRoleSelectors": [{}]}}),
        );
        settle(&mut roles);
        assert_eq!(roles["all"]["rules"], roles["c"]["rules"]);
    }
}
