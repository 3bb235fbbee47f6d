//! What begins when, with time windows around it.

use fleet_api::{StepPhase, TargetPhase, TimeWindow, TimeWindows, WindowRequest};
use fleet_workflow::windows::Windows;
use fleet_workflow::{Command, Delivery, FleetWindow, Graph};
use jiff::SignedDuration;
use serde_json::json;

use crate::world::{World, deploy, step};

/// The world's clock begins on Saturday 2026-11-21, 12:00 UTC.
fn evenings() -> TimeWindows {
    let window = TimeWindow { cron: "0 20 * * *".into(), duration: "2h".into(), time_zone: None };
    TimeWindows { allow: vec![window], deny: Vec::new() }
}

fn world() -> World {
    let mut first = deploy("first", true);
    first.windows = Some(evenings());
    World::new(Graph::read(&[first], false).unwrap(), &[vec!["m1", "m2"]])
}

fn sent(commands: &[Command]) -> usize {
    commands.iter().filter(|command| matches!(command, Command::Deliver { .. })).count()
}

// Broken: something is delivered outside its window, waits without saying for what, times out while it waits, or isn't
// woken when the window opens.
#[test]
fn targets_begin_inside_their_window() {
    let mut world = world();
    let turned = world.settle();
    assert_eq!(sent(&turned.commands), 0);
    assert_eq!(world.status.reason, "WaitingForWindow");
    for said in ["the step's windows", "opens 2026-11-21 20:00 Sat (UTC)", "--step first --override-window"] {
        assert!(world.status.message.contains(said), "{}", world.status.message);
    }
    let opens = "2026-11-21T20:00:00Z".parse().unwrap();
    assert!(turned.wake_at.is_some_and(|at| at <= opens), "{:?}", turned.wake_at);
    // Turns before that, past the step's timeout, change nothing.
    world.pass(3 * 3600);
    world.crash();
    assert_eq!(sent(&world.settle().commands), 0);
    assert_eq!(world.phases(), [StepPhase::Running]);
    world.now = opens;
    assert_eq!(sent(&world.turn().commands), 2);
    // What began goes on after the window has shut, and has its whole time.
    world.pass(20 * 60);
    world.finish("first", "m1");
    world.finish("first", "m2");
    world.turn();
    assert_eq!(world.phases(), [StepPhase::Succeeded]);
}

// Broken: what is under way is stopped when its window shuts.
#[test]
fn what_is_under_way_goes_on() {
    let mut world = world();
    world.now = "2026-11-21T21:59:00Z".parse().unwrap();
    assert_eq!(sent(&world.settle().commands), 2);
    world.pass(120);
    world.crash();
    assert_eq!(sent(&world.settle().commands), 2, "a delivery on record is carried out again after a crash");
    world.finish("first", "m1");
    world.finish("first", "m2");
    world.turn();
    assert_eq!(world.phases(), [StepPhase::Succeeded]);
}

// Broken: a target whose first try was refused for a moment is kept half done by a window that shut since.
#[test]
fn a_further_try_of_what_has_begun_goes_on() {
    let mut world = world();
    world.now = "2026-11-21T21:59:59Z".parse().unwrap();
    assert_eq!(sent(&world.settle().commands), 2);
    let refused = Delivery::Refused { problem: crate::world::problem("Conflict"), retry: true };
    world.deliver("first", "m1", refused);
    world.turn();
    assert_eq!(world.state("first", "m1").phase, TargetPhase::Pending);
    world.pass(10);
    let again = Command::Deliver { step: "first".to_owned(), target: crate::world::target("m1") };
    assert!(world.turn().commands.contains(&again), "{}", world.state("first", "m1").message);
}

// Broken: a person can't let it begin, it isn't on record why, or a word about another step counts.
#[test]
fn a_person_may_open_it_with_a_reason() {
    let mut world = world();
    world.facts.window_override = Some(asked("second", "no"));
    assert_eq!(sent(&world.settle().commands), 0);
    world.facts.window_override = Some(asked("first", "security fix"));
    assert_eq!(sent(&world.turn().commands), 2);
    let noted = world.status.steps[0].window_override.clone().unwrap();
    assert_eq!((noted.by.as_str(), noted.reason.as_str()), ("ann", "security fix"));
    world.facts.window_override = None;
    world.crash();
    world.settle();
    assert_eq!(world.state("first", "m1").phase, TargetPhase::Delivering, "what was let begin goes on");
}

// Broken: a freeze of one cluster holds others, or one of the fleet is overlooked.
#[test]
fn the_fleet_has_windows_too() {
    let mut world = World::new(Graph::read(&[deploy("first", true)], false).unwrap(), &[vec!["m1", "m2"]]);
    let fleet = |clusters: Option<&str>, windows| FleetWindow {
        name: "evenings".into(),
        message: "ask #platform".into(),
        windows,
        clusters: clusters.map(|name| [name.to_owned()].into()),
    };
    world.facts.windows = vec![fleet(Some("m2"), Ok(Windows::read(&evenings()).unwrap()))];
    let turned = world.settle();
    assert_eq!(sent(&turned.commands), 1);
    let waits = world.state("first", "m2");
    assert_eq!((waits.phase, waits.reason.as_str()), (TargetPhase::Pending, "WaitingForWindow"));
    assert!(waits.message.contains("RolloutWindow evenings (ask #platform)"), "{}", waits.message);
    // It is taken away: nothing waits any more.
    world.facts.windows.clear();
    world.deliver("first", "m1", Delivery::Running);
    assert_eq!(sent(&world.turn().commands), 1);

    // One that can't be read holds everything that it may be about, and says so.
    let mut world = World::new(Graph::read(&[deploy("first", true)], false).unwrap(), &[vec!["m1"]]);
    world.facts.windows = vec![fleet(None, Err("allow[0]: cron: nonsense".into()))];
    assert_eq!(sent(&world.settle().commands), 0);
    assert_eq!(world.status.reason, "InvalidRolloutWindow");
    assert!(world.status.message.contains("kubectl edit rolloutwindow evenings"), "{}", world.status.message);
}

// Broken: a step that tells or asks people does so in the middle of the night.
#[test]
fn steps_that_deliver_nothing_wait_as_well() {
    let mut tell =
        step("tell", "notification", json!({"slack": {"url": "http://x", "message": {"text": "hi"}}}), &[]);
    tell.windows = Some(evenings());
    let mut world = World::new(Graph::read(&[tell], false).unwrap(), &[vec![]]);
    let turned = world.settle();
    assert!(turned.commands.is_empty());
    assert_eq!((world.phases()[0], world.status.reason.as_str()), (StepPhase::Pending, "WaitingForWindow"));
    assert!(
        world.status.message.contains("step tell: outside of the step's windows"),
        "{}",
        world.status.message
    );
    assert_eq!(turned.wake_at, Some("2026-11-21T20:00:00Z".parse().unwrap()));
    world.pass(8 * 3600 + 60);
    assert!(world.settle().commands.contains(&Command::Check { step: "tell".into() }));
    let again = world.now.checked_add(SignedDuration::from_hours(1)).unwrap();
    assert!(world.status.steps[0].deadline.is_some_and(|deadline| deadline < again));
}

fn asked(step: &str, reason: &str) -> WindowRequest {
    let [run, step, by, reason] = ["web-1", step, "ann", reason].map(str::to_owned);
    WindowRequest { run, step, by, reason }
}
