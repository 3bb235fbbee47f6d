//! How a step goes over its targets, one behaviour at a time.

use fleet_api::{RunPhase, RunStatus, StepPhase, TargetAction, TargetPhase, TargetRequest};
use fleet_workflow::{Command, Delivery, Graph, Prune, Sight};
use serde_json::{Value, json};

use crate::world::{World, problem, step, target};

fn world(properties: Value, clusters: &[&str]) -> World {
    let steps = [step("ship", "deploy", properties, &[])];
    let mut world = World::new(Graph::read(&steps, false).unwrap(), &[clusters.to_vec()]);
    see(&mut world, clusters, Sight::Seen);
    world
}

fn see(world: &mut World, clusters: &[&str], sight: Sight) {
    for cluster in clusters {
        for step in world.status.steps.iter().map(|step| step.name.clone()).collect::<Vec<_>>() {
            world.fact(&step, &target(cluster)).sight = sight;
        }
    }
}

fn sent(commands: &[Command]) -> Vec<&str> {
    commands
        .iter()
        .filter_map(|command| match command {
            Command::Deliver { target, .. } => Some(target.cluster.as_str()),
            _ => None,
        })
        .collect()
}

fn phases(world: &World) -> Vec<TargetPhase> {
    world.status.steps.iter().flat_map(|step| step.targets.iter().map(|state| state.phase)).collect()
}

fn ask(world: &mut World, action: TargetAction, cluster: &str, id: &str) {
    world.facts.requests.push(TargetRequest {
        id: id.to_owned(),
        run: "web-1".to_owned(),
        action,
        cluster: cluster.to_owned(),
        step: None,
        by: "ada".to_owned(),
        reason: "rack is being moved".to_owned(),
    });
}

fn fail(world: &mut World, cluster: &str) {
    world.deliver("ship", cluster, Delivery::Refused { problem: problem("Invalid"), retry: false });
}

#[test]
fn so_many_at_once_and_the_next_when_one_is_done() {
    let mut world = world(json!({"maxParallelTargets": "50%"}), &["m1", "m2", "m3", "m4", "m5"]);
    let turned = world.settle();
    assert_eq!(sent(&turned.commands), ["m1", "m2"], "half of five, rounded down");
    let waiting = world.state("ship", "m3");
    assert_eq!(
        (waiting.reason.as_str(), waiting.message.as_str()),
        ("WaitingForTurn", "waits for its turn: 3 of 5, at most 2 at once")
    );
    let said = &world.status.steps[0].message;
    assert!(said.contains("0 of 5 targets done, 3 wait for their turn"), "{said}");
    world.finish("ship", "m2");
    world.deliver("ship", "m1", Delivery::Running);
    assert_eq!(sent(&world.turn().commands), ["m3"]);
}

// Broken: a first wave of 1% of 20 clusters is none, and the step hangs.
#[test]
fn a_share_is_never_less_than_one() {
    let mut world = world(json!({"maxParallelTargets": "1%"}), &["m1", "m2"]);
    assert_eq!(sent(&world.settle().commands), ["m1"]);
}

#[test]
fn the_canary_group_is_well_before_anybody_else_begins() {
    let written = json!({"canary": {"clusters": ["m1"], "soak": "60s"}});
    let mut world = world(written, &["m1", "m2", "m3"]);
    world.status.steps[0].targets[0].canary = true;
    assert_eq!(sent(&world.settle().commands), ["m1"]);
    world.finish("ship", "m1");
    let turned = world.turn();
    assert_eq!(turned.wake_at.unwrap().to_string(), "2026-11-21T12:01:00Z");
    let soaking = world.state("ship", "m1").clone();
    assert_eq!((soaking.phase, soaking.reason.as_str()), (TargetPhase::Waiting, "Soaking"));
    assert!(soaking.message.contains("until 2026-11-21T12:01:00Z"), "{}", soaking.message);
    assert_eq!(world.state("ship", "m2").reason, "WaitingForCanary");
    world.pass(60);
    assert_eq!(sent(&world.turn().commands), ["m2", "m3"], "the others don't soak, and go together");
}

// Broken: an unproven revision goes everywhere because the canary cluster was down.
#[test]
fn a_canary_group_that_was_only_passed_over_proves_nothing() {
    let written = json!({"canary": {"clusters": ["m1"]}, "onUnreachable": "Skip", "unreachableAfter": "10s"});
    let mut world = world(written, &["m1", "m2"]);
    world.status.steps[0].targets[0].canary = true;
    see(&mut world, &["m1"], Sight::Silent);
    world.settle();
    world.pass(10);
    let turned = world.turn();
    assert!(turned.commands.is_empty());
    assert_eq!(phases(&world), [TargetPhase::Skipped, TargetPhase::Pending]);
    let said = &world.status.message;
    assert!(said.contains("none of the canary group") && said.contains("fleetctl workflow skip"), "{said}");
    assert!(turned.wake_at.is_some(), "and it isn't for ever");
    ask(&mut world, TargetAction::Skip, "m1", "1");
    assert_eq!(sent(&world.turn().commands), ["m2"], "a person said to go on without");
}

#[test]
fn a_failed_canary_stops_even_where_failures_are_tolerated() {
    let written = json!({"canary": {"clusters": ["m1"]}, "maxFailures": 2, "onFailure": "Continue"});
    let mut world = world(written, &["m1", "m2"]);
    world.status.steps[0].targets[0].canary = true;
    world.settle();
    fail(&mut world, "m1");
    assert!(world.turn().commands.is_empty());
    assert_eq!(world.status.phase, RunPhase::Failed);
    assert_eq!(phases(&world), [TargetPhase::Failed, TargetPhase::Pending]);
    assert!(world.status.message.contains("1 target not begun"), "{}", world.status.message);
}

// Broken: one cluster refuses, and the fleet gets it all the same; or what is under way is abandoned.
#[test]
fn too_many_failures_begin_nothing_further_and_end_what_is_under_way() {
    let mut world = world(json!({"maxParallelTargets": 2}), &["m1", "m2", "m3", "m4"]);
    world.settle();
    fail(&mut world, "m1");
    world.deliver("ship", "m2", Delivery::Running);
    assert!(world.turn().commands.is_empty());
    assert_eq!(world.status.phase, RunPhase::Executing, "m2 is under way");
    assert_eq!(world.state("ship", "m3").reason, "NotBegun");
    world.finish("ship", "m2");
    world.turn();
    assert_eq!((world.status.phase, world.status.reason.as_str()), (RunPhase::Failed, "Invalid"));
    let said = &world.status.message;
    assert!(said.contains("m1/demo: Invalid happened; 2 targets not begun"), "{said}");
    assert!(said.contains("fleetctl workflow retry web-demo -n demo --target m1"), "{said}");
}

#[test]
fn as_many_may_fail_as_is_said() {
    let mut world = world(json!({"maxParallelTargets": 1, "maxFailures": "34%"}), &["m1", "m2", "m3"]);
    world.settle();
    fail(&mut world, "m1");
    assert_eq!(sent(&world.turn().commands), ["m2"]);
    world.finish("ship", "m2");
    world.turn();
    world.finish("ship", "m3");
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Succeeded);
    let step = &world.status.steps[0];
    assert_eq!(step.reason, "WithinMaxFailures");
    assert!(step.message.contains("1 of 3 targets failed, as many may"), "{}", step.message);
}

#[test]
fn continue_gives_everybody_a_turn_and_fails_then() {
    let mut world = world(json!({"maxParallelTargets": 1, "onFailure": "Continue"}), &["m1", "m2"]);
    world.settle();
    fail(&mut world, "m1");
    assert_eq!(sent(&world.turn().commands), ["m2"]);
    world.finish("ship", "m2");
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Failed);
}

// Broken: a target that flaps passes for one that was healthy for ten minutes.
#[test]
fn soaking_starts_over_when_something_is_unwell() {
    let mut world = world(json!({"soak": "10m"}), &["m1"]);
    world.settle();
    world.finish("ship", "m1");
    world.turn();
    world.pass(599);
    world.fact("ship", &target("m1")).done = false;
    world.fact("ship", &target("m1")).waiting_for = Some(problem("Degraded"));
    world.turn();
    assert_eq!(
        (world.state("ship", "m1").soak_until, world.state("ship", "m1").reason.as_str()),
        (None, "Degraded")
    );
    world.finish("ship", "m1");
    world.turn();
    world.pass(300);
    world.crash();
    world.finish("ship", "m1");
    assert_eq!(
        world.turn().wake_at.unwrap().to_string(),
        "2026-11-21T12:19:59Z",
        "a restart starts nothing over"
    );
    world.pass(299);
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Executing);
    world.pass(1);
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Succeeded);
}

// Broken: a cluster that nobody saw for an hour has soaked for an hour.
#[test]
fn what_isnt_seen_doesnt_soak() {
    let mut world = world(json!({"soak": "60s"}), &["m1"]);
    world.settle();
    world.finish("ship", "m1");
    world.turn();
    world.pass(30);
    world.fact("ship", &target("m1")).done = false;
    see(&mut world, &["m1"], Sight::Silent);
    world.turn();
    world.pass(600);
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Executing);
    see(&mut world, &["m1"], Sight::Seen);
    world.finish("ship", "m1");
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Executing, "30 s are left");
    world.pass(30);
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Succeeded);
}

// Broken: a step whose targets soak for an hour each runs out of its default half hour.
#[test]
fn without_a_timeout_of_its_own_a_step_has_time_for_all_its_waves() {
    let mut world = world(json!({"maxParallelTargets": 1, "soak": "1h"}), &["m1", "m2", "m3"]);
    for cluster in ["m1", "m2", "m3"] {
        world.settle();
        world.finish("ship", cluster);
        world.turn();
        world.pass(3600);
    }
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Succeeded, "{}", world.status.message);
}

// Broken: a target that never becomes healthy keeps its place until the last wave's time is up.
#[test]
fn each_target_has_a_time_of_its_own() {
    let mut world =
        world(json!({"maxParallelTargets": 1, "targetTimeout": "5m", "maxFailures": 1}), &["m1", "m2"]);
    let turned = world.settle();
    assert_eq!(turned.wake_at.unwrap().to_string(), "2026-11-21T12:05:00Z");
    world.deliver("ship", "m1", Delivery::Applied);
    world.turn();
    world.pass(300);
    assert_eq!(sent(&world.turn().commands), ["m2"]);
    let state = world.state("ship", "m1");
    assert_eq!((state.phase, state.reason.as_str()), (TargetPhase::Failed, "Timeout"));
    assert!(state.message.contains("not done within 5m of its turn"), "{}", state.message);
}

// Broken: a step whose target had its whole time has it again, and again.
#[test]
fn what_ran_out_of_time_is_not_tried_again() {
    let mut ship = step("ship", "deploy", json!({"targetTimeout": "5m", "maxParallelTargets": 1}), &[]);
    ship.retry = Some(fleet_api::StepRetry { limit: 3, interval: Some("10s".into()), factor: None });
    let mut world = World::new(Graph::read(&[ship], false).unwrap(), &[vec!["m1", "m2"]]);
    see(&mut world, &["m1", "m2"], Sight::Seen);
    world.settle();
    world.deliver("ship", "m1", Delivery::Applied);
    world.turn();
    world.pass(300);
    world.turn();
    assert_eq!((world.status.phase, world.status.reason.as_str()), (RunPhase::Failed, "Timeout"));
}

#[test]
fn a_silent_cluster_is_passed_over_and_catches_up() {
    let mut world = world(json!({"onUnreachable": "Skip", "unreachableAfter": "2m"}), &["m1", "m2"]);
    see(&mut world, &["m2"], Sight::Silent);
    let turned = world.settle();
    assert_eq!(sent(&turned.commands), ["m1"], "nothing is sent to who doesn't answer");
    assert_eq!(turned.wake_at.unwrap().to_string(), "2026-11-21T12:02:00Z");
    world.finish("ship", "m1");
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Executing);
    world.pass(120);
    world.turn();
    assert_eq!(phases(&world), [TargetPhase::Succeeded, TargetPhase::Skipped]);
    assert_eq!(world.status.steps[0].phase, StepPhase::Succeeded);
    assert_eq!((world.status.phase, world.status.reason.as_str()), (RunPhase::Executing, "CatchUpPending"));
    let said = &world.status.message;
    assert!(
        said.contains("m2/demo") && said.contains("fleetctl workflow retry web-demo -n demo --target m2"),
        "{said}"
    );
    world.crash();
    see(&mut world, &["m2"], Sight::Seen);
    assert_eq!(sent(&world.settle().commands), ["m2"]);
    assert_eq!(world.status.reason, "CatchingUp");
    // What goes on the record of the step's end is what was true then.
    let left: Vec<_> = world.status.steps[0].targets.iter().map(|state| state.left_as).collect();
    assert_eq!(left, [None, Some(TargetPhase::Skipped)]);
    world.finish("ship", "m2");
    world.turn();
    assert_eq!((world.status.phase, world.status.steps[0].message.as_str()), (RunPhase::Succeeded, ""));
}

// Broken: a run whose last target failed while it caught up has succeeded.
#[test]
fn what_fails_while_it_catches_up_has_failed() {
    let mut world = world(json!({"onUnreachable": "Skip", "unreachableAfter": "1s"}), &["m1", "m2"]);
    see(&mut world, &["m2"], Sight::Silent);
    world.settle();
    world.finish("ship", "m1");
    world.turn();
    world.pass(1);
    world.turn();
    assert_eq!(world.status.reason, "CatchUpPending");
    see(&mut world, &["m2"], Sight::Seen);
    world.settle();
    fail(&mut world, "m2");
    world.turn();
    assert_eq!((world.status.phase, world.status.reason.as_str()), (RunPhase::Failed, "Invalid"));
    let said = &world.status.message;
    assert!(said.contains("fleetctl workflow retry web-demo -n demo --target m2"), "{said}");
}

// Broken: what is pending catch-up blocks the revision that would mend it.
#[test]
fn a_newer_revision_takes_over_at_once() {
    let mut world = world(json!({"onUnreachable": "Skip", "unreachableAfter": "1s"}), &["m1"]);
    see(&mut world, &["m1"], Sight::Silent);
    world.settle();
    world.pass(1);
    world.turn();
    assert_eq!(world.status.reason, "CatchUpPending");
    world.facts.superseded = true;
    see(&mut world, &["m1"], Sight::Seen);
    assert!(world.turn().commands.is_empty(), "what is superseded is delivered no more");
    assert_eq!(world.status.phase, RunPhase::Superseded);
}

#[test]
fn what_is_held_back_waits_for_a_person() {
    let written = json!({"onUnreachable": "Skip", "unreachableAfter": "1s", "onReturn": "Hold"});
    let mut world = world(written, &["m1"]);
    see(&mut world, &["m1"], Sight::Silent);
    world.settle();
    world.pass(1);
    world.turn();
    see(&mut world, &["m1"], Sight::Seen);
    assert!(world.turn().commands.is_empty());
    ask(&mut world, TargetAction::Retry, "m1", "1");
    assert_eq!(sent(&world.turn().commands), ["m1"]);
    world.finish("ship", "m1");
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Succeeded);
}

#[test]
fn fail_decides_after_its_time() {
    let mut world = world(json!({"onUnreachable": "Fail", "unreachableAfter": "1m"}), &["m1"]);
    see(&mut world, &["m1"], Sight::Silent);
    world.settle();
    world.pass(59);
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Executing);
    world.pass(1);
    world.turn();
    assert_eq!((world.status.phase, world.status.reason.as_str()), (RunPhase::Failed, "Unreachable"));
}

// Broken: with one at a time, a cluster that is down keeps everybody else from their turn.
#[test]
fn who_is_silent_before_its_turn_takes_no_place() {
    let mut world = world(json!({"maxParallelTargets": 1}), &["m1", "m2"]);
    see(&mut world, &["m1"], Sight::Silent);
    assert_eq!(sent(&world.settle().commands), ["m2"]);
    see(&mut world, &["m1"], Sight::Seen);
    assert!(
        world
            .turn()
            .commands
            .iter()
            .all(|c| !matches!(c, Command::Deliver { target, .. } if target.cluster == "m1"))
    );
    world.finish("ship", "m2");
    assert_eq!(sent(&world.turn().commands), ["m1"]);
}

// Broken: one that is passed over between two tries takes its place along, and who waits for it hangs until something else
// happens.
#[test]
fn who_is_passed_over_between_two_tries_leaves_its_place() {
    for order in [["m1", "m2"], ["m2", "m1"]] {
        let steps = [
            step("first", "deploy", json!({"maxFailures": 1}), &[]),
            step("second", "deploy", json!({"maxParallelTargets": 1}), &["first"]),
        ];
        let mut world = World::new(Graph::read(&steps, false).unwrap(), &[order.to_vec(), order.to_vec()]);
        see(&mut world, &order, Sight::Seen);
        world.settle();
        world.finish("first", "m1");
        let refused = |retry| Delivery::Refused { problem: problem("Invalid"), retry };
        world.deliver("first", "m2", refused(false));
        world.fact("second", &target("m1")).sight = Sight::Silent;
        assert_eq!(sent(&world.settle().commands), ["m2"]);
        world.deliver("second", "m2", refused(true));
        world.turn();
        world.fact("second", &target("m1")).sight = Sight::Seen;
        world.turn();
        assert_eq!(world.state("second", "m1").reason, "WaitingForTurn");
        // The first step has to try there again, so the second passes it over until it has caught up.
        ask(&mut world, TargetAction::Retry, "m2", "1");
        assert_eq!(sent(&world.turn().commands), ["m2", "m1"], "{order:?}");
        assert_eq!(world.state("second", "m1").phase, TargetPhase::Delivering);
        assert_eq!(world.state("second", "m2").phase, TargetPhase::Skipped);
    }
}

#[test]
fn a_person_skips_a_target_and_asks_for_it_later() {
    let steps = [step("first", "deploy", json!({}), &[]), step("second", "deploy", json!({}), &[])];
    let mut world = World::new(Graph::read(&steps, false).unwrap(), &[vec!["m1", "m2"], vec!["m1", "m2"]]);
    see(&mut world, &["m1", "m2"], Sight::Seen);
    world.settle();
    world.deliver("first", "m2", Delivery::Running);
    ask(&mut world, TargetAction::Skip, "m2", "1");
    world.turn();
    assert_eq!(world.state("first", "m2").phase, TargetPhase::Delivering, "what is on its way arrives");
    world.deliver("first", "m2", Delivery::Applied);
    world.turn();
    let skipped = world.state("first", "m2").clone();
    assert_eq!((skipped.phase, skipped.reason.as_str()), (TargetPhase::Skipped, "SkippedByUser"));
    assert!(skipped.message.contains("skipped by ada (rack is being moved)"), "{}", skipped.message);
    assert_eq!(world.state("second", "m2").phase, TargetPhase::Skipped, "in every step");
    for step in ["first", "second"] {
        world.settle();
        world.finish(step, "m1");
    }
    world.settle();
    assert_eq!((world.status.phase, world.status.reason.as_str()), (RunPhase::Executing, "CatchUpPending"));
    ask(&mut world, TargetAction::Retry, "m2", "2");
    let turned = world.settle();
    let first = Command::Deliver { step: "first".into(), target: target("m2") };
    assert_eq!(turned.commands, [first], "the steps stay in their order there");
    world.finish("first", "m2");
    let turned = world.turn();
    assert_eq!(turned.commands, [Command::Deliver { step: "second".into(), target: target("m2") }]);
    world.finish("second", "m2");
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Succeeded);
}

// Broken: the deletes of a target that catches up wait for a person, and there is no gate that anybody could open.
#[test]
fn deletes_of_a_target_that_catches_up_can_be_agreed_to() {
    let mut world = world(json!({}), &["m1", "m2"]);
    world.lose("ship", "m2");
    world.settle();
    ask(&mut world, TargetAction::Skip, "m2", "1");
    world.finish("ship", "m1");
    world.settle();
    assert_eq!(world.phases(), [StepPhase::Succeeded]);
    ask(&mut world, TargetAction::Retry, "m2", "2");
    world.settle();
    world.deliver("ship", "m2", Delivery::Applied);
    let fact = world.fact("ship", &target("m2"));
    (fact.done, fact.prune) = (true, Prune::Idle);
    world.settle();
    world.settle();
    assert_eq!(world.status.phase, RunPhase::Suspending, "{}", world.status.message);
    let gate = world.status.steps[0].shut_gate().expect("a gate that waits");
    let hash = gate.plan_hash.clone();
    world.approve("ship", &hash);
    let turned = world.settle();
    assert_eq!(turned.commands, [Command::Prune { step: "ship".into(), target: target("m2") }]);
    world.finish("ship", "m2");
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Succeeded);
}

// Broken: a retry does nothing because the same failures still stop the step, or tries are counted on.
#[test]
fn a_failed_target_is_tried_again_in_the_same_run() {
    let steps = [
        step("ship", "deploy", json!({"maxParallelTargets": 1}), &[]),
        step("then", "deploy", json!({}), &[]),
    ];
    let mut world = World::new(Graph::read(&steps, false).unwrap(), &[vec!["m1", "m2"], vec!["m1"]]);
    world.settle();
    fail(&mut world, "m1");
    world.turn();
    assert_eq!(world.phases(), [StepPhase::Failed, StepPhase::Skipped]);
    assert_eq!(world.status.phase, RunPhase::Failed);
    world.crash();
    ask(&mut world, TargetAction::Retry, "m1", "1");
    let turned = world.settle();
    assert_eq!(sent(&turned.commands), ["m1"]);
    assert_eq!(world.phases(), [StepPhase::Running, StepPhase::Pending]);
    assert_eq!(world.status.ended_at, None);
    world.finish("ship", "m1");
    assert_eq!(sent(&world.turn().commands), ["m2"], "and those that hadn't begun have their turn");
    world.finish("ship", "m2");
    world.settle();
    world.finish("then", "m1");
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Succeeded);
    let over = world.status.clone();
    assert_eq!(world.turn().status, over, "the request was answered once");
}

#[test]
fn to_skip_what_failed_lets_the_run_go_on() {
    let mut world = world(json!({"maxParallelTargets": 1}), &["m1", "m2"]);
    world.settle();
    fail(&mut world, "m1");
    world.turn();
    ask(&mut world, TargetAction::Skip, "m1", "1");
    assert_eq!(sent(&world.settle().commands), ["m2"]);
    world.finish("ship", "m2");
    world.turn();
    assert_eq!(world.status.reason, "CatchUpPending");
}

// Broken: a request about a run that somebody ended brings it back.
#[test]
fn what_was_ended_stays_ended() {
    for end in [RunPhase::Terminated, RunPhase::Superseded] {
        let mut world = world(json!({}), &["m1"]);
        world.settle();
        fail(&mut world, "m1");
        world.turn();
        world.status.phase = end;
        let before: RunStatus = world.status.clone();
        ask(&mut world, TargetAction::Retry, "m1", "1");
        assert_eq!(world.turn().status, before);
    }
}

// Broken: a retry opens a gate that nobody opened.
#[test]
fn a_step_that_never_acted_isnt_opened_by_a_request() {
    let mut world = world(json!({"auto": false}), &["m1"]);
    world.facts.plans.insert("ship".into(), Err(problem("Unplannable")));
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Failed);
    ask(&mut world, TargetAction::Skip, "m1", "1");
    world.turn();
    ask(&mut world, TargetAction::Retry, "m1", "2");
    let turned = world.turn();
    assert!(turned.commands.is_empty() && world.phases() == [StepPhase::Failed], "{:?}", world.status);
}

#[test]
fn mistakes_are_said_where_they_are_written() {
    for (written, words) in [
        (json!({"maxParallelTargets": 0}), &["maxParallelTargets", "at least 1"][..]),
        (json!({"maxParallelTargets": "0%"}), &["maxParallelTargets", "at least 1"]),
        (json!({"maxParallelTargets": "many"}), &["maxParallelTargets", "25%"]),
        (json!({"maxParallelTargets": 1.5}), &["maxParallelTargets", "1.5"]),
        (json!({"maxFailures": "101%"}), &["maxFailures", "more than 100%"]),
        (json!({"maxFailures": -1}), &["maxFailures", "-1"]),
        (json!({"order": "ring"}), &["order", "label"]),
        (json!({"order": {"label": ""}}), &["order", "label"]),
        (json!({"order": ["m1", "m1"]}), &["order", "m1", "twice"]),
        (json!({"canary": {}}), &["canary", "clusterLabelSelector"]),
        (
            json!({"canary": {"clusters": ["m1"], "clusterLabelSelector": {"a": "b"}}}),
            &["canary", "keep one"],
        ),
        (json!({"canary": {"cluster": ["m1"]}}), &["canary", "cluster"]),
        (json!({"soak": "soon"}), &["soak", "90s"]),
        (json!({"soak": "40m"}), &["soak", "timeout", "30m"]),
        (json!({"targetTimeout": "0"}), &["targetTimeout"]),
        (json!({"unreachableAfter": "1m"}), &["unreachableAfter", "onUnreachable: Skip"]),
        (json!({"onUnreachable": "Ignore"}), &["onUnreachable", "Skip"]),
        (json!({"onReturn": "Later"}), &["onReturn", "CatchUp"]),
        (json!({"onFailure": "Back"}), &["onFailure", "Back", "Rollback"]),
        (json!({"onJoin": "Queue"}), &["onJoin", "Append"]),
    ] {
        let mut step = step("ship", "deploy", written.clone(), &[]);
        step.timeout = Some("30m".to_owned());
        let said = Graph::read(&[step], false).unwrap_err().to_string();
        let all = words.iter().chain(&["ship"]).all(|word| said.contains(word));
        assert!(all && !said.contains('\n'), "{written}: {said}");
    }
}

// Broken: with two clusters failed neither can be tried again, since the other one still stops the step.
#[test]
fn a_retry_is_tried_though_others_failed() {
    let mut world = world(json!({}), &["m1", "m2"]);
    world.settle();
    fail(&mut world, "m1");
    fail(&mut world, "m2");
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Failed);
    ask(&mut world, TargetAction::Retry, "m2", "1");
    assert_eq!(sent(&world.settle().commands), ["m2"]);
    world.finish("ship", "m2");
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Failed, "m1 still hasn't got it");
    assert_eq!(phases(&world), [TargetPhase::Failed, TargetPhase::Succeeded]);
}

// Broken: a controller that was down past a target's time fails it on its return, though everything is well there.
#[test]
fn what_was_done_while_nobody_looked_is_done() {
    for (found, ends) in [(true, TargetPhase::Succeeded), (false, TargetPhase::Failed)] {
        for sent in [true, false] {
            let mut world = world(json!({"targetTimeout": "5m"}), &["m1"]);
            world.settle();
            if sent {
                world.deliver("ship", "m1", Delivery::Applied);
                world.turn();
            }
            world.crash();
            world.pass(600);
            world.facts.settled_at = world.now.checked_add(jiff::SignedDuration::from_secs(30)).ok();
            see(&mut world, &["m1"], Sight::NotListed);
            let turned = world.turn();
            assert!(!world.state("ship", "m1").phase.is_over(), "judged before anybody looked");
            assert!(self::sent(&turned.commands).is_empty(), "nothing is sent in its place meanwhile");
            assert_eq!(turned.wake_at, world.facts.settled_at, "it ends though nobody ever looks");
            see(&mut world, &["m1"], Sight::Seen);
            world.fact("ship", &target("m1")).done = found;
            world.turn();
            assert_eq!(world.state("ship", "m1").phase, ends, "found {found}, sent {sent}");
        }
    }
    let mut world = world(json!({"targetTimeout": "5m"}), &["m1"]);
    world.settle();
    world.crash();
    world.facts.settled_at = world.now.checked_add(jiff::SignedDuration::from_secs(30)).ok();
    see(&mut world, &["m1"], Sight::NotListed);
    world.pass(600);
    world.turn();
    assert_eq!(
        world.state("ship", "m1").reason,
        "Timeout",
        "somebody who never shows anything has had its time"
    );
}
