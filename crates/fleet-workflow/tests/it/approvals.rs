//! Gates that demand approvers, gates before deletes, and how gates end.

use std::collections::BTreeSet;

use fleet_api::Decision::{Approve, Reject};
use fleet_api::{Gate, GateBefore, GateOutcome, RunPhase, Step, StepPhase, TargetPhase};
use fleet_workflow::{Authors, Command, Delivery, Graph, Prune};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::world::{World, deploy, problem, step, target};

fn run(steps: &[Step], targets: &[Vec<&str>]) -> World {
    let mut world = World::new(Graph::read(steps, false).unwrap(), targets);
    world.facts.authors = Authors::Known(BTreeSet::from(["ada".to_owned()]));
    world
}

/// One step that demands approvers.
fn demanding(approval: &Value) -> World {
    let mut world = run(&[step("ship", "deploy", json!({ "approval": approval }), &[])], &[vec!["mc-bj1"]]);
    world.settle();
    world
}

fn gate(world: &World) -> Gate {
    world.status.steps[0].gate.clone().expect("a gate")
}

fn refusals(world: &World) -> Vec<(String, String)> {
    gate(world).refused.into_iter().map(|refusal| (refusal.reason, refusal.message)).collect()
}

#[test]
fn two_different_people_open_a_gate_that_demands_two() {
    let mut world = demanding(&json!({ "required": 2 }));
    world.decide("bob", &[], Approve, "ship", "a");
    world.decide("bob", &[], Approve, "ship", "a");
    world.turn();
    assert_eq!(world.phases(), [StepPhase::Suspending]);
    assert_eq!(refusals(&world), [("Duplicate".to_owned(), "bob has approved this plan already".to_owned())]);
    assert!(world.status.message.contains("1 of 2 approvals (bob); "), "{}", world.status.message);
    let counted = gate(&world).approvals;
    assert_eq!((counted.len(), counted[0].approver.as_str()), (1, "bob"));
    world.decide("cy", &[], Approve, "ship", "a");
    assert_eq!(world.turn().commands.len(), 1);
    let gate = gate(&world);
    assert_eq!((gate.outcome, gate.approvals.len()), (GateOutcome::Approved, 2));
    assert_eq!(gate.approval.unwrap().approver, "cy");
}

// Broken: each of these opens a gate that demands approvers, or nobody is told why it doesn't.
#[test]
fn who_may_not_approve_is_told_why() {
    let mut world = demanding(&json!({ "groups": ["release"], "excludeAuthor": true }));
    world.decide("eve", &["guests"], Approve, "ship", "a");
    world.decide("ada", &["release"], Approve, "ship", "a");
    world.decide("bob", &["release"], Approve, "ship", "old");
    world.decide("bob", &["release"], Approve, "later", "a");
    world.decide("bob", &["release"], Approve, "ship", "a");
    let unproven = world.facts.approvals.last_mut().unwrap();
    unproven.proven = false;
    unproven.doubt = "the policy was changed after it was made".to_owned();
    let counts_from = Some(world.now + SignedDuration::from_secs(4));
    unproven.counts_from = counts_from;
    world.facts.cleared_by_hand = Some("ship".to_owned());
    world.turn();
    assert_eq!(world.phases(), [StepPhase::Suspending]);
    let said = refusals(&world);
    let said: Vec<(&str, &str)> = said.iter().map(|(r, m)| (r.as_str(), m.as_str())).collect();
    assert_eq!(
        said,
        [
            ("NotInGroup", "eve isn't in any of the groups asked for (release)"),
            ("Author", "ada changed the spec, and whoever did may not approve"),
            ("StalePlan", "it approves plan old, but the plan is now a"),
            ("NotProven", "the policy was changed after it was made"),
            ("OtherStep", "it is for step \"later\", which asks nobody"),
        ]
    );
    let from = |reason: &str| {
        let mut refused = gate(&world).refused.into_iter();
        refused.find(|refusal| refusal.reason == reason).and_then(|refusal| refusal.counts_from)
    };
    assert_eq!((from("NotProven"), from("Author")), (counts_from, None));
    let message = &world.status.message;
    assert!(
        message.contains("0 of 1 approvals from group release, not of who changed the spec; "),
        "{message}"
    );
    world.facts.cleared_by_hand = None;
    world.decide("bob", &["release"], Approve, "ship", "a");
    world.turn();
    assert_eq!(world.phases(), [StepPhase::Running]);
}

// Broken: where nobody noted who changed the spec, its author approves it.
#[test]
fn an_author_who_is_not_on_record_keeps_the_gate_shut() {
    let mut world = demanding(&json!({ "excludeAuthor": true }));
    world.facts.authors = Authors::Unrecorded("the webhook isn't there: fleetctl install".to_owned());
    world.decide("bob", &[], Approve, "ship", "a");
    world.turn();
    assert_eq!(world.phases(), [StepPhase::Suspending]);
    assert_eq!(world.status.reason, "AuthorUnknown");
    assert!(
        world.status.message.contains("the webhook isn't there: fleetctl install"),
        "{}",
        world.status.message
    );
    world.facts.authors = Authors::Known(BTreeSet::from(["ada".to_owned()]));
    world.turn();
    assert_eq!(world.phases(), [StepPhase::Running], "what was approved counts once the author is known");
}

// Broken: once a cluster that joined is added to the step, the plan is another one, and who wrote it may approve that.
#[test]
fn who_changed_the_spec_approves_no_plan_that_was_made_anew_either() {
    let mut world = demanding(&json!({ "excludeAuthor": true }));
    world.facts.authors = Authors::Known(BTreeSet::from(["ada".to_owned()]));
    world.turn();
    world.replan("ship", "with-the-joiner");
    world.decide("ada", &[], Approve, "ship", "with-the-joiner");
    world.turn();
    assert_eq!(world.phases(), [StepPhase::Suspending]);
    assert_eq!(refusals(&world)[0].0, "Author");
    world.decide("bob", &[], Approve, "ship", "with-the-joiner");
    world.turn();
    assert_eq!(world.phases(), [StepPhase::Running]);
}

#[test]
fn what_hinders_everybody_is_said_when_the_gate_shuts() {
    let approval = json!({ "groups": ["release"] });
    let mut world = run(&[step("ship", "deploy", json!({ "approval": approval }), &[])], &[vec!["mc-bj1"]]);
    world.facts.unproved = Some(problem("PolicyMissing"));
    world
        .facts
        .powerless
        .insert("release".to_owned(), "nothing grants group release the verb approve".to_owned());
    world.settle();
    assert_eq!(world.status.reason, "PolicyMissing");
    for said in ["PolicyMissing happened; ", "nothing grants group release the verb approve; "] {
        assert!(world.status.message.contains(said), "{}", world.status.message);
    }
}

// Broken: that nothing lets a group approve is found out when its gate shuts, hours after the Application was applied.
#[test]
fn a_group_that_may_not_approve_is_named_before_its_gate_shuts() {
    let approval = json!({ "groups": ["release"] });
    let ship = step("ship", "deploy", json!({ "approval": approval }), &[]);
    let mut world = run(&[deploy("first", true), ship], &[vec!["mc-bj1"], vec!["mc-hz1"]]);
    let said = "nothing grants group release the verb approve";
    world.facts.powerless.insert("release".to_owned(), said.to_owned());
    world.settle();
    let step = world.status.steps[1].clone();
    assert_eq!(world.phases(), [StepPhase::Running, StepPhase::Pending]);
    assert_eq!((step.reason.as_str(), step.message.as_str()), ("GroupMayNotApprove", said));
    world.facts.powerless.clear();
    world.turn();
    let step = world.status.steps[1].clone();
    assert_eq!((step.reason.as_str(), step.message.as_str()), ("", ""), "it was granted since");
}

#[test]
fn a_no_ends_the_run_and_names_who_and_the_way_on() {
    for approval in [json!(null), json!({ "required": 2, "groups": ["release"] })] {
        let mut properties = json!({ "auto": false });
        if approval.is_object() {
            properties["approval"] = approval;
        }
        let steps = [step("ship", "deploy", properties, &[]), deploy("next", false)];
        let mut world = run(&steps, &[vec!["mc-bj1"], vec!["mc-hz1"]]);
        world.settle();
        world.decide("bob", &["release"], Reject, "ship", "a");
        world.facts.approvals[0].reason = "too late in the day".to_owned();
        world.turn();
        assert_eq!((world.status.phase, world.status.reason.as_str()), (RunPhase::Terminated, "Rejected"));
        assert_eq!(
            world.status.message,
            "step ship: plan a was rejected by bob: too late in the day; start again with: fleetctl workflow restart web-demo -n demo"
        );
        assert_eq!(world.phases(), [StepPhase::Failed, StepPhase::Skipped]);
        let gate = gate(&world);
        assert_eq!((gate.outcome, gate.rejection.unwrap().approver.as_str()), (GateOutcome::Rejected, "bob"));
    }
}

// Broken: anybody at all ends a run at a gate that says who may decide; or nobody can withdraw what he wrote himself.
#[test]
fn a_no_counts_where_a_yes_would_but_for_the_author() {
    let mut world = demanding(&json!({ "groups": ["release"], "excludeAuthor": true }));
    world.decide("eve", &["guests"], Reject, "ship", "a");
    world.decide("bob", &["release"], Reject, "ship", "old");
    world.turn();
    assert_eq!(world.phases(), [StepPhase::Suspending]);
    assert_eq!(refusals(&world)[1].1, "it rejects plan old, but the plan is now a");
    world.decide("ada", &["release"], Reject, "ship", "a");
    world.turn();
    assert_eq!(world.status.reason, "Rejected");
}

// Broken: of a yes and a no that arrive together, the yes delivers.
#[test]
fn a_no_outweighs_every_yes() {
    let mut world = demanding(&json!({}));
    world.decide("bob", &[], Approve, "ship", "a");
    world.decide("cy", &[], Reject, "ship", "a");
    let turned = world.turn();
    assert!(turned.commands.is_empty() && world.status.phase == RunPhase::Terminated, "{:?}", world.status);
}

// Broken: a gate of last week opens on Monday; a restart starts its time anew; what was sent goes on being cut off.
#[test]
fn a_gate_expires_at_a_time_that_a_crash_does_not_move() {
    let mut world = demanding(&json!({ "required": 2, "expiresAfter": "2h" }));
    world.decide("bob", &[], Approve, "ship", "a");
    let turned = world.turn();
    assert_eq!(turned.wake_at.unwrap().to_string(), "2026-11-21T14:00:00Z");
    assert!(world.status.message.contains("(expires at 2026-11-21T14:00:00Z)"), "{}", world.status.message);
    world.pass(7199);
    world.crash();
    world.settle();
    assert_eq!(world.phases(), [StepPhase::Suspending]);
    world.crash();
    world.pass(1);
    // Enough have approved, and nobody looked until it was too late.
    world.decide("cy", &[], Approve, "ship", "a");
    let turned = world.turn();
    assert!(turned.commands.is_empty());
    assert_eq!((world.status.phase, world.status.reason.as_str()), (RunPhase::Failed, "Expired"));
    assert_eq!(gate(&world).outcome, GateOutcome::Expired);
    assert!(
        world.status.message.contains("had 2 of 2 approvals when the gate expired, 2h after it was shut"),
        "{}",
        world.status.message
    );
    assert!(world.status.message.contains("fleetctl workflow restart web-demo -n demo"));
}

#[test]
fn a_gate_that_is_overtaken_says_so() {
    let mut world = demanding(&json!({}));
    world.facts.superseded = true;
    world.decide("bob", &[], Approve, "ship", "a");
    world.turn();
    assert_eq!((world.status.phase, gate(&world).outcome), (RunPhase::Superseded, GateOutcome::Superseded));
    let mut world = demanding(&json!({}));
    world.facts.terminate = true;
    world.turn();
    assert_eq!(gate(&world).outcome, GateOutcome::Terminated);
}

// Broken: an approval of the old plan opens the new one because a member left in between.
#[test]
fn what_counted_for_a_plan_that_changed_is_void() {
    let mut world = demanding(&json!({ "required": 2 }));
    world.decide("bob", &[], Approve, "ship", "a");
    world.turn();
    world.replan("ship", "b");
    world.decide("cy", &[], Approve, "ship", "b");
    world.turn();
    assert_eq!(world.phases(), [StepPhase::Suspending]);
    let who: Vec<String> = gate(&world).approvals.into_iter().map(|a| a.approver).collect();
    assert_eq!((who, refusals(&world)[0].0.as_str()), (vec!["cy".to_owned()], "StalePlan"));
}

// Broken: a cluster that joins behind a gate with approvers gets everything by one click of anybody.
#[test]
fn who_is_asked_on_behalf_of_a_gate_is_asked_as_strictly() {
    let steps = [step("ask", "suspend", json!({ "approval": { "required": 2 } }), &[]), deploy("ship", true)];
    let mut world = run(&steps, &[vec![], vec!["mc-bj1"]]);
    world.status.steps[0].phase = StepPhase::Succeeded;
    world.status.steps[1].ask = true;
    world.settle();
    world.decide("bob", &[], Approve, "ship", "a");
    world.turn();
    assert_eq!(world.phases()[1], StepPhase::Suspending);
    world.decide("cy", &[], Approve, "ship", "a");
    world.turn();
    assert_eq!(world.phases()[1], StepPhase::Running);
}

/// A step without a gate whose deletes take the last workload of its one target; everything else is done.
fn deleting(properties: &Value) -> World {
    let mut world = run(&[step("ship", "deploy", properties.clone(), &[])], &[vec!["mc-bj1"]]);
    world.lose("ship", "mc-bj1");
    world.settle();
    if world.phases() == [StepPhase::Suspending] {
        world.decide("bob", &[], Approve, "ship", "a");
        world.settle();
    }
    world.finish("ship", "mc-bj1");
    world.fact("ship", &target("mc-bj1")).prune = Prune::Idle;
    world
}

#[test]
fn deletes_that_take_the_last_workload_ask() {
    let mut world = deleting(&json!({}));
    let turned = world.turn();
    assert!(turned.commands.is_empty(), "{:?}", turned.commands);
    assert_eq!(
        (world.status.phase, world.status.reason.as_str()),
        (RunPhase::Suspending, "WaitingForApproval")
    );
    assert_eq!(
        world.status.message,
        "step ship waits for approval of what it deletes: mc-bj1/demo: the last workload goes there (Deployment web); \
         look with: fleetctl plan web-demo -n demo, go on with: fleetctl workflow resume web-demo -n demo"
    );
    assert_eq!((gate(&world).before, gate(&world).plan_hash.as_str()), (GateBefore::Deletes, "a"));
    // Whoever decides takes his time.
    world.pass(90_000);
    world.crash();
    world.fact("ship", &target("mc-bj1")).delivery = Delivery::Applied;
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Suspending);
    world.approve("ship", "another");
    assert!(world.turn().commands.is_empty());
    world.approve("ship", "a");
    assert_eq!(world.turn().commands, [Command::Prune { step: "ship".into(), target: target("mc-bj1") }]);
    world.fact("ship", &target("mc-bj1")).prune = Prune::Done;
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Succeeded);
}

// Broken: what was agreed to while no controller ran is sent, and fails at the next turn, as the step's time was up.
#[test]
fn deletes_that_were_agreed_to_before_anybody_looked_have_their_time() {
    let mut world = deleting(&json!({}));
    world.approve("ship", "a");
    world.pass(90_000);
    let prune = [Command::Prune { step: "ship".into(), target: target("mc-bj1") }];
    assert_eq!(world.turn().commands, prune);
    assert_eq!(world.turn().commands, prune);
    assert_eq!(world.status.phase, RunPhase::Executing, "{}", world.status.message);
    world.fact("ship", &target("mc-bj1")).prune = Prune::Done;
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Succeeded);
}

#[test]
fn deletes_that_were_approved_with_the_step_or_are_let_go_ask_nobody() {
    for properties in [json!({ "auto": false }), json!({ "onDelete": "Prune" })] {
        let mut world = deleting(&properties);
        let turned = world.turn();
        assert_eq!(
            turned.commands,
            [Command::Prune { step: "ship".into(), target: target("mc-bj1") }],
            "{properties}"
        );
    }
}

#[test]
fn a_no_to_deletes_leaves_what_is_there() {
    let mut world = deleting(&json!({}));
    world.turn();
    world.decide("bob", &[], Reject, "ship", "a");
    let turned = world.turn();
    assert!(turned.commands.is_empty());
    assert_eq!((world.status.phase, world.status.reason.as_str()), (RunPhase::Terminated, "Rejected"));
    assert_eq!(world.state("ship", "mc-bj1").phase, TargetPhase::Pruning);
}

// Broken: nobody agrees to deletes in the time that the gate before them gives, and the run waits for ever.
#[test]
fn deletes_that_nobody_agrees_to_in_time_end_their_step() {
    let ask = step("ask", "suspend", json!({ "approval": { "expiresAfter": "2h" } }), &[]);
    let mut world = run(&[ask, deploy("ship", true)], &[vec![], vec!["mc-bj1"]]);
    world.lose("ship", "mc-bj1");
    world.settle();
    world.decide("bob", &[], Approve, "ask", "a");
    world.settle();
    world.finish("ship", "mc-bj1");
    world.fact("ship", &target("mc-bj1")).prune = Prune::Idle;
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Suspending, "{}", world.status.message);
    world.pass(2 * 3600);
    assert!(world.turn().commands.is_empty());
    world.turn();
    assert_eq!((world.status.phase, world.status.reason.as_str()), (RunPhase::Failed, "Expired"));
    assert_eq!(world.phases(), [StepPhase::Succeeded, StepPhase::Failed]);
}

// Broken: one target whose deletes wait holds another one up, or hides that a person is asked.
#[test]
fn deletes_that_wait_hold_up_only_their_target() {
    let mut world = run(&[deploy("ship", true)], &[vec!["mc-bj1", "mc-bj2", "mc-hz1"]]);
    world.status.steps[0].targets[2].cleared = true;
    world.lose("ship", "mc-bj1");
    world.lose("ship", "mc-hz1");
    world.settle();
    world.finish("ship", "mc-bj1");
    world.fact("ship", &target("mc-bj1")).prune = Prune::Idle;
    world.deliver("ship", "mc-bj2", Delivery::Running);
    world.turn();
    assert_eq!(world.status.phase, RunPhase::Executing);
    assert!(gate(&world).is_shut());
    world.finish("ship", "mc-bj2");
    world.turn();
    // The one that is cleared waits for the others, and they for the person.
    assert_eq!(world.status.phase, RunPhase::Suspending, "{}", world.status.message);
    world.approve("ship", "a");
    assert_eq!(world.turn().commands, [Command::Prune { step: "ship".into(), target: target("mc-bj1") }]);
    world.finish("ship", "mc-bj1");
    world.fact("ship", &target("mc-hz1")).done = true;
    world.fact("ship", &target("mc-hz1")).prune = Prune::Idle;
    let turned = world.turn();
    assert_eq!(turned.commands, [Command::Prune { step: "ship".into(), target: target("mc-hz1") }]);
}

// A user sees these words.
#[test]
fn demands_that_can_not_be_met_are_refused_in_words() {
    let refusal = |type_: &str, properties: Value| {
        Graph::read(&[step("a", type_, properties, &[])], false).expect_err("it is read").to_string()
    };
    let cases = [
        (
            "deploy",
            json!({ "approval": { "required": 0 } }),
            "step \"a\": properties: approval: required: write a number from 1 to 100",
        ),
        (
            "deploy",
            json!({ "approval": { "requried": 2 } }),
            "step \"a\": properties: approval: unknown field `requried`, expected one of `required`, `groups`, `excludeAuthor`, `expiresAfter`",
        ),
        (
            "deploy",
            json!({ "approval": { "groups": [""] } }),
            "step \"a\": properties: approval: groups: a group has no name",
        ),
        (
            "suspend",
            json!({ "approval": { "expiresAfter": "soon" } }),
            "step \"a\": properties: approval: expiresAfter: \"soon\" isn't a duration; write it like 90s, 30m, 1h30m or 2d",
        ),
        (
            "suspend",
            json!({ "approval": { "expiresAfter": "0" } }),
            "step \"a\": properties: approval: expiresAfter: the gate would expire before anybody could approve",
        ),
        (
            "deploy",
            json!({ "auto": true, "approval": {} }),
            "step \"a\": properties: approval: with auto: true nobody is asked; leave auto out, or approval",
        ),
        (
            "suspend",
            json!({ "duration": "1h", "approval": {} }),
            "step \"a\": properties: duration: a gate that demands approvers doesn't open by itself; to end the wait, write approval.expiresAfter",
        ),
        (
            "deploy",
            json!({ "onDelete": "Ask" }),
            "step \"a\": properties: onDelete: unknown variant `Ask`, expected one of `Approve`, `Prune`, `Keep`",
        ),
    ];
    for (type_, properties, expected) in cases {
        assert_eq!(refusal(type_, properties), expected);
    }
}
