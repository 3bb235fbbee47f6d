//! Workloads that keep a number of pods.

use crate::Health;
use crate::conditions::condition;
use crate::generic::unobserved;
use crate::view::View;

fn desired_replicas(view: &View<'_>) -> i64 {
    view.int(&["spec", "replicas"]).unwrap_or(1)
}

fn running(ready: i64, what: &str) -> Health {
    match ready {
        0 => Health::healthy("ScaledToZero", "scaled to 0"),
        1 => Health::healthy("ReplicasReady", format!("1 {what} is ready")),
        count => Health::healthy("ReplicasReady", format!("{count} {what}s are ready")),
    }
}

/// Pods that can't even be created: a quota, an admission webhook, a missing service account.
fn replica_failure(view: &View<'_>) -> Option<Health> {
    let failure = condition(view, "ReplicaFailure").filter(|condition| condition.is_true())?;
    Some(Health::degraded(failure.reason_or("ReplicaFailure"), failure.message_or("pods can't be created")))
}

pub(super) fn deployment(view: &View<'_>) -> Health {
    if let Some(health) = unobserved(view) {
        return health;
    }
    let desired = desired_replicas(view);
    let updated = view.count("updatedReplicas");
    let ready = view.count("readyReplicas");
    let available = view.count("availableReplicas");
    let old = (view.count("replicas") - updated).max(0);
    let surplus = (view.count("replicas") - desired).max(0);
    if updated >= desired && surplus == 0 && available >= desired {
        return running(desired, "updated replica");
    }
    if let Some(progress) = condition(view, "Progressing").filter(|condition| condition.is_false())
        && progress.reason == "ProgressDeadlineExceeded"
    {
        let counts = format!("{} of {desired} updated replicas are ready", ready.min(updated));
        let message = progress.message_or("the rollout made no progress within its deadline");
        return Health::degraded("ProgressDeadlineExceeded", format!("{message}; {counts}"));
    }
    if updated < desired
        && let Some(health) = replica_failure(view)
    {
        return health;
    }
    if view.flag(&["spec", "paused"]) {
        return Health::suspended(
            "Paused",
            format!("the rollout is paused; {updated} of {desired} replicas are updated"),
        );
    }
    if updated < desired {
        return Health::progressing(
            "ReplicasNotUpdated",
            format!("{updated} of {desired} replicas are updated"),
        );
    }
    if ready < desired {
        return Health::progressing(
            "ReplicasNotReady",
            format!("{ready} of {desired} updated replicas are ready"),
        );
    }
    if old > 0 {
        return Health::progressing("OldReplicasRemain", format!("{old} old replicas still run"));
    }
    if surplus > 0 {
        return Health::progressing("OldReplicasRemain", format!("{surplus} surplus replicas still run"));
    }
    Health::progressing(
        "ReplicasNotAvailable",
        format!("{available} of {desired} updated replicas are available"),
    )
}

pub(super) fn stateful_set(view: &View<'_>) -> Health {
    if let Some(health) = unobserved(view) {
        return health;
    }
    let desired = desired_replicas(view);
    let ready = view.count("readyReplicas");
    if ready < desired {
        return Health::progressing("ReplicasNotReady", format!("{ready} of {desired} replicas are ready"));
    }
    let extra = view.count("replicas") - desired;
    if extra > 0 {
        return Health::progressing("OldReplicasRemain", format!("{extra} surplus replicas still run"));
    }
    if view.int(&["spec", "minReadySeconds"]).unwrap_or(0) > 0 {
        let available = view.count("availableReplicas");
        if available < desired {
            return Health::progressing(
                "ReplicasNotAvailable",
                format!("{available} of {desired} replicas are available"),
            );
        }
    }
    if view.text(&["spec", "updateStrategy", "type"]) == "OnDelete" {
        return running(desired, "replica");
    }
    // Below the partition the old revision stays on purpose.
    let partition =
        view.int(&["spec", "updateStrategy", "rollingUpdate", "partition"]).unwrap_or(0).clamp(0, desired);
    let to_update = desired - partition;
    let updated = view.count("updatedReplicas");
    let current = view.text(&["status", "currentRevision"]);
    let is_updating = current != view.text(&["status", "updateRevision"]);
    if is_updating && updated < to_update {
        return Health::progressing(
            "ReplicasNotUpdated",
            format!("{updated} of {to_update} replicas are updated"),
        );
    }
    if is_updating && partition == 0 && desired > 0 {
        return Health::progressing(
            "RolloutNotFinished",
            format!("all {desired} replicas are updated; the rollout is being concluded"),
        );
    }
    running(desired, "replica")
}

pub(super) fn daemon_set(view: &View<'_>) -> Health {
    if let Some(health) = unobserved(view) {
        return health;
    }
    let desired = view.count("desiredNumberScheduled");
    let updated = view.count("updatedNumberScheduled");
    let ready = view.count("numberReady");
    let available = view.count("numberAvailable");
    let is_rolling = view.text(&["spec", "updateStrategy", "type"]) != "OnDelete";
    if is_rolling && updated < desired {
        return Health::progressing("PodsNotUpdated", format!("{updated} of {desired} pods are updated"));
    }
    if available < desired {
        return if ready < desired {
            Health::progressing("PodsNotReady", format!("{ready} of {desired} pods are ready"))
        } else {
            Health::progressing("PodsNotAvailable", format!("{available} of {desired} pods are available"))
        };
    }
    match desired {
        0 => Health::healthy("NoNodes", "no node takes a pod"),
        count => running(count, "pod"),
    }
}

pub(super) fn replica_set(view: &View<'_>) -> Health {
    if let Some(health) = unobserved(view) {
        return health;
    }
    let desired = desired_replicas(view);
    let ready = view.count("readyReplicas");
    let available = view.count("availableReplicas");
    if available >= desired {
        let extra = view.count("replicas") - desired;
        return if extra > 0 {
            Health::progressing("OldReplicasRemain", format!("{extra} surplus replicas still run"))
        } else {
            running(desired, "replica")
        };
    }
    if let Some(health) = replica_failure(view) {
        return health;
    }
    if ready < desired {
        Health::progressing("ReplicasNotReady", format!("{ready} of {desired} replicas are ready"))
    } else {
        Health::progressing(
            "ReplicasNotAvailable",
            format!("{available} of {desired} replicas are available"),
        )
    }
}
