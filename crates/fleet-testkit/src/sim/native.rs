//! What users want of native objects and of the policies that distribute them: small, and known without asking the engine.

mod script;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::wanted::{NAMESPACE, member_name};

/// The objects: so many ConfigMaps, then Deployments.
pub(crate) const CONFIGS: usize = 3;
pub(crate) const OBJECTS: usize = 5;
pub(crate) const POLICIES: usize = 3;
pub(crate) const OVERRIDES: usize = 2;
/// An object that somebody made on a member before anybody distributed anything: its name is that of the third ConfigMap.
pub(crate) const TAKEN: usize = 2;
/// Where it is.
pub(crate) const TAKEN_ON: usize = 1;
/// And one of which nobody ever says anything.
pub(crate) const STRANGER: &str = "q-c0";

/// Something that users do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// An object of the hub becomes this, or is deleted.
    Object(usize, Option<Source>),
    /// A policy becomes this, or is deleted.
    Policy(usize, Option<Policy>),
    /// An override policy becomes this, or is deleted.
    Override(usize, Option<Override>),
    /// A cluster is labelled near, or far.
    Label(usize, bool),
    /// Somebody changes or deletes an object on a member.
    Change {
        /// Which one.
        object: usize,
        /// Where.
        member: usize,
        /// Deletes it; else changes it.
        deletes: bool,
    },
}

/// An object of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Never used before.
    pub(crate) value: u64,
    pub(crate) replicas: u64,
    /// It has the label that policies may select.
    pub(crate) marked: bool,
}

/// Which objects a policy selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selects {
    Names(BTreeSet<usize>),
    Deployments,
    Marked,
}

/// Where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Places {
    Names(BTreeSet<usize>),
    Near,
    All,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub(crate) priority: u64,
    pub(crate) preempts: bool,
    pub(crate) selects: Selects,
    pub(crate) places: Places,
    /// Replicas are divided so.
    pub(crate) weights: Option<[u64; 3]>,
    /// The clusters that may move.
    pub(crate) mask: Option<BTreeSet<usize>>,
    pub(crate) prunes: bool,
    pub(crate) preserves: bool,
    pub(crate) overwrites: bool,
}

/// An override policy: labels, with a value that was never used before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    pub(crate) selects: Selects,
    pub(crate) clusters: BTreeSet<usize>,
    pub(crate) value: u64,
}

/// Everything that users said last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Inputs {
    pub(crate) objects: BTreeMap<usize, Source>,
    pub(crate) policies: BTreeMap<usize, Policy>,
    pub(crate) overrides: BTreeMap<usize, Override>,
    /// Clusters that are labelled near.
    pub(crate) near: BTreeSet<usize>,
    /// Clusters of the fleet.
    pub(crate) there: BTreeSet<usize>,
}

pub(crate) fn is_deployment(object: usize) -> bool {
    object >= CONFIGS
}

pub(crate) fn object_name(object: usize) -> String {
    if is_deployment(object) { format!("p-w{}", object - CONFIGS) } else { format!("p-c{object}") }
}

/// The object of a name.
pub(crate) fn object_of(name: &str) -> Option<usize> {
    (0..OBJECTS).find(|object| object_name(*object) == name)
}

pub(crate) fn api_of(object: usize) -> (&'static str, &'static str) {
    if is_deployment(object) { ("apps/v1", "Deployment") } else { ("v1", "ConfigMap") }
}

/// As the store calls the kind.
pub(crate) fn resource_of(object: usize) -> &'static str {
    if is_deployment(object) { "deployments.apps" } else { "configmaps" }
}

/// The value that an object shows.
pub(crate) fn value_of(object: usize, found: &Value) -> Option<u64> {
    let path = if is_deployment(object) { "/spec/template/spec/containers/0/image" } else { "/data/value" };
    let text = found.pointer(path)?.as_str()?;
    text.strip_prefix("web:").unwrap_or(text).parse().ok()
}

/// Group, kind, and whether it has a namespace.
pub(crate) fn policy_kind(policy: usize) -> (&'static str, &'static str, bool) {
    match policy {
        0 => ("one.alibabacloud.com", "PropagationPolicy", true),
        1 => ("one.alibabacloud.com", "ClusterPropagationPolicy", false),
        _ => ("policy.karmada.io", "PropagationPolicy", true),
    }
}

/// The same of override policies.
pub(crate) fn override_kind(policy: usize) -> (&'static str, &'static str, bool) {
    match policy {
        0 => ("one.alibabacloud.com", "OverridePolicy", true),
        _ => ("policy.one.alibabacloud.com", "ClusterOverridePolicy", false),
    }
}

fn names_of(members: &BTreeSet<usize>) -> Vec<String> {
    members.iter().map(|member| member_name(*member)).collect()
}

impl Selects {
    fn manifest(&self) -> Value {
        let of = |object: usize| {
            let (api_version, kind) = api_of(object);
            json!({"apiVersion": api_version, "kind": kind, "namespace": NAMESPACE})
        };
        let all = match self {
            Self::Names(objects) => objects
                .iter()
                .map(|object| {
                    let mut selector = of(*object);
                    put(&mut selector, "name", json!(object_name(*object)));
                    selector
                })
                .collect(),
            Self::Deployments => vec![of(CONFIGS)],
            Self::Marked => [0, CONFIGS]
                .into_iter()
                .map(|object| {
                    let mut selector = of(object);
                    put(&mut selector, "labelSelector", json!({"matchLabels": {"marked": "yes"}}));
                    selector
                })
                .collect(),
        };
        Value::Array(all)
    }

    fn selects(&self, object: usize, source: &Source) -> bool {
        match self {
            Self::Names(objects) => objects.contains(&object),
            Self::Deployments => is_deployment(object),
            Self::Marked => source.marked,
        }
    }

    /// The more precise goes later.
    fn precision(&self) -> u8 {
        match self {
            Self::Deployments => 0,
            Self::Marked => 1,
            Self::Names(_) => 2,
        }
    }
}

fn put(object: &mut Value, key: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
}

impl Source {
    pub(crate) fn manifest(&self, object: usize) -> Value {
        let (api_version, kind) = api_of(object);
        let name = object_name(object);
        let mut labels = json!({});
        if self.marked {
            put(&mut labels, "marked", json!("yes"));
        }
        let mut made = json!({"apiVersion": api_version, "kind": kind,
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels}});
        if is_deployment(object) {
            let spec = json!({"replicas": self.replicas, "selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": format!("web:{}", self.value)}]}}});
            put(&mut made, "spec", spec);
        } else {
            put(&mut made, "data", json!({"value": self.value.to_string()}));
        }
        made
    }
}

impl Policy {
    pub(crate) fn manifest(&self, policy: usize) -> Value {
        let (group, kind, namespaced) = policy_kind(policy);
        let mut metadata = json!({"name": format!("pol{policy}")});
        if namespaced {
            put(&mut metadata, "namespace", json!(NAMESPACE));
        }
        let affinity = match &self.places {
            Places::Names(members) => json!({"clusterNames": names_of(members)}),
            Places::Near => json!({"labelSelector": {"matchLabels": {"tier": "near"}}}),
            Places::All => json!({}),
        };
        let mut placement = json!({"clusterAffinity": affinity});
        if let Some(weights) = self.weights {
            let list: Vec<Value> = weights
                .iter()
                .enumerate()
                .map(|(member, weight)| {
                    json!({"targetCluster": {"clusterNames": [member_name(member)]}, "weight": weight})
                })
                .collect();
            put(
                &mut placement,
                "replicaScheduling",
                json!({"replicaSchedulingType": "Divided", "replicaDivisionPreference": "Weighted",
                    "weightPreference": {"staticWeightList": list}}),
            );
        }
        let mut spec = json!({
            "resourceSelectors": self.selects.manifest(),
            "placement": placement,
            "priority": self.priority,
            "preemption": if self.preempts { "Always" } else { "Never" },
            "conflictResolution": if self.overwrites { "Overwrite" } else { "Abort" },
            "prune": self.prunes,
            "preserveResourcesOnDeletion": self.preserves,
        });
        if let Some(mask) = &self.mask {
            put(&mut spec, "mask", json!(names_of(mask)));
        }
        json!({"apiVersion": format!("{group}/v1alpha1"), "kind": kind, "metadata": metadata, "spec": spec})
    }

    /// Whether its mask holds a cluster.
    pub(crate) fn holds(&self, member: usize) -> bool {
        self.mask.as_ref().is_some_and(|mask| !mask.contains(&member))
    }
}

impl Override {
    pub(crate) fn manifest(&self, policy: usize) -> Value {
        let (group, kind, namespaced) = override_kind(policy);
        let mut metadata = json!({"name": format!("ov{policy}")});
        if namespaced {
            put(&mut metadata, "namespace", json!(NAMESPACE));
        }
        // One label is its own, and one is everybody's: of that, the last one counts.
        let value = self.value.to_string();
        json!({"apiVersion": format!("{group}/v1alpha1"), "kind": kind, "metadata": metadata, "spec": {
        "resourceSelectors": self.selects.manifest(),
        "overrideRules": [{
            "targetCluster": {"clusterNames": names_of(&self.clusters)},
            "overriders": {"labelsOverrider": [
                {"operator": "add", "value": {format!("ov{policy}"): value, "ov": value}}]},
        }]}})
    }
}

impl Inputs {
    /// The policies that may have an object: which one does depends on who came first.
    pub(crate) fn holders(&self, object: usize) -> Vec<&Policy> {
        let Some(source) = self.objects.get(&object) else { return Vec::new() };
        let rank = |index: usize, policy: &Policy| (policy_kind(index).2, policy.priority);
        let candidates: Vec<(usize, &Policy)> = self
            .policies
            .iter()
            .filter(|(_, policy)| policy.selects.selects(object, source))
            .map(|(index, policy)| (*index, policy))
            .collect();
        let taken = |index: usize, policy: &Policy| {
            candidates
                .iter()
                .any(|(other, taker)| taker.preempts && rank(*other, taker) > rank(index, policy))
        };
        candidates
            .iter()
            .filter(|(index, policy)| !taken(*index, policy))
            .map(|(_, policy)| *policy)
            .collect()
    }

    /// Where a policy's objects go.
    pub(crate) fn places(&self, policy: &Policy) -> BTreeSet<usize> {
        match &policy.places {
            Places::Names(members) => members.intersection(&self.there).copied().collect(),
            Places::Near => self.near.intersection(&self.there).copied().collect(),
            Places::All => self.there.clone(),
        }
    }

    /// The labels that override policies give an object on a member.
    pub(crate) fn labels(&self, object: usize, member: usize) -> BTreeMap<String, u64> {
        let source = self.objects.get(&object);
        source.map(|source| self.labels_of(object, source, member)).unwrap_or_default()
    }

    /// The same of an object that says this.
    pub(crate) fn labels_of(&self, object: usize, source: &Source, member: usize) -> BTreeMap<String, u64> {
        let mut labels = BTreeMap::new();
        let mut about: Vec<(usize, &Override)> = self
            .overrides
            .iter()
            .filter(|(_, policy)| policy.selects.selects(object, source) && policy.clusters.contains(&member))
            .map(|(index, policy)| (*index, policy))
            .collect();
        about.sort_by_key(|(index, policy)| (override_kind(*index).2, policy.selects.precision(), *index));
        for (index, policy) in about {
            labels.insert(format!("ov{index}"), policy.value);
            labels.insert("ov".to_owned(), policy.value);
        }
        labels
    }

    /// How many replicas, or copies, are to be ready together by a policy; nothing where it places the object nowhere.
    pub(crate) fn asked(&self, object: usize, policy: &Policy) -> Option<u64> {
        let source = self.objects.get(&object)?;
        let places = self.places(policy);
        if places.is_empty() {
            return None;
        }
        Some(if policy.weights.is_some() { source.replicas } else { places.len() as u64 })
    }
}

/// What the labels of override policies on an object are.
pub(crate) fn overridden(found: &Value) -> BTreeMap<String, u64> {
    let labels = found.pointer("/metadata/labels").and_then(Value::as_object);
    let ours = labels.into_iter().flatten().filter(|(key, _)| key.starts_with("ov"));
    ours.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.parse().ok()?))).collect()
}
