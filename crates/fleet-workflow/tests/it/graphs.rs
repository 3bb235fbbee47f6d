//! Steps as written: what they mean and what is refused.

use fleet_api::Step;
use fleet_workflow::{Graph, StepKind};
use jiff::SignedDuration;
use serde_json::json;

use crate::world::{deploy, step};

fn refusal(steps: &[Step], dag: bool) -> (&'static str, String) {
    let error = Graph::read(steps, dag).expect_err("it is read");
    (error.reason(), error.to_string())
}

#[test]
fn a_list_goes_step_by_step_and_a_dag_as_it_says() {
    let steps = [deploy("a", true), deploy("b", false), step("c", "suspend", json!({}), &["a"])];
    let after =
        |dag| Graph::read(&steps, dag).unwrap().nodes.into_iter().map(|node| node.after).collect::<Vec<_>>();
    assert_eq!(after(false), [vec![], vec![0], vec![0, 1]]);
    assert_eq!(after(true), [vec![], vec![], vec![0]]);
}

#[test]
fn what_is_not_written_has_a_default() {
    let steps = [Step { type_: "deploy".into(), ..Step::default() }];
    let graph = Graph::read(&steps, false).unwrap();
    let node = graph.node("step-0").expect("a name is made up");
    assert_eq!(node.timeout, SignedDuration::from_mins(30));
    assert!(matches!(&node.kind, StepKind::Deploy(deploy) if deploy.auto && deploy.policies.is_empty()));
    assert!(!node.kind.is_gated());
}

#[test]
fn a_gate_is_about_what_comes_up_to_the_next_gate() {
    let steps = [
        step("ask", "suspend", json!({}), &[]),
        deploy("one", true),
        deploy("two", true),
        deploy("three", false),
        deploy("four", true),
    ];
    let graph = Graph::read(&steps, false).unwrap();
    assert_eq!(graph.behind_gate("ask"), ["one", "two"]);
    assert_eq!(graph.behind_gate("three"), ["three"]);
    assert!(graph.behind_gate("nobody").is_empty());
}

// A user sees these words: each names the step, the cause and what is accepted.
#[test]
fn what_can_not_be_walked_is_refused_in_words() {
    let timeout = Step { timeout: Some("soon".into()), ..deploy("a", true) };
    let condition = Step { condition: Some("false".into()), ..deploy("a", true) };
    let cases: Vec<(Vec<Step>, &str, &str)> = vec![
        (
            vec![step("a", "deplyo", json!({}), &[])],
            "UnknownStepType",
            "step \"a\": there is no step type \"deplyo\" (did you mean \"deploy\"?); types are deploy, suspend, step-group, check-metrics, request, webhook, notification, wait-for, depends-on-app",
        ),
        (
            vec![step("a", "apply-job", json!({}), &[])],
            "UnknownStepType",
            "step \"a\": there is no step type \"apply-job\"; types are deploy, suspend, step-group, check-metrics, request, webhook, notification, wait-for, depends-on-app",
        ),
        (
            vec![step("a", "deploy", json!({ "auto": "no" }), &[])],
            "InvalidStepProperties",
            "step \"a\": properties: auto: invalid type: string \"no\", expected a boolean",
        ),
        (
            vec![step("a", "deploy", json!({ "parallelism": 0 }), &[])],
            "InvalidStepProperties",
            "step \"a\": properties: parallelism: must be at least 1",
        ),
        (
            vec![step("a", "suspend", json!({ "duration": "5 minutes" }), &[])],
            "InvalidStepProperties",
            "step \"a\": properties: duration: \"5 minutes\" isn't a duration; write it like 90s, 30m, 1h30m or 2d",
        ),
        (
            vec![deploy("a", true), deploy("a", true)],
            "DuplicateStepName",
            "step \"a\" stands twice; give each step a name of its own",
        ),
        (
            vec![step("a", "deploy", json!({}), &["b"])],
            "UnknownStepDependency",
            "step \"a\": dependsOn names \"b\", which is no step of this workflow",
        ),
        (
            vec![
                step("a", "deploy", json!({}), &["b"]),
                step("b", "deploy", json!({}), &["a"]),
                deploy("c", true),
            ],
            "StepCycle",
            "steps wait for each other: a → b; take one of the dependsOn away",
        ),
        (
            vec![timeout],
            "InvalidTimeout",
            "step \"a\": timeout: \"soon\" isn't a duration; write it like 90s, 30m, 1h30m or 2d",
        ),
        (
            vec![condition],
            "InvalidCondition",
            "step \"a\": if: isn't carried out by this version; remove it, or write the steps out",
        ),
    ];
    for (steps, reason, message) in cases {
        assert_eq!(refusal(&steps, true), (reason, message.to_owned()));
    }
}

#[test]
fn a_step_that_waits_for_itself_or_for_a_later_one_in_a_list_is_a_cycle() {
    assert_eq!(refusal(&[step("a", "deploy", json!({}), &["a"])], true).0, "StepCycle");
    assert_eq!(refusal(&[step("a", "deploy", json!({}), &["b"]), deploy("b", true)], false).0, "StepCycle");
}

// Unknown properties are refused, as a wrong name would otherwise silently open a gate (`auto` misspelt).
#[test]
fn a_misspelt_property_is_refused() {
    let (reason, message) = refusal(&[step("a", "deploy", json!({ "Auto": false }), &[])], false);
    assert_eq!(reason, "InvalidStepProperties");
    assert!(message.contains("unknown field `Auto`"), "{message}");
}
