//! Steps with conditions, tries, groups and values, on whole fleets.

use fleet_api::{StepPhase, names};
use fleet_testkit::{Engine, Fleet};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::small::{app, config, message, value};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");

/// An Application with a topology for each of two clusters, `first` and `second`.
fn with_steps(mode: &str, steps: Value) -> Value {
    let mut app = app(&[CONFIG], &["m1"]);
    app["spec"]["policies"] = json!([
        {"name": "first", "type": "topology", "properties": {"clusters": ["m1"]}},
        {"name": "second", "type": "topology", "properties": {"clusters": ["m2"]}}]);
    app["spec"]["workflow"] = json!({"mode": {"steps": mode}, "steps": steps});
    app
}

fn deploy(name: &str, policy: &str) -> Value {
    json!({"name": name, "type": "deploy", "properties": {"policies": [policy]}})
}

fn with(mut step: Value, fields: Value) -> Value {
    for (field, value) in fields.as_object().expect("an object") {
        step[field] = value.clone();
    }
    step
}

async fn two() -> anyhow::Result<(Fleet, Engine)> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    Ok((fleet, engine))
}

/// Somebody else's object is in the way on `m1`.
async fn theirs(fleet: &Fleet) -> anyhow::Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
    fleet.apply("m1", &namespace).await?;
    fleet.apply("m1", &config("settings", "theirs")).await?;
    Ok(())
}

/// Broken: a DAG is walked as a list, and what is independent waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_steps_of_a_dag_deliver_at_the_same_time() -> anyhow::Result<()> {
    let (fleet, engine) = two().await?;
    let last = json!({"name": "last", "type": "suspend", "dependsOn": ["a", "b"]});
    fleet
        .apply("hub", &with_steps("DAG", json!([deploy("a", "first"), deploy("b", "second"), last])))
        .await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    let steps = fleet.run_of(&waiting).await?.status.expect("recorded").steps;
    assert_eq!(steps[0].started_at, steps[1].started_at, "both began in one turn");
    for member in ["m1", "m2"] {
        assert_eq!(value(&fleet, member, "settings").await?, Some(json!("1")));
    }
    engine.stop().await?;
    Ok(())
}

/// Broken: groups are shown as a flat list, a value is lost on its way, a condition that says no fails the run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_conditions_and_values_go_through_a_whole_run() -> anyhow::Result<()> {
    let (fleet, engine) = two().await?;
    let made = with(
        deploy("a", "first"),
        json!({"outputs": [{"name": "where", "valueFrom": "output.clusters[0]"}]}),
    );
    let never = with(
        deploy("never", "second"),
        json!({"if": "context.appLabels.?tier.orValue(\"none\") == \"gold\""}),
    );
    let steps = json!([
        {"name": "both", "type": "step-group", "subSteps": [made, never]},
        {"name": "ask", "type": "suspend", "inputs": [{"from": "where", "parameterKey": "message"}]},
        with(deploy("b", "second"), json!({"if": "status[\"never\"].skipped && inputs.where == \"m1\"", "inputs": [{"from": "where"}]})),
    ]);
    fleet.apply("hub", &with_steps("StepByStep", steps)).await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    let workflow = waiting.status.clone().and_then(|status| status.workflow).expect("it runs");
    let shape: Vec<_> = workflow
        .steps
        .iter()
        .map(|step| (step.name.as_str(), step.phase.as_str(), step.sub_steps.len()))
        .collect();
    assert_eq!(shape, [("both", "succeeded", 2), ("ask", "suspending", 0), ("b", "pending", 0)]);
    let within: Vec<_> =
        workflow.steps[0].sub_steps.iter().map(|step| (step.name.as_str(), step.phase.as_str())).collect();
    assert_eq!(within, [("a", "succeeded"), ("never", "skipped")]);
    assert!(workflow.steps[1].message.contains("m1"), "{}", workflow.steps[1].message);
    assert_eq!(value(&fleet, "m2", "settings").await?, None);
    fleet.approve(&waiting).await?;
    fleet.wait_phase("web", "running").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    engine.stop().await?;
    Ok(())
}

/// Broken: a step that may be tried again gives up, or a controller that comes back begins to count anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_is_tried_again_across_a_crash() -> anyhow::Result<()> {
    let (fleet, engine) = two().await?;
    theirs(&fleet).await?;
    let step = with(deploy("a", "first"), json!({"retry": {"limit": 20, "interval": "1s", "factor": 1}}));
    fleet.apply("hub", &with_steps("StepByStep", json!([step, deploy("b", "second")]))).await?;
    let retried = fleet.wait("web", |app| message(app).contains("the next begins at")).await?;
    // Which try is shown depends on when the status is written: once a second.
    assert!(message(&retried).contains(" of 21 failed"), "{}", message(&retried));
    engine.kill().await;
    let before = fleet.run_of(&retried).await?.status.expect("recorded").steps[0].attempts;
    assert!(before >= 1, "the try is on record");
    let theirs = fleet.resource("m1", &config("settings", "theirs")).await?;
    theirs.delete("settings", &DeleteParams::default()).await?;
    let engine = Engine::start(&fleet);
    let done = fleet.wait_phase("web", "running").await?;
    let steps = fleet.run_of(&done).await?.status.expect("recorded").steps;
    assert!(steps[0].attempts >= before && steps[0].attempts <= 20, "{}", steps[0].attempts);
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("1")));
    engine.stop().await?;
    Ok(())
}

/// Broken: a clean-up that says `always` is left out where it is needed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_says_always_runs_after_a_failure() -> anyhow::Result<()> {
    let (fleet, engine) = two().await?;
    theirs(&fleet).await?;
    let steps = json!([deploy("a", "first"), with(deploy("b", "second"), json!({"if": "always"}))]);
    fleet.apply("hub", &with_steps("StepByStep", steps)).await?;
    let failed = fleet.wait_phase("web", "workflowFailed").await?;
    let steps = fleet.run_of(&failed).await?.status.expect("recorded").steps;
    assert_eq!((steps[0].phase, steps[1].phase), (StepPhase::Failed, StepPhase::Succeeded));
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    engine.stop().await?;
    Ok(())
}

/// Broken: a step renamed in the middle of a run makes the run lose its place. It is bound to its revision.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_renamed_in_the_middle_of_a_run_changes_nothing_in_it() -> anyhow::Result<()> {
    let (fleet, engine) = two().await?;
    let gate = |name: &str| json!({"name": name, "type": "suspend"});
    let steps = |name: &str| json!([deploy("a", "first"), gate(name), deploy("b", "second")]);
    let mut manifest = with_steps("StepByStep", steps("ask"));
    manifest["metadata"]["annotations"] = json!({names::PUBLISH_VERSION: "v1"});
    fleet.apply("hub", &manifest).await?;
    fleet.wait_phase("web", "workflowSuspending").await?;
    manifest["spec"]["workflow"]["steps"] = steps("renamed");
    fleet.apply("hub", &manifest).await?;
    let waiting = fleet.wait("web", |app| message(app).contains("the spec differs")).await?;
    fleet.approve(&waiting).await?;
    let done = fleet.wait_phase("web", "running").await?;
    let run = fleet.run_of(&done).await?;
    let named: Vec<_> =
        run.status.iter().flat_map(|status| &status.steps).map(|step| step.name.as_str()).collect();
    assert_eq!((run.spec.number, named), (1, vec!["a", "ask", "b"]));
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    engine.stop().await?;
    Ok(())
}

/// Broken: what can't be walked is found out halfway, or never said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_walked_is_said_when_it_is_applied() -> anyhow::Result<()> {
    let (fleet, engine) = two().await?;
    let differs = json!({"name": "differs", "type": "override", "properties": {"components": [
        {"name": "main", "traits": [{"type": "labels", "properties": {"side": "b"}}]}]}});
    let rivals = json!([
        deploy("a", "first"),
        {"name": "b", "type": "deploy", "properties": {"policies": ["first", "differs"]}}]);
    let input =
        json!({"name": "b", "type": "suspend", "inputs": [{"from": "nothing", "parameterKey": "message"}]});
    let cases = [
        ("DAG", json!([with(deploy("a", "first"), json!({"if": "status."}))]), "step \"a\": if: "),
        (
            "DAG",
            json!([with(
                deploy("a", "first"),
                json!({"if": "status.all(a, status.all(b, status.all(c, a + b == c)))"})
            )]),
            "loop less deeply",
        ),
        ("StepByStep", json!([deploy("a", "first"), input]), "no step makes an output \"nothing\""),
        (
            "DAG",
            json!([
                with(deploy("a", "first"), json!({"dependsOn": ["b"]})),
                with(deploy("b", "second"), json!({"dependsOn": ["a"]}))
            ]),
            "steps wait for each other: a → b",
        ),
        ("DAG", rivals, "steps \"a\" and \"b\" may act at once"),
    ];
    for (mode, steps, words) in cases {
        let mut manifest = with_steps(mode, steps);
        manifest["spec"]["policies"].as_array_mut().expect("a list").push(differs.clone());
        fleet.apply("hub", &manifest).await?;
        let told = fleet.wait("web", |app| message(app).contains(words)).await?;
        assert!(!message(&told).contains('\n'), "{}", message(&told));
    }
    for member in ["m1", "m2"] {
        assert_eq!(value(&fleet, member, "settings").await?, None, "half applied");
    }
    engine.stop().await?;
    Ok(())
}
