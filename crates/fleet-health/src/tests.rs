use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    object: Value,
    #[serde(flatten)]
    expected: Health,
}

/// A step moves on by these verdicts, and people and scripts read their reasons.
#[test]
fn cases_are_judged() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../tests/data/health.json")).unwrap();
    for case in cases {
        assert_eq!(assess(&case.object), case.expected, "{}", case.name);
    }
}

/// A rule with no case in the table would never be looked at again.
#[test]
fn every_rule_has_a_healthy_case() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../tests/data/health.json")).unwrap();
    for kind in [
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "ReplicaSet",
        "Job",
        "CronJob",
        "Pod",
        "Service",
        "Ingress",
        "PersistentVolumeClaim",
        "PersistentVolume",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "Namespace",
        "CustomResourceDefinition",
    ] {
        let healthy = |case: &Case| case.object["kind"] == kind && case.expected.is_healthy();
        assert!(cases.iter().any(healthy), "{kind}");
    }
}

const KINDS: [(&str, &str); 8] = [
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "ReplicaSet"),
    ("batch/v1", "Job"),
    ("v1", "Pod"),
    ("policy/v1", "PodDisruptionBudget"),
    ("example.com/v1", "Thing"),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// However good the numbers look: what the controller hasn't seen is not done.
    #[test]
    fn an_outdated_status_is_never_healthy(
        kind in 0..KINDS.len(), observed in 0..5_i64, behind in 1..5_i64, replicas in 0..4_i64, ready in "(True|False)",
    ) {
        let (api, kind) = KINDS[kind];
        let object = json!({
            "apiVersion": api, "kind": kind,
            "metadata": {"generation": observed + behind},
            "spec": {"replicas": replicas},
            "status": {
                "observedGeneration": observed, "phase": "Running",
                "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas,
                "availableReplicas": replicas, "currentHealthy": replicas, "desiredHealthy": 0,
                "conditions": [{"type": "Ready", "status": ready}, {"type": "Complete", "status": "True"}],
            },
        });
        prop_assert!(!assess(&object).is_healthy());
    }

    /// A rollout is healthy only when each replica is updated and available, and nothing else runs.
    #[test]
    fn a_healthy_deployment_has_all_replicas(
        desired in 0..4_i64, total in 0..6_i64, updated in 0..6_i64, ready in 0..6_i64, available in 0..6_i64,
    ) {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 1}, "spec": {"replicas": desired},
            "status": {
                "observedGeneration": 1, "replicas": total, "updatedReplicas": updated, "readyReplicas": ready,
                "availableReplicas": available,
            },
        });
        let health = assess(&object);
        let done = updated >= desired && total <= updated && total <= desired && available >= desired;
        prop_assert_eq!(health.is_healthy(), done, "{}", health.message);
    }
}
