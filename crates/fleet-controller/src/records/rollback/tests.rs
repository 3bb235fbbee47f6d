use super::*;
use fleet_api::run::RunSpec;
use fleet_api::{Rollback, RunStatus, StepState};

fn run(number: i64, revision: &str, phase: RunPhase) -> Run {
    let spec = RunSpec {
        application: "web".to_owned(),
        revision: revision.to_owned(),
        number,
        ..RunSpec::default()
    };
    let mut run = Run::new(&format!("web-{number}"), spec);
    run.metadata.namespace = Some("demo".to_owned());
    run.status = Some(RunStatus { phase, ..RunStatus::default() });
    run
}

fn back(number: i64, revision: &str, to: i64, phase: RunPhase) -> Run {
    let mut run = run(number, revision, phase);
    run.spec.rollback = Some(Rollback { back_to: Some(to), ..Rollback::default() });
    run
}

use RunPhase::{Executing, Failed, Succeeded, Superseded, Terminated};

/// Broken: a rollback brings a revision that never worked, or the one that is just being left.
#[test]
fn the_newest_that_was_completed_before_is_gone_back_to() {
    for (runs, expected) in [
        (vec![run(1, "a", Succeeded), run(2, "b", Succeeded)], Some(1)),
        (vec![run(1, "a", Succeeded), run(2, "b", Failed), run(3, "c", Executing)], Some(1)),
        // Restarts of the same revision are no earlier one.
        (vec![run(1, "a", Succeeded), run(2, "b", Succeeded), run(3, "b", Failed)], Some(1)),
        (vec![run(1, "b", Succeeded), run(2, "b", Failed)], None),
        (vec![run(1, "a", Terminated), run(2, "b", Executing)], None),
        (vec![run(1, "a", Executing)], None),
        // Twice goes back further, not forth again.
        (
            vec![
                run(1, "a", Succeeded),
                run(2, "b", Succeeded),
                run(3, "c", Succeeded),
                back(4, "b", 2, Succeeded),
            ],
            Some(1),
        ),
        (vec![run(1, "a", Succeeded), run(2, "b", Succeeded), back(3, "a", 1, Succeeded)], None),
        // What ran before a rollback and was left stays left.
        (
            vec![
                run(1, "a", Succeeded),
                run(2, "b", Succeeded),
                back(3, "a", 1, Succeeded),
                run(4, "c", Failed),
            ],
            Some(3),
        ),
    ] {
        let said: Vec<String> =
            runs.iter().map(|r| format!("{}{}", r.spec.number, r.spec.revision)).collect();
        let found = earlier(&runs, runs.last().unwrap()).map(|run| run.spec.number);
        assert_eq!(found.ok(), expected, "{said:?}");
    }
    let alone = [run(1, "a", Succeeded), run(2, "b", Failed), run(3, "a", Executing)];
    let said = earlier(&alone, &alone[2]).unwrap_err();
    assert_eq!(said.reason, "NothingToGoBackTo");
    assert!(
        said.message.contains("b (run 2, failed)") && said.message.contains("fleetctl history web -n demo")
    );
}

/// Broken: one cluster that joined, or a restart, fails, and the whole fleet loses a revision that works.
#[test]
fn by_itself_only_what_failed_is_taken_back() {
    let fine = [run(1, "a", Succeeded), run(2, "b", Failed), run(3, "c", Failed)];
    assert_eq!(last_completed(&fine, &fine[2]).map(|run| run.spec.number).ok(), Some(1));
    let same = [run(1, "a", Succeeded), run(2, "b", Succeeded), run(3, "b", Failed)];
    assert!(last_completed(&same, &same[2]).unwrap_err().message.contains("web-2 completed before"));
    let first = [run(1, "a", Failed)];
    assert!(last_completed(&first, &first[0]).unwrap_err().message.contains("no other revision is kept"));
}

/// Broken: a revision that all clusters but a dead one have counts for nothing since that one never came back.
#[test]
fn what_only_owed_something_was_completed() {
    let step = |phase, reason: &str| StepState { phase, reason: reason.to_owned(), ..StepState::default() };
    let mut owed = run(1, "a", Superseded);
    let mut with = |steps: Vec<StepState>| {
        owed.status = Some(RunStatus { phase: Superseded, steps, ..RunStatus::default() });
        is_completed(&owed)
    };
    assert!(with(vec![step(StepPhase::Succeeded, ""), step(StepPhase::Skipped, "ConditionFalse")]));
    assert!(!with(vec![step(StepPhase::Succeeded, ""), step(StepPhase::Skipped, "Superseded")]));
    assert!(!with(vec![step(StepPhase::Failed, "")]));
    assert!(!with(Vec::new()));
}

/// Broken: a rollback that changes nothing takes a place among the runs, or one that didn't get through can't be asked
/// for again.
#[test]
fn what_runs_well_isnt_gone_back_to() {
    let runs = [run(1, "a", Succeeded), back(2, "a", 1, Failed)];
    assert!(differs(&runs, &runs[1], "a").is_ok());
    assert!(differs(&runs, &runs[0], "b").is_ok());
    assert_eq!(differs(&runs, &runs[0], "a").unwrap_err().reason, "RevisionRuns");
    assert_eq!(run_of(&[run(1, "a", Succeeded), run(2, "a", Failed)], "a").map(|r| r.spec.number), Some(1));
}

/// Broken: after twenty failed runs the revision that works is gone, just when somebody wants it back.
#[test]
fn what_there_is_to_go_back_to_is_kept() {
    let mut runs = vec![run(1, "z", Succeeded), run(2, "a", Succeeded), run(3, "a", Succeeded)];
    runs.extend((4..30).map(|n| run(n, &format!("bad{n}"), Failed)));
    assert_eq!(kept(&runs), BTreeSet::from([1, 3]));
    runs.push(back(30, "a", 3, Succeeded));
    assert_eq!(kept(&runs), BTreeSet::from([1, 30]));
    assert_eq!(kept(&[run(1, "a", Executing)]), BTreeSet::new());
}
