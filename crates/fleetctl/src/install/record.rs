//! The values that were given to an installation, recorded beside it: an upgrade that isn't told them again keeps them.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::Api;
use serde_json::{Map, Value, json};

use super::manifests::{MANAGED_BY, MANAGER, NAME_LABEL};
use super::values::{self, Values};
use crate::access::Cluster;
use crate::exit::{Failure, Outcome};

/// The ConfigMap.
const NAME: &str = "fleetctl-values";
/// Its key, in JSON.
const KEY: &str = "values.json";
/// What is decided anew each time.
const ONCE: &str = "takeOver";

/// What was given to earlier installations in a namespace; empty where nothing is on record.
pub(super) async fn read(hub: &Cluster, namespace: &str) -> Outcome<Value> {
    let api: Api<ConfigMap> = Api::namespaced(hub.client.clone(), namespace);
    let doing = format!("ConfigMap {namespace}/{NAME}");
    let found = hub.ask(&doing, api.get_opt(NAME)).await?;
    let text = found.and_then(|found| found.data?.remove(KEY));
    let Some(text) = text else { return Ok(Value::Object(Map::new())) };
    match serde_json::from_str(&text) {
        Ok(Value::Object(values)) => Ok(Value::Object(values)),
        _ => Err(Failure::failed(format!(
            "{doing}: {KEY} can't be read; forget what was given before with --reset-values, and give it anew"
        ))),
    }
}

/// The record, as an object of the installation.
pub(super) fn object(given: &Value, namespace: &str) -> Value {
    let mut kept = given.clone();
    if let Some(kept) = kept.as_object_mut() {
        kept.remove(ONCE);
    }
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": NAME, "namespace": namespace, "labels": { NAME_LABEL: "fleetctl", MANAGED_BY: MANAGER },
        },
        "data": { KEY: kept.to_string() },
    })
}

/// What was given before with what is given now, and the former in words as far as it still counts.
pub(super) fn join(before: Value, now: &Value) -> (Value, Vec<String>) {
    let mut kept = Vec::new();
    leaves(&before, Some(now), "", &mut kept);
    let mut all = before;
    values::merge(&mut all, now.clone());
    (all, kept)
}

fn leaves(before: &Value, now: Option<&Value>, path: &str, kept: &mut Vec<String>) {
    match (before, now.filter(|now| !now.is_null())) {
        (Value::Object(fields), None | Some(Value::Object(_))) => {
            for (key, value) in fields {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(value, now.and_then(|now| now.get(key)), &path, kept);
            }
        }
        (Value::Null, _) | (_, Some(_)) => {}
        // Empty texts only say that the default counts.
        (Value::String(text), None) if text.is_empty() => {}
        (Value::String(text), None) => kept.push(format!("{path}={text}")),
        (other, None) => kept.push(format!("{path}={other}")),
    }
}

/// Refuses where a namespace that the values name isn't there: before anything is made.
pub(super) async fn namespaces_are_there(hub: &Cluster, values: &Values, own: &str) -> Outcome {
    if !values.rbac.create || !values.controller.enabled {
        return Ok(());
    }
    let api: Api<Namespace> = Api::all(hub.client.clone());
    for name in values.members.credentials_namespaces.iter().filter(|name| *name != own) {
        if hub.ask(&format!("namespace {name}"), api.get_metadata_opt(name)).await?.is_none() {
            return Err(Failure::refused(format!(
                "members.credentialsNamespaces names namespace {name}, which isn't on the hub; nothing was changed: \
                 make it (kubectl create namespace {name}), or leave it out (--set 'members.credentialsNamespaces=[]')"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Broken: an upgrade takes away rights or goes back to another image, unseen.
    #[test]
    fn what_was_given_before_counts_on() {
        let before = json!({
            "image": { "repository": "r/a", "tag": "", "digest": "sha256:0" }, "replicas": 3,
            "members": { "credentialsNamespaces": ["vela-system"] },
        });
        let (all, kept) = join(before.clone(), &json!({}));
        assert_eq!(all, before);
        let expected = [
            "image.repository=r/a",
            "image.digest=sha256:0",
            "replicas=3",
            "members.credentialsNamespaces=[\"vela-system\"]",
        ];
        let (mut sorted, mut wanted) = (kept, expected.map(str::to_owned).to_vec());
        sorted.sort();
        wanted.sort();
        assert_eq!(sorted, wanted);
        // What is given now counts, whole: an image by its tag isn't held to the digest of another.
        let now = json!({ "image": { "repository": "r/a", "tag": "v2", "digest": "" }, "takeOver": true });
        let (all, kept) = join(before, &now);
        assert_eq!(all.pointer("/image"), now.pointer("/image"));
        assert_eq!(kept.len(), 2, "{kept:?}");
        let values = values::complete(&all).unwrap();
        assert_eq!((values.replicas, values.image.tag.as_str()), (3, "v2"));
        // A takeover is agreed to each time.
        let object = object(&all, "n");
        let text = object.pointer("/data/values.json").and_then(Value::as_str).unwrap();
        assert!(!text.contains("takeOver") && text.contains("vela-system"), "{text}");
    }
}
