use fleet_api::{StepPhase, StepState, Target, TargetPhase, TargetState};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn asked(revision: &str) -> Option<QueuedRevision> {
    Some(QueuedRevision { revision: revision.to_owned(), behind: "web-1".to_owned(), ..Default::default() })
}

fn status(phase: RunPhase) -> RunStatus {
    let step = StepState { phase: StepPhase::Running, ..StepState::default() };
    RunStatus { phase, steps: vec![step], ..RunStatus::default() }
}

// Broken: an edit cuts off a run that was to be waited for, or a person who rolls back waits behind a gate for days.
#[test]
fn edits_wait_for_a_run_that_goes_on_and_people_do_not() {
    let queue = OnNewRevision::Queue;
    for (phase, waiting) in [
        (RunPhase::Executing, true),
        (RunPhase::Suspending, true),
        (RunPhase::Succeeded, false),
        (RunPhase::Failed, false),
        (RunPhase::Terminated, false),
        (RunPhase::Superseded, false),
    ] {
        let status = status(phase);
        assert_eq!(waits(queue, "RevisionChanged", Some(&status)), waiting, "{phase:?}");
        assert_eq!(waits(queue, "PublishVersion", Some(&status)), waiting, "{phase:?}");
        assert!(!waits(queue, "Restart", Some(&status)) && !waits(queue, "Rollback", Some(&status)));
        assert!(!waits(OnNewRevision::Supersede, "RevisionChanged", Some(&status)));
    }
    assert!(!waits(queue, "Created", None));
}

// Broken: a cluster that is down for a week keeps every newer revision waiting for a week.
#[test]
fn what_a_run_only_owes_keeps_nobody_waiting() {
    let owed = TargetState { phase: TargetPhase::Skipped, ..TargetState::pending(Target::new("m1", "demo")) };
    let step = StepState { phase: StepPhase::Succeeded, targets: vec![owed], ..StepState::default() };
    let status = RunStatus { phase: RunPhase::Executing, steps: vec![step], ..RunStatus::default() };
    assert!(!waits(OnNewRevision::Queue, "RevisionChanged", Some(&status)));
}

// Broken: nobody learns which edits never ran, or the clock of one that waits starts again with every look.
#[test]
fn the_newest_stays_and_those_between_are_named() {
    let first = next(None, asked("a"), at(1));
    assert_eq!(first.as_ref().and_then(|queued| queued.since), Some(at(1)));
    assert_eq!(next(first.as_ref(), asked("a"), at(9)), first, "a turn without news changes nothing");
    let second = next(first.as_ref(), asked("b"), at(2));
    let third = next(second.as_ref(), asked("c"), at(3)).unwrap();
    assert_eq!((third.since, third.skipped_total), (Some(at(3)), 2));
    assert_eq!(third.skipped, ["a", "b"]);
    let mut many = Some(third.clone());
    for n in 0..100 {
        many = next(many.as_ref(), asked(&format!("r{n}")), at(4));
    }
    let many = many.unwrap();
    assert_eq!((many.skipped.len(), many.skipped_total), (NAMED, 102));
    assert_eq!(next(Some(&third), None, at(5)), None);
}

// Broken: an Event says that the revision that has just begun will not run, or says nothing of one that never will.
#[test]
fn each_change_is_told_once() {
    let (a, b) = (asked("a"), asked("b"));
    let told = |before: &Option<QueuedRevision>, after: &Option<QueuedRevision>, running: &str| {
        let news = news(before.as_ref(), after.as_ref(), Some(running));
        news.into_iter().map(|(reason, subject, _)| format!("{reason} {subject}")).collect::<Vec<_>>()
    };
    assert_eq!(told(&None, &a, "x"), ["RevisionQueued a"]);
    assert_eq!(told(&a, &a, "x"), [""; 0]);
    assert_eq!(told(&a, &b, "x"), ["RevisionSkipped a", "RevisionQueued b"]);
    assert_eq!(told(&a, &None, "a"), [""; 0], "it runs now");
    assert_eq!(
        told(&a, &None, "x"),
        ["RevisionSkipped a"],
        "the edit was taken back, or a person wants another"
    );
}

#[test]
fn what_waits_is_said_with_the_command_that_moves_it() {
    let mut app = Application::new("web", Default::default());
    app.metadata.namespace = Some("demo".to_owned());
    let queued = next(asked("web-a").as_ref(), asked("web-b"), at(0)).unwrap();
    assert_eq!(
        message(&queued, &app, Some(RunPhase::Suspending)),
        "revision web-b waits since 1970-01-01T00:00:00Z until run web-1 (suspending) is over (1 before it skipped: web-a); end that run to let it begin: fleetctl workflow terminate web -n demo"
    );
}
