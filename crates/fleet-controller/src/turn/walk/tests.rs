use fleet_api::{RevisionContent, RunPhase, StepState};

use super::*;
use crate::replicas::{Duty, Shares};

fn app(version: &str) -> Application {
    let mut app = Application::new("web", fleet_api::ApplicationSpec::default());
    app.metadata.namespace = Some("demo".to_owned());
    app.metadata.resource_version = Some(version.to_owned());
    app
}

fn revision(name: &str) -> Arc<Loaded> {
    Arc::new(Loaded::new(name, name, RevisionContent::default()).unwrap())
}

/// A walk whose run of `new` came this far; `old` stood there before, and `older` before that.
fn walk(phase: RunPhase, target: TargetPhase) -> Walk {
    let hold = Shares::alone().hold(&Duty::Application("demo".to_owned(), "web".to_owned())).unwrap();
    let mut walk = Walk::new(&app("1"), "hub", hold);
    let place = Target::new("m1", "demo");
    walk.inventory.target_mut(&place).layers =
        vec![Layer { revision: "old".to_owned(), step: "first".to_owned() }];
    let state = TargetState { phase: target, ..TargetState::pending(place) };
    let step = StepState { name: "first".to_owned(), targets: vec![state], ..StepState::default() };
    let mut run = Run::new("web-2", Default::default());
    run.status = Some(RunStatus { phase, steps: vec![step], ..RunStatus::default() });
    walk.run = Some(run);
    walk.revision = Some(revision("new"));
    walk.revisions = ["old", "older"].map(|name| (name.to_owned(), revision(name))).into();
    walk.plans.insert("first".to_owned(), Default::default());
    walk
}

fn kept(walk: &Walk) -> Vec<&str> {
    walk.revisions.keys().map(String::as_str).collect()
}

/// Kept too long, thousands of Applications at rest fill the memory with what they once were; thrown away too early, what
/// stands on a member can't be compared or repaired any more.
#[test]
fn at_rest_only_what_stands_somewhere_is_kept() {
    let mut running = walk(RunPhase::Executing, TargetPhase::Delivering);
    running.settle();
    assert_eq!((kept(&running), running.plans.len()), (vec!["old", "older"], 1));
    let mut failed = walk(RunPhase::Failed, TargetPhase::Failed);
    failed.settle();
    assert_eq!((kept(&failed), failed.plans.len()), (vec!["old"], 0));
    let mut done = walk(RunPhase::Succeeded, TargetPhase::Succeeded);
    done.settle();
    assert_eq!((kept(&done), done.plans.len()), (vec![], 0));
}

/// Our copy of what we wrote hides the cache until that shows it; then it is the same twice.
#[test]
fn a_written_status_is_kept_until_the_cache_shows_it() {
    let mut walk = walk(RunPhase::Succeeded, TargetPhase::Succeeded);
    walk.written = Some(Written { over: vec!["1".to_owned()], now: app("2") });
    walk.see(&app("1"));
    assert!(walk.written.as_ref().is_some_and(|written| written.hides(&app("1"))));
    walk.see(&app("2"));
    assert!(walk.written.is_none());
}
