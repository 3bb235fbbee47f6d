//! Reading of cases that are data.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use fleet_api::ManagedCluster;
use fleet_placement::{Fleet, Member};
use fleet_propagation::{KindTable, Policy, Reader};
use serde::Deserialize;
use serde_json::{Value, json};

/// A member in a few words.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Site {
    name: String,
    alias: String,
    labels: BTreeMap<String, String>,
    taints: Vec<Value>,
    zones: String,
    claims: BTreeMap<String, String>,
    refused: bool,
    gone: Option<String>,
    cordoned: bool,
}

pub(crate) fn fleet(sites: &[Site]) -> Fleet {
    let members = sites.iter().map(|site| {
        let mut annotations = json!({});
        if !site.alias.is_empty() {
            annotations["cluster.core.oam.dev/cluster-alias"] = json!(site.alias);
        }
        if !site.zones.is_empty() {
            annotations["fleetctl.dev/zones"] = json!(site.zones);
        }
        if site.cordoned {
            annotations["fleetctl.dev/cordoned"] = json!("true");
        }
        let claims = site.claims.iter().map(|(name, value)| json!({"name": name, "value": value}));
        let condition = match &site.gone {
            Some(since) => json!({"type": "Available", "status": "Unknown", "lastTransitionTime": since}),
            None => json!({"type": "Available", "status": "True"}),
        };
        let cluster: ManagedCluster = serde_json::from_value(json!({
            "apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster",
            "metadata": {"name": site.name, "labels": site.labels, "annotations": annotations},
            "spec": {"hubAcceptsClient": !site.refused, "taints": site.taints},
            "status": {"conditions": [condition], "clusterClaims": claims.collect::<Vec<_>>()},
        }))
        .unwrap();
        Member::of(&cluster)
    });
    Fleet::new(members.collect())
}

/// One for all tests: reading the schemas takes its time.
pub(crate) fn reader() -> &'static Reader {
    static READER: LazyLock<Reader> = LazyLock::new(|| Reader::new(KindTable::builtin()));
    &READER
}

/// A ClusterPropagationPolicy with this spec.
pub(crate) fn policy(reader: &Reader, name: &str, spec: &Value) -> Policy {
    let manifest = json!({
        "apiVersion": "one.alibabacloud.com/v1alpha1", "kind": "ClusterPropagationPolicy",
        "metadata": {"name": name}, "spec": spec,
    });
    reader.propagation(&manifest).unwrap()
}
