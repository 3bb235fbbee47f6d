//! Conditions, tries, values and groups, one behaviour at a time.

use fleet_api::{RunPhase, Step, StepInput, StepOutput, StepPhase, StepRetry, TargetPhase};
use fleet_workflow::{Command, Delivery, Graph};
use serde_json::json;

use crate::world::{World, deploy, problem, step, target};

fn run(steps: &[Step], dag: bool, targets: &[Vec<&str>]) -> World {
    World::new(Graph::read(steps, dag).unwrap(), targets)
}

fn asks(condition: &str, step: Step) -> Step {
    Step { condition: Some(condition.into()), ..step }
}

fn group(name: &str, sub_steps: &[Step]) -> Step {
    let sub_steps = sub_steps.iter().map(|step| serde_json::to_value(step).unwrap()).collect();
    Step { sub_steps, properties: None, ..step(name, "step-group", json!({}), &[]) }
}

fn retried(limit: u32, step: Step) -> Step {
    Step { retry: Some(StepRetry { limit, interval: Some("10s".into()), factor: Some(2) }), ..step }
}

fn fail(world: &mut World, step: &str, cluster: &str) {
    world.deliver(step, cluster, Delivery::Refused { problem: problem("Immutable"), retry: false });
}

fn phase(world: &World, name: &str) -> StepPhase {
    world.status.steps.iter().find(|step| step.name == name).unwrap().phase
}

fn said(world: &World, name: &str) -> (String, String) {
    let step = world.status.steps.iter().find(|step| step.name == name).unwrap();
    (step.reason.clone(), step.message.clone())
}

// Broken: a clean-up that must run whatever happened is skipped with the rest, or what needs no failure runs after one.
#[test]
fn always_runs_after_a_failure_and_what_comes_then_does_not() {
    let steps = [
        deploy("ship", true),
        asks("always", deploy("clean", true)),
        deploy("next", true),
        asks("status.ship.failed && status.clean.succeeded", deploy("tell", true)),
        asks("status.ship.succeeded", deploy("praise", true)),
    ];
    let mut world = run(&steps, false, &[vec!["m1"], vec!["m2"], vec!["m3"], vec!["m2"], vec!["m3"]]);
    world.settle();
    fail(&mut world, "ship", "m1");
    let turned = world.settle();
    assert_eq!(turned.commands, [Command::Deliver { step: "clean".into(), target: target("m2") }]);
    world.finish("clean", "m2");
    world.settle();
    world.finish("tell", "m2");
    world.settle();
    use StepPhase::{Failed, Skipped, Succeeded};
    assert_eq!(world.phases(), [Failed, Succeeded, Skipped, Succeeded, Skipped], "{:?}", world.status);
    assert_eq!(said(&world, "next").0, "DependencyFailed");
    assert_eq!(said(&world, "praise").0, "ConditionFalse");
    assert_eq!(world.status.phase, RunPhase::Failed, "what failed stays failed");
    assert!(world.status.message.starts_with("step ship: "), "{}", world.status.message);
}

// Broken: a step that its `if` passes over takes everything after it along.
#[test]
fn what_a_condition_passes_over_is_no_failure() {
    let steps = [
        deploy("a", true),
        asks("context.appLabels.?tier.orValue(\"\") == \"gold\"", deploy("b", true)),
        deploy("c", true),
    ];
    let mut world = run(&steps, false, &[vec!["m1"], vec!["m2"], vec!["m3"]]);
    world.facts.context = json!({"appLabels": {"tier": "bronze"}});
    world.settle();
    world.finish("a", "m1");
    world.settle();
    world.finish("c", "m3");
    world.settle();
    assert_eq!(world.phases(), [StepPhase::Succeeded, StepPhase::Skipped, StepPhase::Succeeded]);
    assert_eq!(world.status.phase, RunPhase::Succeeded);
}

// Broken: an `if` that can't be evaluated hangs the run, or is taken for no.
#[test]
fn a_condition_that_can_not_be_evaluated_fails_the_step() {
    let mut world = run(&[asks("context.appLabels.nothing == 1", deploy("a", true))], false, &[vec!["m1"]]);
    world.facts.context = json!({"appLabels": {}});
    world.settle();
    let (reason, message) = said(&world, "a");
    assert_eq!((phase(&world, "a"), reason.as_str()), (StepPhase::Failed, "ConditionError"));
    assert!(message.contains("nothing"), "{message}");
    assert_eq!(world.status.phase, RunPhase::Failed);
}

// Broken: a step that may be tried again isn't, or for ever, or all targets of it are sent once more.
#[test]
fn a_step_is_tried_again_where_it_failed_only_and_so_often_only() {
    let mut world = run(&[retried(2, deploy("ship", true))], false, &[vec!["m1", "m2"]]);
    world.settle();
    world.finish("ship", "m1");
    fail(&mut world, "ship", "m2");
    let turned = world.turn();
    assert_eq!(said(&world, "ship").0, "Retrying");
    assert!(
        said(&world, "ship").1.starts_with(
            "try 1 of 3 failed, the next begins at 2026-11-21T12:00:10Z; last: m2/demo: Immutable happened"
        ),
        "{}",
        said(&world, "ship").1
    );
    assert_eq!(turned.wake_at, Some("2026-11-21T12:00:10Z".parse().unwrap()));
    // A crash meanwhile moves nothing.
    world.crash();
    world.pass(9);
    assert!(world.settle().commands.is_empty());
    world.pass(1);
    let turned = world.settle();
    assert_eq!(
        turned.commands,
        [Command::Deliver { step: "ship".into(), target: target("m2") }],
        "m1 has it"
    );
    fail(&mut world, "ship", "m2");
    world.turn();
    assert_eq!(
        world.status.steps[0].retry_at,
        Some("2026-11-21T12:00:30Z".parse().unwrap()),
        "the second wait is twice as long"
    );
    world.pass(20);
    world.settle();
    fail(&mut world, "ship", "m2");
    world.settle();
    assert_eq!(phase(&world, "ship"), StepPhase::Failed);
    let (reason, message) = said(&world, "ship");
    assert_eq!(reason, "FailedAfterRetries");
    assert!(message.starts_with("given up after 3 tries; last: "), "{message}");
    assert_eq!(world.status.phase, RunPhase::Failed);
}

// Broken: tries go on beyond the time that the step may take as a whole.
#[test]
fn the_timeout_is_of_all_tries_together() {
    let ship = Step { timeout: Some("25s".into()), ..retried(9, deploy("ship", true)) };
    let mut world = run(&[ship], false, &[vec!["m1"]]);
    world.settle();
    fail(&mut world, "ship", "m1");
    world.turn();
    world.pass(10);
    world.settle();
    fail(&mut world, "ship", "m1");
    world.settle();
    let (reason, message) = said(&world, "ship");
    assert_eq!((phase(&world, "ship"), reason.as_str()), (StepPhase::Failed, "Immutable"));
    assert!(message.ends_with("leaves no time for another try"), "{message}");
}

// Broken: a step runs out of time while a person holds the whole run.
#[test]
fn the_clock_of_a_step_stops_while_a_person_has_suspended_the_run() {
    let ship = Step { timeout: Some("60s".into()), ..deploy("ship", true) };
    let mut world = run(&[ship], false, &[vec!["m1"]]);
    world.settle();
    world.pass(20);
    world.facts.suspend = true;
    world.turn();
    world.pass(86_400);
    world.crash();
    world.make_plans(&[Command::Plan { step: "ship".into() }]);
    world.turn();
    assert_eq!(phase(&world, "ship"), StepPhase::Running, "nobody's time runs out overnight");
    world.facts.suspend = false;
    world.turn();
    world.pass(39);
    world.turn();
    assert_eq!(phase(&world, "ship"), StepPhase::Running, "one second is left");
    world.pass(1);
    world.turn();
    assert_eq!(said(&world, "ship").0, "Timeout");
}

// Broken: a suspend step with a timeout waits for ever.
#[test]
fn a_gate_waits_as_long_as_it_says() {
    let ask = Step { timeout: Some("60s".into()), ..step("ask", "suspend", json!({}), &[]) };
    let mut world =
        run(&[ask, asks("status.ask.timeout", deploy("late", true))], false, &[vec![], vec!["m1"]]);
    let turned = world.settle();
    assert_eq!(turned.wake_at, Some("2026-11-21T12:01:00Z".parse().unwrap()));
    world.pass(60);
    world.settle();
    assert_eq!((phase(&world, "ask"), said(&world, "ask").0.as_str()), (StepPhase::Failed, "Timeout"));
    assert_eq!(phase(&world, "late"), StepPhase::Running);
}

fn makes(output: &str, value_from: &str, step: Step) -> Step {
    Step { outputs: vec![StepOutput { name: output.into(), value_from: value_from.into() }], ..step }
}

fn takes(from: &str, key: &str, step: Step) -> Step {
    Step { inputs: vec![StepInput { from: from.into(), parameter_key: key.into() }], ..step }
}

// Broken: a value is lost on its way from step to step, or on the way through a crash.
#[test]
fn a_value_goes_from_step_to_step() {
    let steps = [
        makes("where", "output.clusters.join(\" and \")", deploy("ship", true)),
        takes("where", "message", step("ask", "suspend", json!({}), &[])),
        asks("inputs.where.contains(\"m1\")", takes("where", "", deploy("next", true))),
    ];
    let mut world = run(&steps, false, &[vec!["m1", "m2"], vec![], vec!["m3"]]);
    world.settle();
    world.finish("ship", "m1");
    world.finish("ship", "m2");
    world.settle();
    assert_eq!(world.status.steps[0].outputs["where"], json!("m1 and m2"));
    world.crash();
    world.settle();
    assert!(said(&world, "ask").1.contains("m1 and m2"), "{}", said(&world, "ask").1);
    world.approve("ask", "a");
    world.settle();
    assert_eq!(phase(&world, "next"), StepPhase::Running);
}

// Broken: who takes a value that was never made waits for ever.
#[test]
fn an_input_that_is_never_made_fails_the_step_that_takes_it() {
    let steps = [
        asks("false", makes("x", "output.total", deploy("a", true))),
        takes("x", "message", step("b", "suspend", json!({}), &[])),
    ];
    let mut world = run(&steps, false, &[vec!["m1"], vec![]]);
    world.settle();
    let (reason, message) = said(&world, "b");
    assert_eq!((phase(&world, "b"), reason.as_str()), (StepPhase::Failed, "InputMissing"));
    assert!(message.contains("takes \"x\" from step \"a\", which is skipped"), "{message}");
    // One that only asks for it may say what happens without.
    let steps = [
        asks("false", makes("x", "output.total", deploy("a", true))),
        asks("!has(inputs.x)", takes("x", "", deploy("b", true))),
    ];
    let mut world = run(&steps, false, &[vec!["m1"], vec!["m2"]]);
    world.settle();
    assert_eq!(phase(&world, "b"), StepPhase::Running);
}

// Broken: an output that can't be made passes for one that was, and its taker is told a wrong cause.
#[test]
fn an_output_that_can_not_be_made_fails_the_step_that_makes_it() {
    for (value_from, words) in [
        ("output.nothing", "nothing"),
        ("lists.range(3000).map(x, \"abcdefgh\").join(\"\")", "at most 4096 are kept"),
    ] {
        let mut world = run(&[makes("x", value_from, deploy("a", true))], false, &[vec!["m1"]]);
        world.settle();
        world.finish("a", "m1");
        world.settle();
        let (reason, message) = said(&world, "a");
        assert_eq!((phase(&world, "a"), reason.as_str()), (StepPhase::Failed, "OutputNotMade"));
        assert!(message.contains(words), "{message}");
    }
}

// Broken: a value that doesn't fit where it goes hangs the step, or is put there all the same.
#[test]
fn a_value_that_does_not_fit_fails_the_step() {
    let steps = [
        makes("x", "output.total", deploy("a", true)),
        takes("x", "duration", step("b", "suspend", json!({}), &[])),
    ];
    let mut world = run(&steps, false, &[vec!["m1"], vec![]]);
    world.settle();
    world.finish("a", "m1");
    world.settle();
    let (reason, message) = said(&world, "b");
    assert_eq!((phase(&world, "b"), reason.as_str()), (StepPhase::Failed, "InputMisfit"));
    assert!(message.contains("duration"), "{message}");
}

// Broken: what is independent waits for its neighbours, as in engines whose DAG is a list.
#[test]
fn steps_that_do_not_wait_for_each_other_act_at_once() {
    let steps = [deploy("a", true), deploy("b", true), step("c", "deploy", json!({}), &["a", "b"])];
    let mut world = run(&steps, true, &[vec!["m1"], vec!["m2"], vec!["m3"]]);
    let turned = world.settle();
    let sent = |step: &str, cluster: &str| Command::Deliver { step: step.into(), target: target(cluster) };
    assert_eq!(turned.commands, [sent("a", "m1"), sent("b", "m2")]);
    world.finish("b", "m2");
    assert!(world.settle().commands.iter().all(|command| *command == sent("a", "m1")));
    assert!(world.status.message.starts_with("step a: "), "{}", world.status.message);
    world.finish("a", "m1");
    assert_eq!(world.settle().commands, [sent("c", "m3")]);
}

// Broken: a group ends before its steps, or what comes after it begins before.
#[test]
fn a_group_is_where_its_steps_are() {
    let inner = [deploy("a", true), deploy("b", false), step("c", "deploy", json!({}), &["a"])];
    let steps = [deploy("first", true), group("g", &inner), deploy("last", true)];
    let targets = [vec!["m1"], vec![], vec!["m1"], vec!["m2"], vec!["m3"], vec!["m1"]];
    let mut world = run(&steps, false, &targets);
    world.settle();
    use StepPhase::{Pending, Running, Succeeded, Suspending};
    assert_eq!(world.phases(), [Running, Pending, Pending, Pending, Pending, Pending]);
    world.finish("first", "m1");
    world.settle();
    assert_eq!(world.phases(), [Succeeded, Running, Running, Suspending, Pending, Pending]);
    assert!(said(&world, "g").1.starts_with("0 of 3 steps over; step "), "{}", said(&world, "g").1);
    world.finish("a", "m1");
    world.settle();
    world.finish("c", "m3");
    world.settle();
    assert_eq!(world.phases(), [Succeeded, Running, Succeeded, Suspending, Succeeded, Pending]);
    assert_eq!(world.status.phase, RunPhase::Suspending, "only the gate is left");
    world.approve("b", "a");
    world.settle();
    world.finish("b", "m2");
    world.settle();
    assert_eq!(world.phases(), [Succeeded, Succeeded, Succeeded, Succeeded, Succeeded, Running]);
}

#[test]
fn a_group_fails_with_its_steps_and_is_passed_over_whole() {
    let steps = [group("g", &[deploy("a", true), deploy("b", true)]), deploy("last", true)];
    let mut world = run(&steps, false, &[vec![], vec!["m1"], vec!["m2"], vec!["m3"]]);
    world.settle();
    fail(&mut world, "a", "m1");
    world.settle();
    assert_eq!(phase(&world, "g"), StepPhase::Running, "the other one goes on");
    world.finish("b", "m2");
    world.settle();
    use StepPhase::{Failed, Skipped, Succeeded};
    assert_eq!(world.phases(), [Failed, Failed, Succeeded, Skipped]);
    assert!(world.status.message.starts_with("step a: "), "{}", world.status.message);

    let steps = [asks("false", group("g", &[deploy("a", true)])), deploy("last", true)];
    let mut world = run(&steps, false, &[vec![], vec!["m1"], vec!["m2"]]);
    world.settle();
    assert_eq!(world.phases(), [Skipped, Skipped, StepPhase::Running], "nothing failed");
}

// Broken: the time of a group is that of its last step alone.
#[test]
fn the_time_of_a_group_bounds_its_steps() {
    let inner =
        [deploy("a", true), step("b", "suspend", json!({}), &[]), step("c", "deploy", json!({}), &["a"])];
    let steps = [Step { timeout: Some("60s".into()), ..group("g", &inner) }];
    let mut world = run(&steps, false, &[vec![], vec!["m1"], vec![], vec!["m1"]]);
    assert_eq!(world.settle().wake_at, Some("2026-11-21T12:01:00Z".parse().unwrap()));
    world.pass(60);
    world.settle();
    use StepPhase::{Failed, Skipped};
    assert_eq!(world.phases(), [Failed, Failed, Failed, Skipped]);
    assert_eq!(world.state("a", "m1").phase, TargetPhase::Failed);
    assert_eq!(said(&world, "g").0, "Timeout");
}

// Broken: a run that a person ends goes on with its clean-up, or tries once more.
#[test]
fn what_a_person_ends_is_over() {
    let steps = [retried(5, deploy("a", true)), asks("always", deploy("clean", true))];
    let mut world = run(&steps, false, &[vec!["m1"], vec!["m2"]]);
    world.settle();
    fail(&mut world, "a", "m1");
    world.turn();
    world.facts.terminate = true;
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Terminated);
    assert_eq!(world.phases(), [StepPhase::Failed, StepPhase::Skipped]);
}
