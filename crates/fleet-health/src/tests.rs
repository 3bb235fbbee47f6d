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
        "APIService",
        "ReplicationController",
        "Node",
        "VolumeAttachment",
        "ResourceClaim",
        "ServiceCIDR",
        "CertificateSigningRequest",
        "ValidatingAdmissionPolicy",
        "FlowSchema",
        "PriorityLevelConfiguration",
    ] {
        let healthy = |case: &Case| case.object["kind"] == kind && case.expected.is_healthy();
        assert!(cases.iter().any(healthy), "{kind}");
    }
}

/// A kind that Kubernetes gains would be called healthy for existing, and nobody would have thought about it.
#[test]
fn every_built_in_kind_was_thought_about() {
    for kind in &fleet_schema::builtin().kinds {
        let stored = ["create", "list"].iter().all(|verb| kind.verbs.iter().any(|v| v == verb));
        let (gvk, group) = (&kind.gvk, kind.gvk.group.as_str());
        let api_version =
            if group.is_empty() { gvk.version.clone() } else { format!("{group}/{}", gvk.version) };
        let known = rules::find(group, &gvk.kind).is_some();
        let data = is_judged_by_metadata(&api_version, &gvk.kind);
        assert!(!stored || known != data, "{api_version} {}: rule {known}, data {data}", gvk.kind);
        let reports = kind.subresources.iter().any(|sub| sub.name == "status");
        assert!(
            !reports || known || gvk.kind == "ResourceQuota",
            "{} reports a status that nobody reads",
            gvk.kind
        );
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenCase {
    name: String,
    sources: std::collections::BTreeMap<String, Value>,
    object: Value,
    status: HealthStatus,
    reason: String,
    message: String,
}

/// Rules that people gave decide for their kinds, and a mistake in them never calls anything healthy.
#[test]
fn given_rules_are_followed() {
    let cases: Vec<GivenCase> = serde_json::from_str(include_str!("../tests/data/given.json")).unwrap();
    for case in cases {
        let sources = || case.sources.iter().map(|(name, value)| (name.as_str(), value));
        let health = assess_with(&case.object, &HealthRules::compile(sources()).0);
        assert_eq!(
            (health.status, &health.reason),
            (case.status, &case.reason),
            "{}: {}",
            case.name,
            health.message
        );
        assert!(!health.message.is_empty() && !health.message.contains('\n'), "{}", case.name);
        if !case.message.is_empty() {
            assert_eq!(health.message, case.message, "{}", case.name);
        }
        // The order in which sources are read decides nothing.
        let backwards: Vec<_> = sources().collect();
        assert_eq!(assess_with(&case.object, &HealthRules::compile(backwards.into_iter().rev()).0), health);
    }
}

/// What can't be used is said with its place.
#[test]
fn refused_rules_are_told() {
    #[derive(Deserialize)]
    struct Refused {
        value: Value,
        errors: Vec<String>,
    }
    let cases: Vec<Refused> = serde_json::from_str(include_str!("../tests/data/refused.json")).unwrap();
    for case in cases {
        let (_, errors) = HealthRules::compile([("x", &case.value)]);
        assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), case.errors);
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
        let eager = json!([{"group": "example.com", "kind": "Thing", "rules": [{"when": "true", "status": "Healthy"}]}]);
        prop_assert!(!assess_with(&object, &HealthRules::compile([("eager", &eager)]).0).is_healthy());
    }

    /// Whatever its counters say, work that has failed isn't done.
    #[test]
    fn a_failed_job_is_never_healthy(
        succeeded in 0..4_i64, failed in 0..4_i64, suspend: bool, order: bool, kind in "(Failed|FailureTarget)",
    ) {
        let mut conditions = vec![
            json!({"type": kind, "status": "True"}), json!({"type": "Complete", "status": "True"}),
        ];
        if order {
            conditions.reverse();
        }
        let object = json!({
            "apiVersion": "batch/v1", "kind": "Job", "spec": {"completions": 1, "suspend": suspend},
            "status": {"succeeded": succeeded, "failed": failed, "conditions": conditions},
        });
        prop_assert_eq!(assess(&object).status, HealthStatus::Degraded);
    }

    /// A rule is somebody's text: whatever it says, an answer comes, and it has words.
    #[test]
    fn any_text_is_a_rule_or_an_error(when in "[a-z.()'\"<=>&|?0-9 \\[\\]{}]{0,40}", phase in ".{0,8}") {
        let rules = json!([{"group": "example.com", "kind": "Thing", "rules": [{"when": when, "status": "Healthy"}]}]);
        let (rules, errors) = HealthRules::compile([("x", &rules)]);
        let object = json!({"apiVersion": "example.com/v1", "kind": "Thing", "status": {"phase": phase}});
        let health = assess_with(&object, &rules);
        prop_assert!(!health.reason.is_empty() && !health.message.is_empty());
        prop_assert!(errors.is_empty() || health.status == HealthStatus::Unknown);
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
