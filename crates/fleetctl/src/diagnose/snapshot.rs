//! What is looked at: a picture of the hub, taken once. Findings are made from it alone.

use std::collections::BTreeSet;

use fleet_api::{Application, ManagedCluster, RolloutWindow};
use jiff::Timestamp;
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
    /// Policies about native objects that aren't ready: which, the reason and the message of their condition.
    pub unready_policies: Vec<(String, String, String)>,
    /// Health rules that can't be used: where they stand, and why.
    pub broken_health_rules: Vec<(String, String)>,
    /// Rules of keys that can't be used: the same.
    pub broken_key_rules: Vec<(String, String)>,
    /// When something may begin on the fleet.
    pub windows: Vec<RolloutWindow>,
    /// What couldn't be looked at, and why.
    pub unread: Vec<(String, String)>,
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

/// How an object stands on the hub: by what only a controller writes into its status.
pub fn standing(object: &Value) -> Standing {
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
