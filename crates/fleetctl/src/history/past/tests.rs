use super::super::moment::Moment;
use super::super::show;
use super::*;
use crate::roster::Roster;
use fleet_api::{ApprovalRecord, Gate, Rollback, StepPhase, Target};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn target(cluster: &str, phase: TargetPhase, begun: i64, ended: Option<i64>) -> TargetState {
    TargetState {
        phase,
        started_at: Some(at(begun)),
        ended_at: ended.map(at),
        ..TargetState::pending(Target::new(cluster, "demo"))
    }
}

fn run(number: i64, revision: &str, cause: &str, phase: RunPhase, targets: Vec<TargetState>) -> Run {
    let begun = targets.iter().filter_map(|state| state.started_at).min();
    let ended = targets.iter().filter_map(|state| state.ended_at).max();
    let step = StepState {
        name: "ship".to_owned(),
        phase: StepPhase::Succeeded,
        gate: Some(Gate {
            approval: Some(ApprovalRecord { approver: "mia".to_owned(), ..ApprovalRecord::default() }),
            ..Gate::default()
        }),
        targets,
        ..StepState::default()
    };
    let spec = RunSpec {
        revision: revision.to_owned(),
        number,
        cause: cause.to_owned(),
        author: Some("ada".to_owned()),
        changed_by: matches!(cause, "Created" | "RevisionChanged").then(|| "ada".to_owned()),
        ..RunSpec::default()
    };
    let mut run = Run::new(&format!("web-{number}"), spec);
    run.status = Some(RunStatus {
        phase,
        started_at: begun,
        ended_at: ended,
        steps: vec![step],
        ..RunStatus::default()
    });
    run
}

fn entry(second: i64, event: &str, run: &str, revision: &str) -> AuditEntry {
    AuditEntry {
        at: at(second),
        event: event.to_owned(),
        run: run.to_owned(),
        revision: revision.to_owned(),
        step: "ship".to_owned(),
        ..AuditEntry::default()
    }
}

fn said(past: &Past, second: i64, cluster: &str) -> (Option<String>, String) {
    let moment = Moment::of(past, at(second));
    let there = moment.targets.into_iter().find(|there| there.target == format!("{cluster}/demo")).unwrap();
    (there.revision, there.why)
}

/// A, then B that fails on one of two, then back to A.
fn three_runs() -> Vec<Run> {
    use TargetPhase::{Failed, Succeeded};
    let mut back = run(
        3,
        "web-a",
        "AutomaticRollback",
        RunPhase::Succeeded,
        vec![target("m1", Succeeded, 301, Some(310)), target("m2", Succeeded, 301, Some(310))],
    );
    back.spec.rollback = Some(Rollback {
        back_to: Some(1),
        automatic: true,
        reason: "step ship: m2 says no".to_owned(),
        ..Rollback::default()
    });
    vec![
        run(
            1,
            "web-a",
            "Created",
            RunPhase::Succeeded,
            vec![target("m1", Succeeded, 101, Some(110)), target("m2", Succeeded, 111, Some(120))],
        ),
        run(
            2,
            "web-b",
            "RevisionChanged",
            RunPhase::Failed,
            vec![target("m1", Succeeded, 201, Some(210)), target("m2", Failed, 211, Some(220))],
        ),
        back,
    ]
}

/// Broken: after an incident nobody can say which cluster ran what, and since when.
#[test]
fn each_target_runs_what_was_done_there_last() {
    let past = Past::of(&three_runs(), &[]);
    let numbers: Vec<_> = past.runs.iter().filter_map(|run| run.number).collect();
    assert_eq!((numbers, past.complete, past.begins), (vec![3, 2, 1], true, Some(at(101))));
    assert_eq!(said(&past, 50, "m1"), (None, "nothing was there yet".to_owned()));
    assert_eq!(said(&past, 115, "m1").0.as_deref(), Some("web-a"));
    assert_eq!(said(&past, 115, "m2").0, None);
    let (revision, why) = said(&past, 250, "m1");
    assert_eq!(
        (revision.as_deref(), why.as_str()),
        (Some("web-b"), "edit by ada; step ship, approved by mia")
    );
    let moment = Moment::of(&past, at(250));
    let second = &moment.targets[1];
    assert_eq!(second.revision.as_deref(), Some("web-a"), "what failed isn't what was there");
    let begun = second.begun.clone().unwrap();
    assert_eq!((begun.revision.as_str(), begun.failed, begun.at), ("web-b", true, at(211)));
    let text = show::moment(&moment, &Roster::default(), at(250));
    assert!(text.contains("then web-b by run web-2, failed"), "{text}");
    assert_eq!(
        said(&past, 400, "m1").1,
        "automatic rollback to run 1: step ship: m2 says no; step ship, approved by mia"
    );
    // It never lost it, so it has had it since the first run.
    let moment = Moment::of(&past, at(400));
    assert_eq!((moment.targets[1].since, moment.targets[1].run.as_deref()), (Some(at(120)), Some("web-1")));
    assert_eq!(moment.targets[1].begun, None);
    let text = show::past(&past, &moment, &Roster::default(), at(500));
    for words in
        ["automatic rollback to run 1: step ship", "edit by ada", "2/2", "1/2 (1 failed)", "creation by ada"]
    {
        assert!(text.contains(words), "{words} is missing in:\n{text}");
    }
}

/// Broken: runs that were taken away as old never happened.
#[test]
fn what_isnt_kept_comes_from_the_record() {
    let mut done = entry(120, "StepSucceeded", "web-uid-1", "web-a");
    done.targets.insert("succeeded".to_owned(), vec!["m1/demo".to_owned()]);
    done.targets.insert("skipped".to_owned(), vec!["m2/demo (Unreachable)".to_owned()]);
    let mut late = entry(150, "TargetCaughtUp", "web-uid-1", "web-a");
    late.about = "m2/demo".to_owned();
    let mut ended = entry(160, "RunEnded", "web-uid-1", "web-a");
    ended.about = "succeeded".to_owned();
    let mut begun = entry(100, "RunStarted", "web-uid-1", "web-a");
    (begun.reason, begun.actor) = ("Created".to_owned(), "ada".to_owned());
    let mut approved = entry(101, "Approved", "web-uid-1", "web-a");
    approved.actor = "tom".to_owned();
    let entries = [begun, approved, done, late, ended];
    let kept = three_runs().split_off(1);
    let past = Past::of(&kept, &entries);
    assert_eq!((past.runs.len(), past.complete), (3, true));
    let first = &past.runs[2];
    assert!(first.from_record && first.outcome == "succeeded" && first.number == Some(1));
    assert_eq!(
        said(&past, 130, "m1"),
        (Some("web-a".to_owned()), "creation by ada; step ship, approved by tom".to_owned())
    );
    assert_eq!((said(&past, 130, "m2").0, said(&past, 155, "m2").0.as_deref()), (None, Some("web-a")));
    // A run that is kept says more than its record.
    let both = Past::of(&three_runs(), &[entry(100, "RunStarted", "web-1", "web-a")]);
    assert_eq!(both.runs.len(), 3);
}

/// Broken: what is from before the record is told as if nothing had been there.
#[test]
fn what_is_before_the_record_isnt_made_up() {
    let kept = three_runs().split_off(1);
    let past = Past::of(&kept, &[]);
    assert!(!past.complete);
    assert!(past.begins_after(at(150)));
    assert!(!past.begins_after(at(205)));
    let moment = Moment::of(&past, at(205));
    let first = &moment.targets[0];
    assert_eq!((first.revision.clone(), first.known), (None, false));
    assert!(show::moment(&moment, &Roster::default(), at(205)).contains("not known"));
    assert!(show::past(&past, &moment, &Roster::default(), at(500)).contains("isn't on record"));
}

/// Broken: targets that were cleared, clusters that left and Applications that were deleted still run something.
#[test]
fn what_is_gone_runs_nothing() {
    use TargetPhase::{Removed, Succeeded};
    let mut cleared = target("m2", Succeeded, 201, Some(220));
    cleared.cleared = true;
    let runs = [
        run(
            1,
            "web-a",
            "Created",
            RunPhase::Succeeded,
            ["m1", "m2", "m3"].map(|name| target(name, Succeeded, 101, Some(110))).to_vec(),
        ),
        run(
            2,
            "web-b",
            "RevisionChanged",
            RunPhase::Succeeded,
            vec![target("m1", Succeeded, 201, Some(210)), cleared, target("m3", Removed, 201, Some(215))],
        ),
    ];
    let mut gone = entry(300, "ApplicationDeleted", "", "");
    gone.step.clear();
    let past = Past::of(&runs, &[gone]);
    assert_eq!(said(&past, 230, "m2"), (None, "cleared: edit by ada; step ship, approved by mia".to_owned()));
    assert_eq!(said(&past, 230, "m3"), (None, "the cluster left the fleet".to_owned()));
    assert_eq!(said(&past, 230, "m1").0.as_deref(), Some("web-b"));
    let (revision, why) = said(&past, 301, "m1");
    assert!(revision.is_none() && why.contains("was deleted at"), "{why}");
}
