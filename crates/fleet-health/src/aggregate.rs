//! What the members' statuses of one object come to: the status that the object has on the hub.

mod batch;
mod cluster;
mod conditions;
mod generic;
mod network;
mod pod;
mod reports;
mod storage;
mod withdrawn;
mod workload;

use serde_json::{Map, Value};

use crate::view::View;
use crate::{Health, HealthRules, HealthStatus, assess_with};
use reports::Reports;
pub use withdrawn::withdrawn;

/// What is known of an object on one member.
#[derive(Debug, Clone, Copy)]
pub struct Report<'o> {
    /// The member.
    pub cluster: &'o str,
    /// The object as last seen there; none while it isn't there.
    pub object: Option<&'o Value>,
    /// It shows what the hub's object says now. What the member's own controllers have seen of that is read from the
    /// object.
    pub current: bool,
    /// The member is silent, since this time (RFC 3339): what is told of it is as last seen.
    pub silent_since: Option<&'o str>,
}

/// The status for the hub, and what decisions need besides.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// The hub object's status, as its kind defines it; `null` while no member has one.
    pub status: Value,
    /// The worst of the members, and how many are well.
    pub health: Health,
    /// One for each member, sorted by name.
    pub clusters: Vec<ClusterReport>,
}

/// One member's share.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterReport {
    /// The member.
    pub cluster: String,
    /// How the object is there, as last seen.
    pub health: Health,
    /// The member shows what the hub says, and its controller has seen that.
    pub observed: bool,
    /// The member showed what it has of it, now or before it fell silent.
    pub seen: bool,
    /// Since when the member has been silent.
    pub silent_since: Option<String>,
    /// Its replicas, for kinds that have some.
    pub replicas: Option<Replicas>,
}

/// What the division of replicas looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replicas {
    /// What the object asks for on that member.
    pub desired: i64,
    /// Pods there, old ones included.
    pub total: i64,
    /// Of the current template.
    pub updated: i64,
    /// Ready, whatever template they are of.
    pub ready: i64,
    /// Ready for as long as the object asks.
    pub available: i64,
}

/// What the members report of an object, as the hub's object shows it. `hub` is the object there, with the status that
/// it has: an `observedGeneration` that not all members have seen stays what it was, and a finished Job stays finished.
///
/// - Counts add up; addresses are put together; phases are the worst of all; times are the earliest of beginnings and
///   the latest of the rest; conditions hold where they hold everywhere, or anywhere where they name trouble.
/// - `observedGeneration` is the hub's generation only when every member shows the current content and has observed
///   it.
/// - Where a member is silent, its part is as last seen, or left out where it wasn't seen by whoever asks, and a condition
///   `fleetctl.dev/Stale` says which (kinds without conditions: [`ClusterReport::silent_since`] and
///   [`ClusterReport::seen`] do).
/// - The order of `reports` decides nothing; and the result, written to the hub and given in again, comes out again.
#[must_use]
pub fn aggregate(hub: &Value, reports: &[Report<'_>], given: &HealthRules) -> Aggregate {
    let mut sorted: Vec<Report<'_>> = reports.to_vec();
    sorted.sort_by_key(|report| report.cluster);
    sorted.dedup_by_key(|report| report.cluster);
    let clusters: Vec<ClusterReport> = sorted.iter().map(|report| of_cluster(report, given)).collect();
    let reports = Reports::new(hub, &sorted);
    let status = if reports.none() { Value::Null } else { Value::Object(status(&reports, &clusters)) };
    Aggregate { status, health: overall(&clusters), clusters }
}

fn status(reports: &Reports<'_>, clusters: &[ClusterReport]) -> Map<String, Value> {
    let (mut status, mark) = match (reports.hub.group, reports.hub.kind) {
        ("apps", "Deployment") => (workload::deployment(reports), true),
        ("apps", "StatefulSet") => (workload::stateful_set(reports), true),
        ("apps", "DaemonSet") => (workload::daemon_set(reports), true),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => (workload::replica_set(reports), true),
        // Its conditions decide for the API server what may still change.
        ("batch", "Job") => return batch::job(reports),
        ("batch", "CronJob") => return batch::cron_job(reports),
        ("", "Pod") => (pod::pod(reports), true),
        ("", "Service") => (network::service(reports), true),
        ("networking.k8s.io", "Ingress") => return network::ingress(reports),
        ("", "PersistentVolumeClaim") => (storage::claim(reports), true),
        ("", "PersistentVolume") => return storage::volume(reports),
        ("autoscaling", "HorizontalPodAutoscaler") => (cluster::autoscaler(reports), true),
        ("policy", "PodDisruptionBudget") => (cluster::disruption_budget(reports), true),
        ("", "Namespace") => (cluster::namespace(reports), true),
        _ => generic::any(reports),
    };
    if reports.observes() {
        let all = !clusters.is_empty() && clusters.iter().all(|cluster| cluster.observed);
        reports::put(&mut status, "observedGeneration", reports.observed_generation(all));
    }
    conditions::renumber(&mut status);
    if mark {
        conditions::mark_stale(&mut status, clusters);
    }
    status
}

fn of_cluster(report: &Report<'_>, given: &HealthRules) -> ClusterReport {
    let (health, observed) = match report.object {
        None if report.silent_since.is_some() => {
            (Health::new(HealthStatus::Unknown, "ClusterSilent", "hasn't been seen yet"), false)
        }
        None => (Health::progressing("NotDelivered", "isn't there yet"), false),
        Some(object) => {
            let view = View::new(object);
            let seen = view.generation().is_none_or(|generation| {
                let reports = reports::reports_generation(view.group, view.kind);
                view.observed_generation().map_or(!reports, |observed| observed >= generation)
            });
            let health = match assess_with(object, given) {
                // Well, with what it had before.
                health if health.is_healthy() && !report.current => {
                    Health::progressing("NotDelivered", "doesn't show the current content yet")
                }
                health => health,
            };
            (health, report.current && seen)
        }
    };
    ClusterReport {
        cluster: report.cluster.to_owned(),
        health,
        observed,
        seen: report.object.is_some(),
        silent_since: report.silent_since.map(str::to_owned),
        replicas: report.object.and_then(replicas),
    }
}

/// The replicas of an object that has some.
#[must_use]
pub fn replicas(object: &Value) -> Option<Replicas> {
    let view = View::new(object);
    let count = |name| view.count(name);
    let asked = |field| view.int(&["spec", field]);
    Some(match (view.group, view.kind) {
        ("apps", "Deployment" | "StatefulSet") => Replicas {
            desired: asked("replicas").unwrap_or(1),
            total: count("replicas"),
            updated: count("updatedReplicas"),
            ready: count("readyReplicas"),
            available: count("availableReplicas"),
        },
        ("apps", "ReplicaSet") | ("", "ReplicationController") => Replicas {
            desired: asked("replicas").unwrap_or(1),
            total: count("replicas"),
            updated: count("replicas"),
            ready: count("readyReplicas"),
            available: count("availableReplicas"),
        },
        ("apps", "DaemonSet") => Replicas {
            desired: count("desiredNumberScheduled"),
            total: count("currentNumberScheduled"),
            updated: count("updatedNumberScheduled"),
            ready: count("numberReady"),
            available: count("numberAvailable"),
        },
        ("batch", "Job") => Replicas {
            desired: asked("parallelism").or_else(|| asked("completions")).unwrap_or(1),
            total: count("active"),
            updated: count("active"),
            ready: count("ready"),
            available: count("ready"),
        },
        // A custom kind with the usual fields, as those with a scale have them.
        _ => Replicas {
            desired: asked("replicas")?,
            total: count("replicas"),
            updated: view.int(&["status", "updatedReplicas"]).unwrap_or_else(|| count("replicas")),
            ready: count("readyReplicas"),
            available: view.int(&["status", "availableReplicas"]).unwrap_or_else(|| count("readyReplicas")),
        },
    })
}

/// The worst of the members, and how many are well.
fn overall(clusters: &[ClusterReport]) -> Health {
    let total = clusters.len();
    let well = clusters.iter().filter(|cluster| cluster.health.is_healthy()).count();
    let said = match conditions::silent(clusters, true).as_slice() {
        [] => String::new(),
        silent => format!("; {} silent, as last seen", conditions::names(silent)),
    };
    // Of the worst, the first by name speaks.
    let worst = clusters.iter().rev().max_by_key(|cluster| cluster.health.status);
    match worst {
        None => Health::progressing("NoClusters", "no cluster has it"),
        Some(only) if total == 1 => {
            let health = &only.health;
            Health::new(health.status, health.reason.clone(), format!("{}{said}", health.message))
        }
        Some(worst) if worst.health.is_healthy() => {
            Health::healthy("HealthyEverywhere", format!("healthy in all {total} clusters{said}"))
        }
        Some(worst) => Health::new(
            worst.health.status,
            worst.health.reason.clone(),
            format!(
                "healthy in {well} of {total} clusters; {}: {}{said}",
                worst.cluster, worst.health.message
            ),
        ),
    }
}

#[cfg(test)]
mod tests;
