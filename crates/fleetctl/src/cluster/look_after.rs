//! `fleetctl cluster label`, `alias`, `cordon`, `uncordon`: what a person decides about a member.

use fleet_api::propagation::{GROUPS, PolicyKind};
use fleet_api::{Application, Policy, names};
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, ListParams};
use serde_json::{Map, Value, json};

use super::{Hub, naming, question, record};
use crate::args::{AliasArgs, CordonArgs, LabelArgs, UncordonArgs};
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};
use crate::roster::{Roster, label as shown};

pub(super) async fn label(environment: &Environment, hub: &Hub, arguments: &LabelArgs) -> Outcome {
    let roster = Roster::load(&hub.cluster).await?;
    let member = roster.find(&arguments.name)?;
    let changes: Map<String, Value> =
        arguments.changes.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    if let Some(key) = changes.keys().find(|key| key.as_str() == crate::embedded::EMBEDDED) {
        return Err(Failure::refused(format!(
            "label {key} says which members run in the hub's process; it isn't changed by hand"
        )));
    }
    record::patch(&hub.cluster, &member.name_any(), &json!({ "metadata": { "labels": changes } })).await?;
    environment.streams.line(&format!("managedcluster {} labeled", shown(member)))
}

pub(super) async fn alias(environment: &Environment, hub: &Hub, arguments: &AliasArgs) -> Outcome {
    let roster = Roster::load(&hub.cluster).await?;
    let member = roster.find(&arguments.name)?;
    let name = member.name_any();
    let wanted = Some(arguments.alias.as_str()).filter(|alias| !alias.is_empty());
    if let Some(alias) = wanted {
        naming::alias(alias).map_err(Failure::usage)?;
        naming::free(&roster, &name, Some(alias), &name)?;
    }
    if member.alias() == wanted {
        return environment.streams.line(&format!("managedcluster {} has that alias already", shown(member)));
    }
    if let Some(old) = member.alias() {
        let users = mentions(hub, old).await?;
        if !users.is_empty() {
            let question = format!(
                "{} name {old:?}, which will mean no cluster any more: {}. Change the alias?",
                plural(users.len(), "policy", "policies"),
                users.join(", ")
            );
            question::agree(environment, &question, arguments.yes).await?;
        }
    }
    let change = json!({ "metadata": { "annotations": { names::CLUSTER_ALIAS: wanted } } });
    let after = record::patch(&hub.cluster, &name, &change).await?;
    environment.streams.line(&format!("managedcluster {}", shown(&after)))
}

pub(super) async fn cordon(environment: &Environment, hub: &Hub, arguments: &CordonArgs) -> Outcome {
    let roster = Roster::load(&hub.cluster).await?;
    let member = roster.find(&arguments.name)?;
    let reason = if arguments.reason.trim().is_empty() { "true" } else { arguments.reason.trim() };
    let change = json!({ "metadata": { "annotations": { names::CORDONED: reason } } });
    record::patch(&hub.cluster, &member.name_any(), &change).await?;
    environment.streams.line(&format!(
        "managedcluster {} cordoned: nothing is delivered to it; again with: {} cluster uncordon {}",
        shown(member),
        hub.called,
        member.name_any()
    ))
}

pub(super) async fn uncordon(environment: &Environment, hub: &Hub, arguments: &UncordonArgs) -> Outcome {
    let roster = Roster::load(&hub.cluster).await?;
    let member = roster.find(&arguments.name)?;
    if !member.annotations().contains_key(names::CORDONED) {
        return environment.streams.line(&format!("managedcluster {} isn't cordoned", shown(member)));
    }
    if member.annotations().contains_key(names::DETACHING) {
        return Err(Failure::refused(format!(
            "member {} is being detached; complete that: {} cluster detach {}",
            shown(member),
            hub.called,
            member.name_any()
        )));
    }
    let change = json!({ "metadata": { "annotations": { names::CORDONED: null } } });
    record::patch(&hub.cluster, &member.name_any(), &change).await?;
    environment.streams.line(&format!("managedcluster {} uncordoned", shown(member)))
}

/// Policies, of their own and within Applications, that name a cluster by this word.
pub(super) async fn mentions(hub: &Hub, word: &str) -> Outcome<Vec<String>> {
    let everything = ListParams::default();
    let policies: Api<Policy> = Api::all(hub.cluster.client.clone());
    let policies = hub.cluster.ask("the policies", policies.list(&everything)).await?.items;
    let applications: Api<Application> = Api::all(hub.cluster.client.clone());
    let applications =
        hub.cluster.ask("the list of Applications", applications.list(&everything)).await?.items;
    let mut users = Vec::new();
    for policy in policies {
        if policy.spec.properties.as_ref().is_some_and(|properties| names_cluster(properties, word)) {
            users.push(format!("Policy {}/{}", policy.namespace().unwrap_or_default(), policy.name_any()));
        }
    }
    for app in applications {
        let spec = serde_json::to_value(&app.spec).unwrap_or_default();
        if names_cluster(&spec, word) {
            users.push(format!("Application {}/{}", app.namespace().unwrap_or_default(), app.name_any()));
        }
    }
    for (group, kind) in GROUPS.into_iter().flat_map(|group| PolicyKind::ALL.map(|kind| (group, kind))) {
        let api: Api<DynamicObject> = Api::all_with(hub.cluster.client.clone(), &kind.resource(group));
        let doing = format!("the list of {}.{group}", kind.plural());
        let listed = match hub.cluster.ask(&doing, api.list(&everything)).await {
            Ok(listed) => listed.items,
            // A hub that doesn't know the kind has none that could name it.
            Err(failure) if failure.exit == Exit::NotFound => continue,
            Err(failure) => return Err(failure),
        };
        for policy in listed.iter().filter(|policy| names_cluster(&policy.data, word)) {
            let namespace = policy.namespace().map(|namespace| format!("{namespace}/")).unwrap_or_default();
            users.push(format!("{} {namespace}{}", kind.as_str(), policy.name_any()));
        }
    }
    Ok(users)
}

/// What lists of clusters are called, in policies of Applications and in those about native objects.
const LISTS: [&str; 5] = ["clusters", "clusterNames", "clusterIds", "exclude", "mask"];

/// Whether somewhere in it a list of clusters has the word.
fn names_cluster(value: &Value, word: &str) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(key, value)| {
            let is_list = LISTS.contains(&key.as_str());
            let listed = is_list && value.as_array().is_some_and(|all| all.iter().any(|one| one == word));
            listed || names_cluster(value, word)
        }),
        Value::Array(items) => items.iter().any(|item| names_cluster(item, word)),
        _ => false,
    }
}

pub(crate) fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An alias that policies name must not be taken from under them unseen.
    #[test]
    fn clusters_are_found_in_policies() {
        let policies =
            json!({ "policies": [{ "type": "topology", "properties": { "clusters": ["a", "b"] } }] });
        assert!(names_cluster(&policies, "b"));
        assert!(!names_cluster(&policies, "c"));
        for spec in [
            json!({ "placement": { "clusterAffinity": { "clusterNames": ["b"] } } }),
            json!({ "placement": { "clusterAffinities": [{ "clusterIds": ["a", "b"] }] } }),
            json!({ "placement": { "clusterAffinity": { "exclude": ["b"] } } }),
            json!({ "mask": ["b"] }),
            json!({ "overrideRules": [{ "targetCluster": { "clusterNames": ["b"] } }] }),
        ] {
            assert!(names_cluster(&spec, "b") && !names_cluster(&spec, "c"), "{spec}");
        }
        assert!(!names_cluster(&json!({ "clusterSelector": { "a": "b" } }), "b"));
    }
}
