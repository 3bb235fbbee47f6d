//! One behaviour at a time.

use fleet_api::{RunPhase, StepPhase, TargetPhase};
use fleet_workflow::{Command, Delivery, Graph, Prune};
use serde_json::json;

use crate::world::{World, deploy, problem, read_again, step, target};

fn run(steps: &[fleet_api::Step], targets: &[Vec<&str>]) -> World {
    World::new(Graph::read(steps, false).unwrap(), targets)
}

fn refused(retry: bool) -> Delivery {
    Delivery::Refused { problem: problem("Refused"), retry }
}

#[test]
fn the_first_step_goes_and_the_second_asks() {
    let mut world = run(&[deploy("first", true), deploy("second", false)], &[vec!["mc-bj1"], vec!["mc-bj2"]]);
    assert_eq!(world.turn().commands, [Command::Plan { step: "first".into() }]);
    let turned = world.settle();
    assert_eq!(turned.commands, [Command::Deliver { step: "first".into(), target: target("mc-bj1") }]);
    world.finish("first", "mc-bj1");
    let turned = world.settle();
    assert!(turned.commands.is_empty(), "{:?}", turned.commands);
    assert_eq!(
        (world.status.phase, world.status.reason.as_str()),
        (RunPhase::Suspending, "WaitingForApproval")
    );
    assert_eq!(
        world.status.message,
        "step second waits for approval: 3 to create on mc-bj2/demo; look with: fleetctl plan web-demo -n demo, \
         go on with: fleetctl workflow resume web-demo -n demo"
    );
    world.approve("second", "a");
    assert_eq!(world.turn().commands, [Command::Deliver { step: "second".into(), target: target("mc-bj2") }]);
    world.finish("second", "mc-bj2");
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Succeeded);
    let gate = world.status.steps[1].gate.clone().unwrap();
    assert_eq!(gate.approval.unwrap().approver, "ada");
}

// Broken: someone approves what they saw, and something else is carried out.
#[test]
fn a_plan_that_changed_asks_again_and_says_so() {
    let mut world = run(&[deploy("ship", false)], &[vec!["mc-bj1"]]);
    world.settle();
    world.replan("ship", "b");
    world.approve("ship", "a");
    world.turn();
    assert_eq!(world.phases(), [StepPhase::Suspending]);
    let gate = world.status.steps[0].gate.clone().unwrap();
    assert_eq!(gate.refused[0].message, "it approves plan a, but the plan is now b");
}

// Broken: the eleventh refusal pushes out the first, which comes back at the next turn, and so on for ever.
#[test]
fn more_refusals_than_are_kept_settle() {
    let mut world = run(&[deploy("ship", false)], &[vec!["mc-bj1"]]);
    world.settle();
    for number in 0..13 {
        world.approve("ship", &format!("old-{number}"));
    }
    let first = world.turn().status;
    assert_eq!(world.turn().status, first);
    let names: Vec<&str> =
        first.steps[0].gate.as_ref().unwrap().refused.iter().map(|r| r.approval.as_str()).collect();
    assert_eq!((names.len(), names[0], names[9]), (10, "approval-4", "approval-13"));
}

#[test]
fn a_gate_opened_by_hand_is_unidentified() {
    let mut world = run(&[deploy("ship", false)], &[vec!["mc-bj1"]]);
    world.settle();
    world.facts.cleared_by_hand = Some("ship".into());
    world.turn();
    let record = world.status.steps[0].gate.clone().unwrap().approval.unwrap();
    assert_eq!((record.approver.as_str(), record.proven), ("unidentified", false));
}

// Broken: a cluster that is taken out of the topology first gets what is meant for the others.
#[test]
fn what_is_no_longer_reached_gets_nothing_and_goes_last() {
    let mut world = run(&[deploy("ship", false)], &[vec!["mc-bj1", "mc-hz1"]]);
    world.status.steps[0].targets[1].cleared = true;
    world.settle();
    world.approve("ship", "a");
    // Nothing is known of either yet: the step begins in this very turn.
    let turned = world.settle();
    assert_eq!(turned.commands, [Command::Deliver { step: "ship".into(), target: target("mc-bj1") }]);
    assert_eq!(world.state("ship", "mc-hz1").reason, "WaitingForOthers");
    world.finish("ship", "mc-bj1");
    world.fact("ship", &target("mc-hz1")).done = true;
    world.fact("ship", &target("mc-hz1")).prune = Prune::Idle;
    let turned = world.turn();
    assert_eq!(turned.commands, [Command::Prune { step: "ship".into(), target: target("mc-hz1") }]);
}

#[test]
fn a_suspend_step_opens_when_its_time_is_up() {
    let steps =
        [step("wait", "suspend", json!({ "duration": "45s", "message": "look" }), &[]), deploy("ship", true)];
    let mut world = run(&steps, &[vec![], vec!["mc-bj1"]]);
    let turned = world.settle();
    assert_eq!(turned.wake_at.unwrap().to_string(), "2026-11-21T12:00:45Z");
    assert!(
        world.status.message.contains("(goes on by itself at 2026-11-21T12:00:45Z): look;"),
        "{}",
        world.status.message
    );
    world.pass(44);
    assert_eq!(world.settle().status.phase, RunPhase::Suspending);
    world.pass(1);
    world.settle();
    assert_eq!(world.phases(), [StepPhase::Succeeded, StepPhase::Running]);
}

// Broken: tries start over with every restart, and a member that always refuses is asked for ever.
#[test]
fn tries_are_counted_across_crashes_and_end() {
    let mut world = run(&[deploy("ship", true)], &[vec!["mc-bj1"]]);
    world.settle();
    let mut waits = Vec::new();
    for attempt in 1..=7 {
        world.deliver("ship", "mc-bj1", refused(true));
        let turned = world.turn();
        let state = world.state("ship", "mc-bj1").clone();
        assert_eq!((state.phase, state.attempts), (TargetPhase::Pending, attempt));
        waits.push(state.retry_at.unwrap().duration_since(world.now).as_secs());
        assert!(turned.commands.is_empty());
        world.crash();
        assert!(world.turn().commands.is_empty(), "tried before its time");
        world.now = state.retry_at.unwrap();
        assert_eq!(world.turn().commands.len(), 1);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60]);
    world.deliver("ship", "mc-bj1", refused(true));
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Failed);
    assert_eq!(
        world.status.message,
        "step ship: mc-bj1/demo: given up after 8 tries; last: Refused happened; mend the cause, then: \
         fleetctl workflow restart web-demo -n demo; or there alone: fleetctl workflow retry web-demo -n demo --target mc-bj1"
    );
}

// Broken: whoever takes over from a replica whose clock was ahead waits until its own clock is there.
#[test]
fn a_try_that_was_noted_by_a_clock_ahead_is_made_at_once() {
    let mut world = run(&[deploy("ship", true)], &[vec!["mc-bj1"]]);
    world.settle();
    world.deliver("ship", "mc-bj1", refused(true));
    world.turn();
    let at = world.state("ship", "mc-bj1").retry_at.unwrap();
    world.crash();
    world.now = at - jiff::SignedDuration::from_secs(300);
    assert_eq!(world.turn().commands, [Command::Deliver { step: "ship".into(), target: target("mc-bj1") }]);
}

// Broken: one member's refusal stops the others of the same step.
#[test]
fn a_refusal_fails_its_target_and_the_others_go_on() {
    let mut world =
        run(&[deploy("ship", true), deploy("next", true)], &[vec!["mc-bj1", "mc-bj2"], vec!["mc-hz1"]]);
    world.settle();
    world.deliver("ship", "mc-bj1", refused(false));
    world.deliver("ship", "mc-bj2", Delivery::Running);
    world.turn();
    assert_eq!(world.state("ship", "mc-bj1").phase, TargetPhase::Failed);
    assert_eq!(world.phases(), [StepPhase::Running, StepPhase::Pending]);
    world.finish("ship", "mc-bj2");
    world.turn();
    assert_eq!(world.phases(), [StepPhase::Failed, StepPhase::Skipped]);
    assert_eq!(world.status.steps[1].reason, "DependencyFailed");
    assert_eq!((world.status.phase, world.status.reason.as_str()), (RunPhase::Failed, "Refused"));
}

#[test]
fn a_member_that_does_not_answer_is_waited_for_until_the_deadline() {
    let mut world = run(&[deploy("ship", true)], &[vec!["mc-bj1"]]);
    world.settle();
    world.deliver("ship", "mc-bj1", Delivery::Unreachable(problem("Unreachable")));
    let turned = world.turn();
    assert_eq!(world.status.phase, RunPhase::Executing);
    assert_eq!(world.status.message, "step ship: 0 of 1 targets done; mc-bj1/demo: Unreachable happened");
    world.now = turned.wake_at.unwrap();
    world.turn();
    assert_eq!(world.state("ship", "mc-bj1").reason, "Timeout");
    assert_eq!(
        world.state("ship", "mc-bj1").message,
        "not done within the step's timeout of 30m; last: Unreachable happened"
    );
}

// Broken: a controller that was down while the members got ready fails the run when it comes back.
#[test]
fn what_was_done_while_nobody_looked_is_done() {
    let mut world = run(&[deploy("ship", true)], &[vec!["mc-bj1"]]);
    world.settle();
    world.finish("ship", "mc-bj1");
    world.pass(40 * 60);
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Succeeded, "{}", world.status.message);
}

// Broken: a step whose time is up sends once more.
#[test]
fn nothing_is_sent_after_the_deadline() {
    let mut world = run(&[deploy("ship", true)], &[vec!["mc-bj1", "mc-bj2"]]);
    world.settle();
    world.deliver("ship", "mc-bj1", refused(true));
    world.turn();
    world.pass(40 * 60);
    assert!(world.turn().commands.is_empty());
    assert_eq!(world.status.phase, RunPhase::Failed);
}

// Broken: steps of a DAG that stand before what they wait for begin only when something else happens.
#[test]
fn a_dag_may_be_written_in_any_order() {
    let steps = [
        step("last", "deploy", json!({}), &["first"]),
        step("first", "suspend", json!({ "duration": "0" }), &[]),
    ];
    let mut world = World::new(Graph::read(&steps, true).unwrap(), &[vec!["mc-bj1"], vec![]]);
    world.settle();
    assert_eq!(world.phases(), [StepPhase::Running, StepPhase::Succeeded]);
}

// Broken: a person suspends, the step's next targets wait for ever and nobody says why.
#[test]
fn suspended_within_a_step_names_the_way_on() {
    let mut world = run(&[deploy("ship", true)], &[vec!["mc-bj1"]]);
    world.settle();
    world.deliver("ship", "mc-bj1", Delivery::Running);
    world.facts.suspend = true;
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Executing);
    assert!(
        world
            .status
            .message
            .ends_with("nothing further begins until: fleetctl workflow resume web-demo -n demo")
    );
    world.deliver("ship", "mc-bj1", refused(true));
    world.turn();
    assert_eq!((world.status.phase, world.status.reason.as_str()), (RunPhase::Suspending, "SuspendedByUser"));
    world.pass(5);
    assert!(world.turn().commands.is_empty());
    world.facts.suspend = false;
    assert_eq!(world.turn().commands.len(), 1);
}

#[test]
fn a_run_that_is_ended_waits_for_requests_under_way() {
    for superseded in [false, true] {
        let mut world = run(&[deploy("ship", true), deploy("next", true)], &[vec!["mc-bj1"], vec!["mc-bj2"]]);
        world.settle();
        world.deliver("ship", "mc-bj1", Delivery::Running);
        (world.facts.superseded, world.facts.terminate) = (superseded, !superseded);
        world.turn();
        assert_eq!(world.status.phase, RunPhase::Executing);
        world.deliver("ship", "mc-bj1", Delivery::Applied);
        world.turn();
        let (phase, acted) = if superseded {
            (RunPhase::Superseded, StepPhase::Skipped)
        } else {
            (RunPhase::Terminated, StepPhase::Failed)
        };
        assert_eq!((world.status.phase, world.phases()), (phase, vec![acted, StepPhase::Skipped]));
    }
}

// Broken: a newer run begins while the older one's deletes are still on their way.
#[test]
fn deletes_under_way_hold_the_end_back() {
    let mut world = run(&[deploy("ship", true)], &[vec!["mc-bj1"]]);
    world.settle();
    world.finish("ship", "mc-bj1");
    world.fact("ship", &target("mc-bj1")).prune = Prune::Idle;
    assert_eq!(world.turn().commands, [Command::Prune { step: "ship".into(), target: target("mc-bj1") }]);
    world.fact("ship", &target("mc-bj1")).prune = Prune::Running;
    world.facts.superseded = true;
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Executing);
    world.fact("ship", &target("mc-bj1")).prune = Prune::Done;
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Succeeded, "everything was done when the newer one came");
}

#[test]
fn a_cluster_that_leaves_is_no_failure() {
    let mut world = run(&[deploy("ship", true)], &[vec!["mc-bj1", "mc-bj2"]]);
    world.settle();
    world.facts.removed.insert("mc-bj1".into());
    world.finish("ship", "mc-bj2");
    world.turn();
    assert_eq!(world.state("ship", "mc-bj1").phase, TargetPhase::Removed);
    assert_eq!(world.status.phase, RunPhase::Succeeded);
}

#[test]
fn a_plan_that_can_not_be_made_fails_its_step() {
    let mut world = run(&[deploy("ship", false)], &[vec!["mc-bj1"]]);
    world.facts.plans.insert("ship".into(), Err(problem("UnknownCluster")));
    world.turn();
    assert_eq!((world.status.phase, world.status.reason.as_str()), (RunPhase::Failed, "UnknownCluster"));
}

// Broken: a Run that was created but not filled before a crash counts as done, and nothing was delivered.
#[test]
fn a_record_without_steps_is_no_success() {
    let mut world = run(&[deploy("ship", true)], &[vec!["mc-bj1"]]);
    world.status.steps.clear();
    let turned = world.turn();
    assert_eq!((turned.status.phase, turned.status.reason.as_str()), (RunPhase::Failed, "RunNotRecorded"));
}

#[test]
fn a_step_that_asks_for_a_joiner_is_gated() {
    let mut world = run(&[deploy("ship", true)], &[vec!["mc-bj1"]]);
    world.status.steps[0].ask = true;
    world.settle();
    assert_eq!(world.phases(), [StepPhase::Suspending]);
}

// Broken: while requests hold the end of a run back, a gate whose time came asks for a turn at once, for ever.
#[test]
fn a_gate_that_may_not_open_any_more_wakes_nobody() {
    let steps = [step("wait", "suspend", json!({ "duration": "45s" }), &[]), deploy("ship", true)];
    let mut world = World::new(Graph::read(&steps, true).unwrap(), &[vec![], vec!["mc-bj1"]]);
    world.settle();
    world.deliver("ship", "mc-bj1", Delivery::Running);
    world.facts.terminate = true;
    world.pass(45);
    let turned = world.turn();
    assert!(turned.wake_at.unwrap() > world.now, "{:?}", turned.wake_at);
}

// Broken: what an operator cordoned is delivered to, or fails its step, or gets no time of its own afterwards.
#[test]
fn a_held_target_waits_without_a_clock_and_goes_on_at_once() {
    let mut world = run(&[deploy("ship", true)], &[vec!["mc-bj1", "mc-bj2"]]);
    world.hold("mc-bj1");
    let turned = world.settle();
    assert_eq!(turned.commands, [Command::Deliver { step: "ship".into(), target: target("mc-bj2") }]);
    world.finish("ship", "mc-bj2");
    world.turn();
    let held = world.state("ship", "mc-bj1").clone();
    assert_eq!((held.phase, held.reason.as_str()), (TargetPhase::Pending, "Cordoned"));
    assert_eq!(held.held_since, Some(world.now));
    assert!(world.status.message.contains("mc-bj1/demo: Cordoned happened"), "{}", world.status.message);
    world.pass(1_000_000);
    assert!(world.turn().commands.is_empty());
    assert_eq!(world.phases(), [StepPhase::Running], "{}", world.status.message);
    world.let_go("mc-bj1");
    let turned = world.turn();
    assert_eq!(turned.commands, [Command::Deliver { step: "ship".into(), target: target("mc-bj1") }]);
    assert!(turned.wake_at.is_some_and(|at| at > world.now), "{:?}", turned.wake_at);
    world.finish("ship", "mc-bj1");
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Succeeded);
}

// Broken: a cordon in the middle of a delivery is ignored, or what arrived before it is forgotten.
#[test]
fn a_hold_in_the_middle_of_a_delivery_lets_requests_end() {
    let mut world = run(&[deploy("ship", true)], &[vec!["mc-bj1", "mc-bj2"]]);
    world.settle();
    world.deliver("ship", "mc-bj1", Delivery::Running);
    world.deliver("ship", "mc-bj2", Delivery::Running);
    world.hold("mc-bj1");
    world.hold("mc-bj2");
    world.turn();
    assert_eq!(world.state("ship", "mc-bj1").phase, TargetPhase::Delivering);
    // One job saw the hold and stopped, the other had sent everything.
    world.deliver("ship", "mc-bj1", Delivery::Idle);
    world.deliver("ship", "mc-bj2", Delivery::Applied);
    assert!(world.turn().commands.is_empty());
    assert_eq!(world.state("ship", "mc-bj1").phase, TargetPhase::Pending);
    assert_eq!(world.state("ship", "mc-bj2").phase, TargetPhase::Waiting);
    world.finish("ship", "mc-bj2");
    world.fact("ship", &target("mc-bj2")).prune = Prune::Idle;
    assert!(world.turn().commands.is_empty(), "what the revision no longer has stays too");
    world.let_go("mc-bj2");
    assert_eq!(world.turn().commands, [Command::Prune { step: "ship".into(), target: target("mc-bj2") }]);
}

// Broken: who stopped a run, let it go on or ended it isn't known afterwards.
#[test]
fn who_stops_and_ends_a_run_is_noted_once() {
    use fleet_api::Deed::{Resumed, Suspended, Terminated};
    let mut world = World::new(Graph::read(&[deploy("ship", false)], false).unwrap(), &[vec!["m1"]]);
    world.settle();
    (world.facts.suspend, world.facts.suspended_by) = (true, "ann".to_owned());
    world.turn();
    world.status = read_again(&world.status);
    world.turn();
    (world.facts.suspend, world.facts.suspended_by) = (false, "ben".to_owned());
    world.turn();
    world.turn();
    (world.facts.terminate, world.facts.terminated_by) = (true, String::new());
    world.turn();
    let noted: Vec<_> = world.status.interventions.iter().map(|one| (one.deed, one.by.as_str())).collect();
    assert_eq!(noted, [(Suspended, "ann"), (Resumed, "ben"), (Terminated, "")]);
}
