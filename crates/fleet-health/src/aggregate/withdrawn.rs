//! The status of an object that no member has any more.

use serde_json::{Map, Value, json};

use crate::view::View;

/// What of a Job's status is about pods that run now; the rest says what has happened, and stays so.
const NOW: [&str; 3] = ["active", "ready", "terminating"];

/// The status that the hub's object is to show once no member has it: as one that nobody has looked at yet. Fields that the
/// kind's schema demands are there, and a Job keeps how far it has come, which API servers let nobody take back.
#[must_use]
pub fn withdrawn(hub: &Value) -> Value {
    let view = View::new(hub);
    match (view.group, view.kind) {
        ("batch", "Job") => {
            let mut status = hub.get("status").and_then(Value::as_object).cloned().unwrap_or_default();
            status.retain(|field, _| !NOW.contains(&field.as_str()));
            Value::Object(status)
        }
        ("", "Namespace") => json!({"phase": "Active"}),
        ("", "PersistentVolumeClaim" | "PersistentVolume" | "Pod") => json!({"phase": "Pending"}),
        ("apps", "StatefulSet" | "ReplicaSet") | ("", "ReplicationController") => json!({"replicas": 0}),
        ("apps", "DaemonSet") => json!({
            "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0,
        }),
        ("policy", "PodDisruptionBudget") => json!({
            "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0,
        }),
        ("autoscaling", "HorizontalPodAutoscaler") => json!({"desiredReplicas": 0}),
        ("", "Service") | ("networking.k8s.io", "Ingress") => json!({"loadBalancer": {}}),
        _ => Value::Object(Map::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(api_version: &str, kind: &str, status: Value) -> Value {
        withdrawn(
            &json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, "status": status}),
        )
    }

    /// Broken: an object that is nowhere says that it is available, or has an address that belongs to somebody else by now.
    #[test]
    fn what_is_nowhere_says_nothing() {
        let well =
            json!({"observedGeneration": 3, "availableReplicas": 2, "conditions": [{"type": "Available"}]});
        assert_eq!(of("apps/v1", "Deployment", well), json!({}));
        let there = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
        assert_eq!(of("v1", "Service", there.clone()), json!({"loadBalancer": {}}));
        assert_eq!(of("networking.k8s.io/v1", "Ingress", there), json!({"loadBalancer": {}}));
    }

    /// Broken: a Job that has failed would be as good as new, which API servers refuse.
    #[test]
    fn what_a_job_came_to_stays() {
        let failed = json!({"active": 1, "ready": 1, "failed": 3, "conditions": [{"type": "Failed", "status": "True"}]});
        let kept = json!({"failed": 3, "conditions": [{"type": "Failed", "status": "True"}]});
        assert_eq!(of("batch/v1", "Job", failed), kept);
    }

    /// Broken: written once, it is written again and again.
    #[test]
    fn what_was_withdrawn_stays_so() {
        for (api_version, kind) in
            [("v1", "Namespace"), ("apps/v1", "DaemonSet"), ("batch/v1", "Job"), ("a.b/v1", "C")]
        {
            let once = of(api_version, kind, json!({"phase": "Bound", "active": 1, "x": 1}));
            assert_eq!(of(api_version, kind, once.clone()), once, "{kind}");
        }
    }
}
