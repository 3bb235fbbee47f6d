//! What is looked at: a picture of the hub, taken once. Findings are made from it alone.

use std::collections::BTreeSet;

use fleet_api::propagation::{PolicyKind, PolicyProblem};
use fleet_api::{Application, Condition, ManagedCluster, PolicyName, RolloutWindow, names};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{DynamicObject, ObjectMeta};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The hub as it was found.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// What the user types to call this program.
    pub called: String,
    /// The time of this machine.
    pub now: Timestamp,
    /// The hub's time, as the `Date` of an answer says it.
    pub hub_time: Option<Timestamp>,
    /// Our kinds.
    pub definitions: Vec<Definition>,
    /// Controllers by their Leases.
    pub leases: Vec<Holder>,
    /// What there is of other controllers of the same kinds, in words.
    pub rivals: Vec<String>,
    /// Whether a kube-controller-manager holds its Lease.
    pub controller_manager: bool,
    /// How many Nodes there are.
    pub nodes: usize,
    /// The members.
    pub clusters: Vec<ManagedCluster>,
    /// Secrets that count as members' credentials.
    pub secrets: Vec<CredentialSecret>,
    /// The Applications that were asked for.
    pub applications: Vec<Application>,
    /// Hub objects that they refer to by name.
    pub references: Vec<Reference>,
    /// Inventories of Applications that are gone: name, and of which.
    pub lost_inventories: Vec<(String, String)>,
    /// Records of Applications that aren't whole: `NAMESPACE/NAME`, and where they aren't.
    pub broken_records: Vec<(String, String)>,
    /// Policies about native objects, with what they tell.
    pub policies: Vec<PolicyTold>,
    /// What had a policy that isn't there any more, and is on record of members.
    pub leftovers: Vec<Leftovers>,
    /// Health rules that can't be used: where they stand, and why.
    pub broken_health_rules: Vec<(String, String)>,
    /// Rules of keys that can't be used: the same.
    pub broken_key_rules: Vec<(String, String)>,
    /// When something may begin on the fleet.
    pub windows: Vec<RolloutWindow>,
    /// What couldn't be looked at, and why.
    pub unread: Vec<(String, String)>,
}

/// What a policy about native objects tells of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PolicyTold {
    /// Plural and group of its kind.
    pub kind: String,
    /// Its namespace; empty where it has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// What is wrong with it, or isn't as it seems to say.
    pub problems: Vec<PolicyProblem>,
    /// The first of its objects of which something is to be told: which, where, and what.
    pub first: Option<String>,
}

/// What is to leave a member, or waits until it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftovers {
    /// The member.
    pub cluster: String,
    /// The objects.
    pub objects: Vec<String>,
    /// Their policies went with the definition of their kind, so they stay.
    pub orphaned: bool,
}

impl PolicyTold {
    /// Reads a policy of the hub; `kind` is the plural of its kind and its group.
    pub fn read(kind: &str, policy: &DynamicObject) -> Self {
        fn told<T: DeserializeOwned + Default>(policy: &DynamicObject, field: &str) -> T {
            let value = policy.data.get("status").and_then(|status| status.get(field)).cloned();
            value.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default()
        }
        let objects: Vec<Value> = told(policy, "claimed");
        let dependents: Vec<Value> = told(policy, "dependents");
        // Counts, of policies that place objects; a list, of those that change them.
        let overridden: Vec<Value> = told(policy, "objects");
        let lost: Vec<Value> = told(policy, "lost");
        let first = objects.iter().chain(&dependents).chain(&overridden).find_map(first_told);
        Self {
            kind: kind.to_owned(),
            namespace: policy.namespace().unwrap_or_default(),
            name: policy.name_any(),
            conditions: told(policy, "conditions"),
            problems: told(policy, "problems"),
            first: first.or_else(|| lost.iter().find_map(first_told)),
        }
    }

    /// Whether it is the one that is recorded so.
    pub fn is(&self, recorded: &PolicyName) -> bool {
        let kind = PolicyKind::ALL.into_iter().find(|kind| kind.as_str() == recorded.kind);
        kind.is_some_and(|kind| self.kind == format!("{}.{}", kind.plural(), recorded.group))
            && self.namespace == recorded.namespace
            && self.name == recorded.name
    }
}

/// What is told of an object in a policy's status, where that is more than that it is well.
fn first_told(object: &Value) -> Option<String> {
    let text = |value: &Value, field: &str| {
        value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let name = |object: &Value| {
        let inside = text(object, "namespace").map(|namespace| format!("{namespace}/")).unwrap_or_default();
        Some(format!("{} {inside}{}", text(object, "kind")?, text(object, "name")?))
    };
    let said = |value: &Value| Some(format!("{}: {}", text(value, "reason")?, text(value, "message")?));
    if let Some(said) = said(object) {
        return Some(format!("{}: {said}", name(object)?));
    }
    let places = object.get("places").and_then(Value::as_array).into_iter().flatten();
    let mut told = places.filter_map(|place| Some((text(place, "cluster")?, said(place)?)));
    let (cluster, said) = told.next()?;
    Some(format!("{} on {cluster}: {said}", name(object)?))
}

/// One of our CustomResourceDefinitions.
#[derive(Debug, Clone)]
pub struct Definition {
    /// As this program would install it.
    pub wanted: Value,
    /// As it is on the hub.
    pub found: Option<Value>,
}

impl Definition {
    /// Its name.
    pub fn name(&self) -> &str {
        self.wanted.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
    }
}

/// A Lease of a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Who.
    pub identity: String,
    /// When it was last renewed.
    pub renewed: Option<Timestamp>,
    /// For how long that counts, in seconds.
    pub seconds: i64,
}

impl Holder {
    /// Whether it counts at a time; a clock that differs a little is forgiven.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        let allowed = jiff::SignedDuration::from_secs(self.seconds + 30);
        self.renewed.is_some_and(|renewed| now.duration_since(renewed) < allowed)
    }
}

/// A Secret with a member's credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialSecret {
    /// Its namespace.
    pub namespace: String,
    /// Its name, which is the member's.
    pub name: String,
    /// Why it can't be used; never a value of it.
    pub problem: Option<String>,
}

/// An object of the hub that an Application refers to by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// `NAMESPACE/NAME` of the Application.
    pub application: String,
    /// Group and version.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// How it was found; nothing where it isn't there.
    pub found: Option<Standing>,
}

/// Whether somebody on the hub acts on an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is data, as far as can be told.
    Inert,
    /// A workload controller has observed it: its pods start on the hub.
    Acted,
    /// It is scaled to nothing or paused: a controller may observe it, and starts nothing.
    Idle,
}

/// Kinds that start pods where a controller for them runs.
pub const WORKLOADS: [(&str, &str); 6] = [
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "ReplicaSet"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
];

/// Whether objects of a kind start pods where a controller for them runs.
pub(crate) fn starts_pods(api_version: &str, kind: &str) -> bool {
    WORKLOADS.contains(&(api_version, kind))
}

impl Reference {
    /// Whether it is one that starts pods.
    pub fn is_workload(&self) -> bool {
        starts_pods(&self.api_version, &self.kind)
    }
}

/// How an object stands on the hub: by what only a controller writes into its status. What policies distribute shows its
/// members' status there, which nobody acts on.
pub fn standing(object: &Value) -> Standing {
    let metadata = object.get("metadata").cloned().unwrap_or_default();
    let metadata: ObjectMeta = serde_json::from_value(metadata).unwrap_or_default();
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    let is = |pointer: &str| object.pointer(pointer).and_then(Value::as_bool) == Some(true);
    if number("/spec/replicas") == Some(0) || is("/spec/suspend") {
        return Standing::Idle;
    }
    let observed = number("/status/observedGeneration").is_some()
        || number("/status/active").is_some()
        || number("/status/succeeded").is_some()
        || object.pointer("/status/startTime").is_some()
        || object.pointer("/status/lastScheduleTime").is_some();
    let observed = observed && !names::shows_members(&metadata);
    if observed { Standing::Acted } else { Standing::Inert }
}

impl Snapshot {
    /// The members' names and aliases.
    pub fn member_names(&self) -> BTreeSet<&str> {
        let names = self.clusters.iter().filter_map(|cluster| cluster.metadata.name.as_deref());
        names.chain(self.clusters.iter().filter_map(|cluster| cluster.alias())).collect()
    }

    /// Whether controllers of workloads run on the hub, as far as can be told.
    pub fn runs_workloads(&self) -> bool {
        self.controller_manager || self.references.iter().any(|r| r.found == Some(Standing::Acted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The warning that pods start on the hub is only worth something if it comes where they do, and not where a
    /// Deployment is kept as data.
    #[test]
    fn a_workload_that_a_controller_has_seen_is_told_from_data() {
        let deployment =
            |replicas: i64, status: Value| json!({"spec": {"replicas": replicas}, "status": status});
        assert_eq!(standing(&deployment(2, json!({}))), Standing::Inert);
        assert_eq!(standing(&json!({"spec": {"replicas": 2}})), Standing::Inert);
        assert_eq!(standing(&deployment(2, json!({"observedGeneration": 1}))), Standing::Acted);
        assert_eq!(standing(&deployment(0, json!({"observedGeneration": 1}))), Standing::Idle);
        let written_by = |managers: &[&str]| {
            let entry =
                |manager: &&str| json!({"manager": manager, "operation": "Update", "subresource": "status"});
            let mut shown = deployment(2, json!({"observedGeneration": 1}));
            shown["metadata"] = json!({"managedFields": managers.iter().map(entry).collect::<Vec<_>>()});
            standing(&shown)
        };
        // What members show of it is no controller of the hub.
        assert_eq!(written_by(&[names::STATUS_MANAGER]), Standing::Inert);
        assert_eq!(written_by(&[names::STATUS_MANAGER, "kube-controller-manager"]), Standing::Acted);
        assert_eq!(
            standing(&json!({"spec": {}, "status": {"active": 1, "startTime": "x"}})),
            Standing::Acted
        );
        assert_eq!(
            standing(&json!({"spec": {"suspend": true}, "status": {"lastScheduleTime": "x"}})),
            Standing::Idle
        );
    }
}
