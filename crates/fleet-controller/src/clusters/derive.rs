//! The status of a ManagedCluster from what is seen of it: a pure function.

use std::collections::BTreeMap;

use fleet_api::managed_cluster::{ClusterClaim, ClusterVersion};
use fleet_api::{Condition, ManagedCluster, ManagedClusterStatus, conditions, names};
use fleet_json::quantity::Quantity;
use fleet_members::{Capacity, Hold};
use jiff::{SignedDuration, Timestamp};

/// Whether the hub takes it as a member.
const ACCEPTED: &str = "HubAccepted";
/// Whether its identity is on record.
const JOINED: &str = "Joined";
/// Whether it answers.
pub(super) const AVAILABLE: &str = "Available";
/// Open Cluster Management's condition for what its own agent keeps up.
const OTHER_AGENT: &str = "ManagedClusterConditionAvailable";
/// The reason while it doesn't answer.
const UNREACHABLE: &str = "Unreachable";
/// The reason without credentials that make sense.
const NOT_ADDRESSED: &str = "NotAddressed";
/// The reason until the first answer.
const NOT_REACHED: &str = "NotReachedYet";

/// Whether it can be reached, as the right cluster.
#[derive(Debug, Default)]
pub(super) enum Reach {
    #[default]
    NotYet,
    Yes,
    /// And why.
    No(String),
    /// There is no way to it, and what is missing.
    Unaddressed(String),
    Wrong(Hold),
}

/// What is seen of a member.
#[derive(Debug, Default)]
pub(super) struct Seen<'a> {
    pub(super) now: Timestamp,
    /// [`ManagedClusterStatus::last_seen`] alone is written no more often.
    pub(super) interval: SignedDuration,
    pub(super) reach: Reach,
    pub(super) found: Option<String>,
    pub(super) heard: Option<Timestamp>,
    pub(super) version: Option<String>,
    pub(super) capacity: Option<Result<&'a Capacity, &'a str>>,
}

/// The status as it is to be. What others keep there stays.
pub(super) fn derive(
    cluster: &ManagedCluster,
    old: &ManagedClusterStatus,
    seen: &Seen<'_>,
) -> ManagedClusterStatus {
    let mut new = old.clone();
    let right = matches!(seen.reach, Reach::Yes);
    let recorded = cluster.recorded_uid().is_some();
    if let Some(uid) = seen.found.as_ref().filter(|_| right && !recorded) {
        new.cluster_claims.retain(|claim| claim.name != names::CLUSTER_ID_CLAIM);
        let claim = ClusterClaim { name: names::CLUSTER_ID_CLAIM.to_owned(), value: uid.clone() };
        new.cluster_claims.push(claim);
    }
    let others = conditions::find(&old.conditions, OTHER_AGENT).is_some();
    if right && !others {
        if let Some(version) = &seen.version {
            new.version = Some(ClusterVersion { kubernetes: version.clone() });
        }
        if let Some(Ok(held)) = seen.capacity {
            new.capacity = written(&held.capacity);
            new.allocatable = written(&held.allocatable);
        }
    }
    let joined = recorded || (right && seen.found.is_some());
    let mut ours =
        vec![accepted(cluster), joined_condition(cluster, joined, seen), available(cluster, old, seen)];
    ours = conditions::settle(&old.conditions, ours, seen.now);
    new.conditions.retain(|c| ![ACCEPTED, JOINED, AVAILABLE].contains(&c.type_.as_str()));
    ours.append(&mut new.conditions);
    new.conditions = ours;
    new.last_seen = match (old.last_seen, seen.heard) {
        (Some(before), Some(heard)) => {
            let only = ManagedClusterStatus { last_seen: old.last_seen, ..new.clone() } == *old;
            let stale = heard.duration_since(before) >= seen.interval;
            Some(if heard > before && (!only || stale) { heard } else { before })
        }
        (before, heard) => heard.or(before),
    };
    new
}

fn written(sum: &BTreeMap<String, Quantity>) -> BTreeMap<String, String> {
    sum.iter().map(|(name, quantity)| (name.clone(), quantity.to_string())).collect()
}

fn accepted(cluster: &ManagedCluster) -> Condition {
    match cluster.spec.hub_accepts_client {
        true => Condition::new(ACCEPTED, true, "HubClusterAdminAccepted", "spec.hubAcceptsClient is true"),
        false => Condition::new(
            ACCEPTED,
            false,
            "HubClusterAdminDenied",
            "spec.hubAcceptsClient is false, so it receives nothing",
        ),
    }
}

fn joined_condition(cluster: &ManagedCluster, joined: bool, seen: &Seen<'_>) -> Condition {
    match &seen.reach {
        Reach::Wrong(hold @ (Hold::DuplicateCluster { .. } | Hold::HubItself)) => {
            Condition::new(JOINED, false, hold.reason(), hold.message(&name(cluster)))
        }
        _ if joined => Condition::new(JOINED, true, "ManagedClusterJoined", "its identity is on record"),
        _ => Condition::new(JOINED, false, NOT_REACHED, "it hasn't been reached yet"),
    }
}

fn available(cluster: &ManagedCluster, old: &ManagedClusterStatus, seen: &Seen<'_>) -> Condition {
    let unknown = |reason: &str, message: &str| {
        let mut condition = Condition::new(AVAILABLE, false, reason, message);
        condition.status = "Unknown".to_owned();
        condition
    };
    let before = conditions::find(&old.conditions, AVAILABLE);
    match &seen.reach {
        Reach::Yes => {
            let mut message = "its API server answers".to_owned();
            if let Some(Err(why)) = seen.capacity {
                message = format!("{message}; {why}");
            }
            Condition::new(AVAILABLE, true, "ManagedClusterAvailable", message)
        }
        Reach::Wrong(hold) => Condition::new(AVAILABLE, false, hold.reason(), hold.message(&name(cluster))),
        Reach::Unaddressed(message) => Condition::new(AVAILABLE, false, NOT_ADDRESSED, message),
        Reach::No(message) => match before {
            // Somebody has said better why.
            Some(told)
                if told.status == "Unknown" && ![UNREACHABLE, NOT_REACHED].contains(&&*told.reason) =>
            {
                told.clone()
            }
            _ => unknown(UNREACHABLE, message),
        },
        Reach::NotYet => match before {
            Some(before) => before.clone(),
            None => unknown(NOT_REACHED, "it hasn't been reached yet"),
        },
    }
}

fn name(cluster: &ManagedCluster) -> String {
    cluster.metadata.name.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn cluster() -> ManagedCluster {
        ManagedCluster::new(
            "m1",
            fleet_api::ManagedClusterSpec { hub_accepts_client: true, ..Default::default() },
        )
    }

    fn seen<'a>(second: i64, reach: Reach) -> Seen<'a> {
        Seen {
            now: at(second),
            interval: SignedDuration::from_mins(10),
            reach,
            found: Some("u".to_owned()),
            heard: Some(at(second)),
            version: Some("v1.35.0".to_owned()),
            capacity: None,
        }
    }

    fn status(status: &ManagedClusterStatus, type_: &str) -> String {
        conditions::find(&status.conditions, type_).map(|c| format!("{} {}", c.status, c.reason)).unwrap()
    }

    /// A fleet of a thousand members must not write a thousand heartbeats.
    #[test]
    fn nothing_is_written_while_nothing_changes_but_the_time() {
        let mut cluster = cluster();
        let first = derive(&cluster, &ManagedClusterStatus::default(), &seen(1000, Reach::Yes));
        assert_eq!(status(&first, AVAILABLE), "True ManagedClusterAvailable");
        cluster.status = Some(first.clone());
        assert_eq!(cluster.recorded_uid(), Some("u"));
        assert_eq!(derive(&cluster, &first, &seen(1500, Reach::Yes)), first);
        assert_eq!(derive(&cluster, &first, &seen(1600, Reach::Yes)).last_seen, Some(at(1600)));
        // What stops answering was last heard when it was.
        let mut gone = seen(1200, Reach::No("refused".to_owned()));
        gone.heard = Some(at(1190));
        let gone = derive(&cluster, &first, &gone);
        assert_eq!(status(&gone, AVAILABLE), "Unknown Unreachable");
        assert_eq!(status(&gone, JOINED), "True ManagedClusterJoined");
        assert_eq!(gone.last_seen, Some(at(1190)));
    }

    /// Conditions and claims of other agents on a shared ManagedCluster must survive our writes.
    #[test]
    fn what_others_keep_stays() {
        let theirs = Condition::new(OTHER_AGENT, true, "Theirs", "");
        let claim = ClusterClaim { name: "region".to_owned(), value: "north".to_owned() };
        let old = ManagedClusterStatus {
            conditions: vec![theirs.clone()],
            cluster_claims: vec![claim.clone()],
            version: Some(ClusterVersion { kubernetes: "v1.30.0".to_owned() }),
            ..ManagedClusterStatus::default()
        };
        let new = derive(&cluster(), &old, &seen(1, Reach::Yes));
        assert!(new.conditions.contains(&theirs) && new.cluster_claims.contains(&claim));
        assert_eq!(new.version, old.version);
    }

    /// The identity of a wrong cluster must never get on record by itself.
    #[test]
    fn a_wrong_cluster_is_told_and_not_recorded() {
        let wrong = Hold::ClusterChanged { recorded: "a".to_owned(), found: "u".to_owned() };
        let new = derive(&cluster(), &ManagedClusterStatus::default(), &seen(1, Reach::Wrong(wrong)));
        assert_eq!(status(&new, AVAILABLE), "False ClusterChanged");
        assert!(new.cluster_claims.is_empty() && new.version.is_none());
    }
}
