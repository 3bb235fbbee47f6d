//! What a Run says that happened, as entries for its Application's record. A pure function of the Run: whatever stands
//! there can be recorded later as well, after a crash too.

use std::collections::BTreeMap;

use fleet_api::run::RunSpec;
use fleet_api::{
    ApprovalRecord, AuditEntry, Deed, GateBefore, Run, RunPhase, StepPhase, StepState, TargetPhase,
    TargetState,
};
use jiff::Timestamp;
use kube::ResourceExt as _;

/// The event that ends what a Run has to say.
pub(crate) const RUN_ENDED: &str = "RunEnded";
/// Events after which the record is written at once: somebody decides, decided, or everything is over. What else
/// happened goes along with them.
const AT_ONCE: [&str; 12] = [
    "RunSuspended",
    "RunResumed",
    "GateShut",
    "Approved",
    "Rejected",
    "ApprovalRefused",
    "WindowOverridden",
    "StepFailed",
    "TargetSkipped",
    "TargetRetried",
    "TargetCaughtUp",
    RUN_ENDED,
];

/// Why a decision doesn't count of which it is proved who made it.
const AFTER_PROOF: [&str; 4] = ["NotInGroup", "Author", "AuthorUnknown", "Duplicate"];

/// Whether an entry is worth a request of its own.
pub(crate) fn is_urgent(entry: &AuditEntry) -> bool {
    // That nobody, or somebody, took something back is a decision.
    let back = matches!(entry.reason.as_str(), "Rollback" | "AutomaticRollback");
    AT_ONCE.contains(&entry.event.as_str()) || entry.event == "RunStarted" && back
}

/// Everything that a Run says that happened so far, in order. Numbers and hashes are missing.
pub(crate) fn in_run(run: &Run) -> Vec<AuditEntry> {
    let Some(status) = &run.status else { return Vec::new() };
    let Some(started) = status.started_at else { return Vec::new() };
    let entry = |at: Timestamp, event: &str| AuditEntry {
        at,
        event: event.to_owned(),
        run: run.name_any(),
        revision: run.spec.revision.clone(),
        ..AuditEntry::default()
    };
    let mut all = vec![AuditEntry {
        actor: started_by(&run.spec),
        // Admission wrote down who changes content, and takes it from nobody; who asks to go back says so themselves.
        proven: run.spec.changed_by.is_some() && run.spec.goes_back().is_none(),
        reason: run.spec.cause.clone(),
        message: asked(&run.spec),
        ..entry(started, "RunStarted")
    }];
    // A run that serves joiners has nothing to do in the other steps.
    for step in status.steps.iter().filter(|step| step.reason != "NoClusterJoined") {
        let entry = |at: Timestamp, event: &str| AuditEntry {
            step: step.name.clone(),
            plan_hash: step.plan_hash.clone(),
            ..entry(at, event)
        };
        at_gate(step, &entry, &mut all);
        about_targets(step, &entry, &mut all);
        if let Some(window) = &step.window_override {
            let message = window.reason.clone();
            let (actor, at) = (window.by.clone(), window.at.unwrap_or(started));
            all.push(AuditEntry { actor, message, ..entry(at, "WindowOverridden") });
        }
        if let Some(at) = step.started_at {
            all.push(entry(at, "StepStarted"));
        }
        if let Some(at) = step.ended_at {
            all.push(AuditEntry {
                reason: step.reason.clone(),
                message: step.message.clone(),
                targets: outcome(&step.targets),
                ..entry(at, ended(step.phase))
            });
        }
    }
    for one in &status.interventions {
        let event = match one.deed {
            Deed::Suspended => "RunSuspended",
            Deed::Resumed => "RunResumed",
            Deed::Terminated => "RunTerminated",
        };
        all.push(AuditEntry { actor: one.by.clone(), ..entry(one.at.unwrap_or(started), event) });
    }
    // Steps run side by side; what happened at one instant stays in the order of the steps.
    all.sort_by_key(|entry| entry.at);
    if status.phase.is_over() {
        let at = status.ended_at.unwrap_or(started);
        all.push(AuditEntry {
            reason: if status.reason.is_empty() {
                status.phase.as_str().to_owned()
            } else {
                status.reason.clone()
            },
            message: if status.phase == RunPhase::Succeeded { String::new() } else { status.message.clone() },
            about: status.phase.as_str().to_owned(),
            ..entry(at, RUN_ENDED)
        });
    }
    all
}

fn ended(phase: StepPhase) -> &'static str {
    match phase {
        StepPhase::Failed => "StepFailed",
        StepPhase::Skipped => "StepSkipped",
        _ => "StepSucceeded",
    }
}

fn started_by(spec: &RunSpec) -> String {
    match spec.goes_back() {
        None => spec.changed_by.clone().unwrap_or_default(),
        Some(rollback) => rollback.requested_by.clone(),
    }
}

/// What was asked for.
fn asked(spec: &RunSpec) -> String {
    let mut said: Vec<String> = Vec::new();
    if let Some(rollback) = spec.goes_back() {
        said.push(format!("back from {}", rollback.replaced));
        said.extend((!rollback.reason.is_empty()).then(|| rollback.reason.clone()));
        return said.join("; ");
    }
    said.extend(spec.publish_version.as_ref().map(|version| format!("publishVersion {version}")));
    said.extend((!spec.restart_by.is_empty()).then(|| format!("restart asked for by {}", spec.restart_by)));
    said.extend(spec.queued_since.map(|since| format!("waited for the run before since {since}")));
    let skipped = &spec.skipped_revisions;
    said.extend((!skipped.is_empty()).then(|| format!("never run before it: {}", skipped.join(", "))));
    let others: Vec<&str> = spec
        .authors
        .iter()
        .map(String::as_str)
        .filter(|author| Some(*author) != spec.changed_by.as_deref())
        .collect();
    let also = if spec.changed_by.is_some() { "also changed" } else { "content" };
    said.extend((!others.is_empty()).then(|| format!("{also} by {}", others.join(", "))));
    said.join("; ")
}

fn at_gate(step: &StepState, entry: &dyn Fn(Timestamp, &str) -> AuditEntry, all: &mut Vec<AuditEntry>) {
    let Some(gate) = &step.gate else { return };
    let Some(since) = gate.since else { return };
    // The plan may be made anew while the gate waits; each is on record.
    let plan_hash = gate.plan_hash.clone();
    let message = match gate.before {
        GateBefore::Step => "",
        GateBefore::Deletes => "before it deletes a target's last workload",
    };
    let message = message.to_owned();
    all.push(AuditEntry { about: plan_hash.clone(), plan_hash, message, ..entry(since, "GateShut") });
    for refusal in &gate.refused {
        all.push(AuditEntry {
            about: refusal.approval.clone(),
            actor: refusal.approver.clone(),
            // Records of earlier versions don't say it.
            proven: refusal.proven || AFTER_PROOF.contains(&refusal.reason.as_str()),
            reason: refusal.reason.clone(),
            message: refusal.message.clone(),
            plan_hash: String::new(),
            // What was decided before the gate was there is refused with it.
            ..entry(refusal.at.map_or(since, |at| at.max(since)), "ApprovalRefused")
        });
    }
    let decided = |decision: &ApprovalRecord, event: &str| AuditEntry {
        about: decision.approval.clone(),
        actor: decision.approver.clone(),
        proven: decision.proven,
        message: decision.reason.clone(),
        plan_hash: decision.plan_hash.clone(),
        ..entry(decision.at.unwrap_or(since), event)
    };
    // Who opened it is one of those who agreed, where several had to.
    let opened = gate.approval.iter().filter(|_| gate.approvals.is_empty());
    all.extend(gate.approvals.iter().chain(opened).map(|approval| decided(approval, "Approved")));
    all.extend(gate.rejection.iter().map(|rejection| decided(rejection, "Rejected")));
}

/// What happened to single targets beside the step's own end.
fn about_targets(step: &StepState, entry: &dyn Fn(Timestamp, &str) -> AuditEntry, all: &mut Vec<AuditEntry>) {
    for state in &step.targets {
        let about = place(state);
        if let Some(skip) = &state.skipped
            && let Some(at) = skip.at
        {
            all.push(AuditEntry {
                about: about.clone(),
                actor: skip.by.clone(),
                message: skip.reason.clone(),
                ..entry(at, "TargetSkipped")
            });
        }
        if let Some(retry) = &state.retry
            && let Some(at) = retry.at
        {
            let (about, actor) = (about.clone(), retry.by.clone());
            all.push(AuditEntry { about, actor, ..entry(at, "TargetRetried") });
        }
        if let Some(at) = state.ended_at.filter(|_| state.late && state.phase == TargetPhase::Succeeded) {
            let actor = state.retry.as_ref().map(|retry| retry.by.clone()).unwrap_or_default();
            all.push(AuditEntry { about, actor, ..entry(at, "TargetCaughtUp") });
        }
    }
}

fn place(state: &TargetState) -> String {
    format!("{}/{}", state.target.cluster, state.target.namespace)
}

/// The targets of a step, by how they stood when it ended: who catches up does so after it.
fn outcome(targets: &[TargetState]) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for state in targets {
        let place = place(state);
        let phase = state.left_as.unwrap_or(state.phase);
        // Words about what came after it are about something else.
        let silent = state.reason.is_empty() || phase != state.phase;
        let said = if silent { place } else { format!("{place} ({})", state.reason) };
        let cleared = state.cleared && phase == TargetPhase::Succeeded;
        let how = if cleared { "cleared" } else { phase.as_str() };
        all.entry(how.to_owned()).or_default().push(said);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_api::{Gate, Intervention, RetryRecord, RunStatus, SkipRecord, Target, WindowOverride};

    /// Who broke a freeze, left a target out or took it back is what an auditor asks first.
    #[test]
    fn who_decided_about_single_targets_and_windows_is_told() {
        let by = |who: &str| who.to_owned();
        let mut late = TargetState::pending(Target::new("m1", "demo"));
        (late.phase, late.late, late.ended_at) = (TargetPhase::Succeeded, true, at(40));
        late.retry = Some(RetryRecord { by: by("ann"), at: at(30) });
        let mut left = TargetState::pending(Target::new("m2", "demo"));
        left.skipped = Some(SkipRecord { by: by("ben"), at: at(20), held: true, ..SkipRecord::default() });
        let returned = TargetState { retry: None, ended_at: at(50), ..late.clone() };
        let step = StepState {
            name: "production".to_owned(),
            targets: vec![late, left, returned],
            window_override: Some(WindowOverride { by: by("cleo"), reason: by("INC"), at: at(10) }),
            ..StepState::default()
        };
        let mut run = Run::new("web-1", RunSpec::default());
        run.spec.restart_by = by("dan");
        let interventions = vec![Intervention { deed: Deed::Suspended, by: by("eve"), at: at(60) }];
        let steps = vec![step];
        run.status = Some(RunStatus { started_at: at(1), interventions, steps, ..RunStatus::default() });
        let told = in_run(&run);
        assert_eq!(told[0].message, "restart asked for by dan");
        let told: Vec<(&str, &str)> =
            told.iter().skip(1).map(|entry| (entry.event.as_str(), entry.actor.as_str())).collect();
        assert_eq!(
            told,
            [
                ("WindowOverridden", "cleo"),
                ("TargetSkipped", "ben"),
                ("TargetRetried", "ann"),
                ("TargetCaughtUp", "ann"),
                // It answered again: nobody asked.
                ("TargetCaughtUp", ""),
                ("RunSuspended", "eve"),
            ]
        );
    }

    /// Broken: a decision is on record at the time when the gate shut, of somebody who was proved as not proved, and a
    /// target that was passed over as on its way, since somebody asked for it before the step's end was written.
    #[test]
    fn what_came_later_changes_nothing_about_what_was() {
        let refused = |second: i64, proven: bool, reason: &str| fleet_api::Refusal {
            approval: format!("a{second}"),
            approver: "bob".to_owned(),
            reason: reason.to_owned(),
            at: at(second),
            proven,
            ..fleet_api::Refusal::default()
        };
        let gate = Gate {
            since: at(10),
            refused: vec![
                refused(5, true, "StalePlan"),
                refused(20, true, "OtherStep"),
                refused(30, false, "NotProven"),
            ],
            ..Gate::default()
        };
        let mut late = TargetState::pending(Target::new("m1", "demo"));
        (late.phase, late.late) = (TargetPhase::Delivering, true);
        (late.left_as, late.reason) = (Some(TargetPhase::Skipped), "Unreachable".to_owned());
        let step = StepState {
            phase: StepPhase::Succeeded,
            ended_at: at(40),
            gate: Some(gate),
            targets: vec![late],
            ..StepState::default()
        };
        let mut run = Run::new("web-1", RunSpec::default());
        run.status = Some(RunStatus { started_at: at(1), steps: vec![step], ..RunStatus::default() });
        let told = in_run(&run);
        let refused: Vec<_> = told.iter().filter(|entry| entry.event == "ApprovalRefused").collect();
        let facts: Vec<_> = refused.iter().map(|entry| (Some(entry.at), entry.proven)).collect();
        assert_eq!(facts, [(at(10), true), (at(20), true), (at(30), false)]);
        let ended = told.iter().find(|entry| entry.event == "StepSucceeded").unwrap();
        assert_eq!(ended.targets, BTreeMap::from([("skipped".to_owned(), vec!["m1/demo".to_owned()])]));
    }

    fn at(second: i64) -> Option<Timestamp> {
        Timestamp::from_second(second).ok()
    }

    /// An auditor asks who let what in, and what became of it; what isn't in the record didn't happen.
    #[test]
    fn a_run_is_told_in_order() {
        let target =
            TargetState { phase: TargetPhase::Succeeded, ..TargetState::pending(Target::new("m1", "demo")) };
        let approval = ApprovalRecord {
            approval: "web-approval".to_owned(),
            approver: "mia".to_owned(),
            proven: true,
            plan_hash: "8c1f".to_owned(),
            at: at(20),
            ..ApprovalRecord::default()
        };
        let step = StepState {
            name: "production".to_owned(),
            phase: StepPhase::Succeeded,
            plan_hash: "8c1f".to_owned(),
            gate: Some(Gate {
                plan_hash: "8c1f".to_owned(),
                since: at(11),
                approval: Some(approval),
                ..Gate::default()
            }),
            started_at: at(20),
            ended_at: at(30),
            targets: vec![target],
            ..StepState::default()
        };
        let status = RunStatus {
            phase: RunPhase::Succeeded,
            started_at: at(10),
            ended_at: at(30),
            steps: vec![step],
            ..RunStatus::default()
        };
        let mut run = Run::new("web-1", RunSpec { revision: "web-abc".to_owned(), ..RunSpec::default() });
        run.status = Some(status);
        let told = in_run(&run);
        let events: Vec<&str> = told.iter().map(|entry| entry.event.as_str()).collect();
        assert_eq!(
            events,
            ["RunStarted", "GateShut", "Approved", "StepStarted", "StepSucceeded", "RunEnded"]
        );
        assert_eq!(
            (told[2].actor.as_str(), told[2].proven, told[2].plan_hash.as_str()),
            ("mia", true, "8c1f")
        );
        assert_eq!(told[4].targets["succeeded"], ["m1/demo"]);
        let mut keys: Vec<_> = told.iter().map(AuditEntry::key).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), told.len(), "each is told from the others");
    }
}
