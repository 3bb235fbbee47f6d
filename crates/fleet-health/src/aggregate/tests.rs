use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::assess;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    name: String,
    hub: Value,
    reports: Vec<Shown>,
    #[serde(default)]
    status: Value,
    /// Verdict, reason and message.
    #[serde(default)]
    health: (String, String, String),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Shown {
    cluster: String,
    object: Option<Value>,
    current: bool,
    #[serde(default)]
    silent_since: Option<String>,
}

impl Shown {
    fn report(&self) -> Report<'_> {
        Report {
            cluster: &self.cluster,
            object: self.object.as_ref(),
            current: self.current,
            silent_since: self.silent_since.as_deref(),
        }
    }
}

fn run(hub: &Value, reports: &[Shown]) -> Aggregate {
    let reports: Vec<Report<'_>> = reports.iter().map(Shown::report).collect();
    aggregate(hub, &reports, &HealthRules::default())
}

/// `kubectl get`, `rollout status` and `wait` on the hub read these.
#[test]
fn cases_are_aggregated() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/data/aggregate.json")).unwrap();
    for case in cases {
        let made = run(&case.hub, &case.reports);
        assert_eq!(made.status, case.status, "{}: {}", case.name, made.status);
        let health = (made.health.status.to_string(), made.health.reason, made.health.message);
        assert_eq!(health, case.health, "{}", case.name);
    }
}

/// What a workload on a member may look like.
fn deployments() -> impl Strategy<Value = Shown> {
    let counts = (0..4_i64, 0..4_i64, 0..4_i64, 0..4_i64, 0..4_i64);
    let flags =
        (prop::bool::weighted(0.8), prop::bool::weighted(0.9), prop::bool::weighted(0.8), any::<bool>());
    (counts, flags, 1..4_i64, 0..4_i64).prop_map(
        |((desired, total, updated, ready, available), flags, seen, behind)| {
            let (current, there, settled, quiet) = flags;
            let (ready, behind) = if settled { (desired, 0) } else { (ready, behind) };
            let (total, updated, available) =
                if settled { (desired, desired, desired) } else { (total, updated, available) };
            let met = if available >= desired { "True" } else { "False" };
            let object = json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": seen + behind},
                "spec": {"replicas": desired},
                "status": {
                    "observedGeneration": seen, "replicas": total, "updatedReplicas": updated,
                    "readyReplicas": ready, "availableReplicas": available,
                    "conditions": [{"type": "Available", "status": met, "message": format!("{available}"),
                        "lastTransitionTime": format!("2026-01-01T00:00:0{available}Z")}],
                },
            });
            Shown {
                cluster: String::new(),
                object: there.then_some(object),
                current,
                silent_since: (quiet && !settled).then(|| "2026-01-01T00:00:00Z".to_owned()),
            }
        },
    )
}

fn named(mut shown: Vec<Shown>) -> Vec<Shown> {
    for (at, report) in shown.iter_mut().enumerate() {
        report.cluster = format!("c{at}");
    }
    shown
}

/// Objects of any kind with statuses of any shape.
fn anything() -> impl Strategy<Value = (Value, Vec<Shown>)> {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../../tests/data/aggregate.json")).unwrap_or_default();
    let count = cases.len();
    (0..count, prop::collection::vec(0..count, 0..3), any::<u64>()).prop_map(move |(hub, others, seed)| {
        let of = |at: usize| {
            cases.get(at).map(|case| (case.hub.clone(), case.reports.clone())).unwrap_or_default()
        };
        let (hub, mut reports) = of(hub);
        // Statuses of one kind under the name of another: controllers are other people's programs.
        for report in others.into_iter().flat_map(|at| of(at).1) {
            let mut report = report;
            if let Some(object) = report.object.as_mut().and_then(Value::as_object_mut) {
                object.insert("kind".to_owned(), hub["kind"].clone());
                object.insert("apiVersion".to_owned(), hub["apiVersion"].clone());
            }
            reports.push(report);
        }
        let turn = usize::try_from(seed % 7).unwrap_or_default().min(reports.len());
        reports.rotate_left(turn);
        (hub, named(reports))
    })
}

/// What a Job on each of some members may look like.
fn jobs() -> impl Strategy<Value = Vec<Shown>> {
    let one = (0..4_usize, prop::bool::weighted(0.9)).prop_map(|(shape, there)| {
        let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": "R"});
        let (counts, conditions) = match shape {
            0 => (json!({"active": 1}), vec![]),
            1 => (json!({"active": 1}), vec![condition("SuccessCriteriaMet")]),
            2 => (
                json!({"succeeded": 1, "completionTime": "2026-01-01T00:01:00Z"}),
                vec![condition("SuccessCriteriaMet"), condition("Complete")],
            ),
            _ => (json!({"failed": 1}), vec![condition("FailureTarget"), condition("Failed")]),
        };
        let mut status = counts;
        status["startTime"] = json!("2026-01-01T00:00:00Z");
        status["conditions"] = json!(conditions);
        let object = json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {}, "status": status});
        Shown { cluster: String::new(), object: there.then_some(object), current: there, silent_since: None }
    });
    prop::collection::vec(one, 1..4).prop_map(named)
}

fn with_status(hub: &Value, status: &Value) -> Value {
    let mut hub = hub.clone();
    hub["status"] = status.clone();
    hub
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Members answer in any order; a status that depended on it would be written for ever.
    #[test]
    fn the_order_of_members_decides_nothing((hub, reports) in anything(), turn in 0..8_usize, back: bool) {
        let made = run(&hub, &reports);
        let mut other = reports;
        let turn = turn.min(other.len());
        other.rotate_left(turn);
        if back {
            other.reverse();
        }
        prop_assert_eq!(run(&hub, &other), made);
    }

    /// What was written to the hub comes back as it is: else each write would bring the next.
    #[test]
    fn a_status_that_was_written_stays((hub, reports) in anything()) {
        let first = run(&hub, &reports);
        let again = run(&with_status(&hub, &first.status), &reports);
        prop_assert_eq!(again, first);
    }

    /// The hub says that a change has arrived only when it has arrived everywhere, and is healthy only when all are.
    #[test]
    fn the_hub_is_never_ahead_of_a_member(
        shown in prop::collection::vec(deployments(), 1..5), generation in 1..5_i64, before in 0..5_i64,
    ) {
        let shown = named(shown);
        let total: i64 = shown.iter().filter_map(|s| s.object.as_ref()).map(|o| o["spec"]["replicas"].as_i64().unwrap()).sum();
        let hub = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": generation},
            "spec": {"replicas": total}, "status": {"observedGeneration": before},
        });
        let made = run(&hub, &shown);
        let seen = |report: &Shown| {
            let number = |pointer: &str| report.object.as_ref().and_then(|o| o.pointer(pointer)).and_then(Value::as_i64);
            report.current && number("/status/observedGeneration").zip(number("/metadata/generation")).is_some_and(|(s, g)| s >= g)
        };
        let all = shown.iter().all(seen);
        let status = with_status(&hub, &made.status);
        let observed = status["status"]["observedGeneration"].as_i64().unwrap_or(0);
        prop_assert_eq!(observed == generation, all, "{}", made.status);
        let well = made.clusters.iter().all(|cluster| cluster.health.is_healthy());
        prop_assert_eq!(made.health.is_healthy(), well);
        let wait = made.status["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == "Available" && c["status"] == "True");
        prop_assert!(!wait || shown.iter().all(|s| s.object.is_some()));
        // With all replicas divided, the hub's own object is judged as the members are.
        if assess(&status).is_healthy() {
            prop_assert!(all, "{}", status);
        }
        if all && well {
            prop_assert!(assess(&status).is_healthy(), "{}", assess(&status).message);
        }
        // Sums are sums.
        for field in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
            let sum: i64 = shown.iter().filter_map(|s| s.object.as_ref()?["status"][field].as_i64()).sum();
            prop_assert_eq!(made.status[field].as_i64().unwrap_or(0), sum);
        }
        let ready: i64 = made.clusters.iter().filter_map(|cluster| cluster.replicas).map(|r| r.ready).sum();
        prop_assert_eq!(made.status["readyReplicas"].as_i64().unwrap_or(0), ready);
        let stale = made.status["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == "fleetctl.dev/Stale");
        prop_assert_eq!(stale, !made.status.is_null() && shown.iter().any(|s| s.silent_since.is_some()));
    }

    /// The API server refuses a Job's status that breaks these, and the hub would show nothing at all.
    #[test]
    fn a_job_keeps_the_api_servers_rules((hub, reports) in anything()) {
        let mut hub = hub;
        hub["kind"] = json!("Job");
        hub["apiVersion"] = json!("batch/v1");
        let status = run(&hub, &reports).status;
        prop_assume!(status.is_object() && hub["status"]["conditions"].is_null());
        let holds = |kind: &str| {
            status["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == kind && c["status"] == "True")
        };
        let finished = holds("Complete") || holds("Failed");
        prop_assert!(!(holds("Complete") && (holds("Failed") || holds("FailureTarget"))));
        prop_assert!(!holds("Complete") || holds("SuccessCriteriaMet") && status["completionTime"].is_string());
        prop_assert!(holds("Complete") || status["completionTime"].is_null());
        prop_assert!(!holds("Failed") || holds("FailureTarget"));
        prop_assert!(!finished || status["startTime"].is_string() && status["active"].is_null() && status["terminating"].is_null());
    }

    /// What a Job's status has said of its end stays, whoever joins and leaves: the API server refuses anything else.
    #[test]
    fn a_jobs_end_is_not_taken_back(first in jobs(), second in jobs()) {
        let hub = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, "spec": {"completions": 1}});
        let before = run(&hub, &first).status;
        let after = run(&with_status(&hub, &before), &second).status;
        prop_assume!(after.is_object());
        let holds = |status: &Value, kind: &str| {
            status["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == kind && c["status"] == "True")
        };
        for kind in ["FailureTarget", "Failed", "SuccessCriteriaMet", "Complete"] {
            prop_assert!(!holds(&before, kind) || holds(&after, kind), "{}: {} became {}", kind, before, after);
        }
        prop_assert!(!(holds(&after, "SuccessCriteriaMet") && holds(&after, "FailureTarget")), "{}", after);
        let finished = holds(&after, "Failed") || holds(&after, "Complete");
        prop_assert!(!finished || after["startTime"].is_string() && after["active"].is_null());
        for counter in ["succeeded", "failed"] {
            prop_assert!(after[counter].as_i64() >= before[counter].as_i64());
        }
        let again = run(&with_status(&hub, &after), &second).status;
        prop_assert_eq!(again, after);
    }
}
