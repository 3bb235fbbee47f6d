use std::collections::BTreeMap;

use fleet_api::{
    Application, ApplicationSpec, Inventory, Run, RunSpec, RunStatus, SkipRecord, StepState, Target,
    TargetPhase, TargetState,
};
use jiff::Timestamp;

use super::{Seen, derive};

/// A step over so many targets, each with something to say.
fn run(targets: usize) -> Run {
    let state = |n: usize| {
        let phase = match n % 100 {
            0 => TargetPhase::Failed,
            1 => TargetPhase::Skipped,
            2..=10 => TargetPhase::Waiting,
            11..=40 => TargetPhase::Succeeded,
            _ => TargetPhase::Pending,
        };
        TargetState {
            phase,
            reason: "WaitingForTurn".to_owned(),
            message: format!("waits for its turn: {n} of {targets}, at most 90 at once"),
            skipped: (n % 100 == 1).then(SkipRecord::default),
            started_at: Some(Timestamp::UNIX_EPOCH),
            ended_at: Some(Timestamp::UNIX_EPOCH),
            seal: "0123456789abcdef0123456789abcdef".to_owned(),
            ..TargetState::pending(Target::new(format!("a-cluster-with-a-long-name-{n}"), "payments"))
        }
    };
    let step = StepState {
        name: "everywhere".to_owned(),
        targets: (0..targets).map(state).collect(),
        ..StepState::default()
    };
    let mut run = Run::new("web-1", RunSpec::default());
    run.status = Some(RunStatus { steps: vec![step], ..RunStatus::default() });
    run
}

/// etcd takes 1.5 MiB, and every watcher of Applications pays for each byte: status stays small however many clusters
/// there are, and the record of a run stays within what can be stored.
#[test]
fn status_is_compact_at_a_thousand_targets() {
    let run = run(1000);
    let app = Application::new("web", ApplicationSpec::default());
    let seen = Seen {
        record: None,
        app: &app,
        run: Some(&run),
        revision: None,
        problem: None,
        behind: None,
        left: None,
        refused: None,
        queued: None,
        taking_over: None,
        services: Vec::new(),
        drift: Vec::new(),
        held: Vec::new(),
        unanswerable: None,
        progress: BTreeMap::new(),
        inventory: &Inventory::default(),
        deleting: None,
    };
    let status = derive(&seen, Timestamp::UNIX_EPOCH);
    let step = &status.workflow.as_ref().unwrap().steps[0];
    assert_eq!(
        (step.targets_total, step.targets_succeeded, step.targets_failed, step.targets_skipped),
        (1000, 300, 10, 10)
    );
    let phases: Vec<&str> = step.targets.iter().map(|target| target.phase.as_str()).collect();
    assert_eq!(phases.len(), 100);
    assert!(phases[..90].iter().all(|phase| *phase == "waiting"), "{phases:?}");
    assert!(phases[90..].iter().all(|phase| *phase == "failed"), "{phases:?}");
    let bytes = serde_json::to_vec(&status).unwrap().len();
    assert!(bytes < 48 * 1024, "{bytes} bytes");
    let record = serde_json::to_vec(&run).unwrap().len();
    assert!(record < 640 * 1024, "{record} bytes");
}
