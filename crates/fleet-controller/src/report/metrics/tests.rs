use std::collections::BTreeSet;

use fleet_members::{Answer, Telemetry as _};

use super::*;

/// Counts one of everything.
fn counted() -> Metrics {
    let metrics = Metrics::new();
    metrics.turn_begins();
    metrics.turn_ended("done", Duration::from_millis(3));
    metrics.run_started("Created");
    let (begin, end) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + SignedDuration::from_secs(90));
    metrics.run_ended(RunPhase::Succeeded, Some(begin), Some(end));
    metrics.step_moved("deploy", StepPhase::Running);
    metrics.step_ended("deploy", StepPhase::Succeeded, Some(begin), Some(end));
    let approval = ApprovalRecord { proven: true, at: Some(end), ..ApprovalRecord::default() };
    metrics.approved(&approval, Some(begin));
    metrics.hub_watch_interrupted("Policies");
    metrics.event_published();
    metrics.event_lost();
    metrics.members().asked("m1", "apply", Answer::Status(200), Duration::from_millis(12));
    metrics.members().asked("m1", "apply", Answer::NotAsked, Duration::ZERO);
    metrics.members().watch_restarted("m1");
    metrics.members().watch_narrowed("m1", "Secret");
    metrics.members().watch_narrowed("m1", "Secret");
    metrics.members().drifted("m1", Drift::Repaired);
    metrics
}

/// Alerts and dashboards are written against these lines; a name that changes breaks them without a word.
#[test]
fn what_is_counted_shows() {
    let text = counted().encode().unwrap();
    for line in [
        "fleetctl_turns_total{outcome=\"done\"} 1",
        "fleetctl_turns_total{outcome=\"failed\"} 0",
        "fleetctl_turn_duration_seconds_count 1",
        "fleetctl_runs_started_total{cause=\"Created\"} 1",
        "fleetctl_runs_ended_total{phase=\"succeeded\"} 1",
        "fleetctl_run_duration_seconds_bucket{le=\"300.0\",phase=\"succeeded\"} 1",
        "fleetctl_steps_total{type=\"deploy\",state=\"running\"} 1",
        "fleetctl_step_duration_seconds_sum{type=\"deploy\",state=\"succeeded\"} 90.0",
        "fleetctl_approvals_total{proven=\"true\"} 1",
        "fleetctl_approval_wait_seconds_count 1",
        "fleetctl_member_requests_total{cluster=\"m1\",verb=\"apply\",code=\"200\"} 1",
        "fleetctl_member_requests_total{cluster=\"m1\",verb=\"apply\",code=\"not-asked\"} 1",
        "fleetctl_member_request_duration_seconds_count{cluster=\"m1\"} 1",
        "fleetctl_member_watch_interruptions_total{cluster=\"m1\"} 1",
        "fleetctl_member_watches_narrowed{cluster=\"m1\"} 1",
        "fleetctl_drift_repaired_total{cluster=\"m1\"} 1",
        "fleetctl_drift_fights_total{cluster=\"m1\"} 0",
        "fleetctl_hub_watch_interruptions_total{kind=\"Policies\"} 1",
        "fleetctl_queue_length 0.0",
        "fleetctl_queue_oldest_seconds 0.0",
        "fleetctl_approvals_waiting 0.0",
        "fleetctl_approvals_oldest_seconds 0.0",
    ] {
        assert!(text.contains(line), "{line} isn't in:\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

/// Prometheus refuses the whole scrape for one line that is wrong.
#[test]
fn every_metric_has_help_and_a_good_name() {
    let text = counted().encode().unwrap();
    let mut described = BTreeSet::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(words.len() > 5, "{line}");
            assert!(described.insert(name.to_owned()), "{name} twice");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let suffixes = ["_total", "_bucket", "_count", "_sum", "_info"];
            let base = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
            assert!(described.contains(base), "{line}");
            assert!(base.starts_with("fleetctl_") || base.starts_with("process_"), "{line}");
        }
    }
}

/// A fleet whose members come and go must not grow the scrape for ever.
#[test]
fn a_member_that_left_is_forgotten() {
    let metrics = counted();
    metrics.members().left("m1");
    assert!(!metrics.encode().unwrap().contains("m1"));
}

/// A panel that asks for a metric that isn't there shows "no data" on the day when somebody looks.
#[test]
fn the_dashboard_asks_for_metrics_that_are_there() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/fleetctl/dashboards/fleetctl.json");
    let dashboard: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let text = counted().encode().unwrap();
    let mut there: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    // These have a line for each thing that there is, and here is none.
    there.extend(["fleetctl_applications", "fleetctl_member_reachable", "fleetctl_member_breaker_open"]);
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(panel["type"] == "row" || panel["description"].as_str().is_some_and(|text| text.len() > 10));
        for target in panel["targets"].as_array().into_iter().flatten() {
            let words =
                target["expr"].as_str().unwrap().split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for name in words.filter(|word| word.starts_with("fleetctl_") || word.starts_with("process_")) {
                assert!(there.contains(name), "{}: {name} isn't counted", panel["title"]);
                asked += 1;
            }
        }
    }
    assert!(asked > 30, "{asked}");
}
