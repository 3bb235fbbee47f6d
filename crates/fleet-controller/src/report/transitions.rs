//! What changed between two states of a run, told once: to the log, the counters and as Kubernetes Events.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_api::{
    Application, ApprovalRecord, Gate, GateBefore, Refusal, Run, RunPhase, RunStatus, StepPhase, StepState,
    Target, TargetPhase, TargetState,
};
use fleet_json::few;
use kube::ResourceExt as _;
use kube::runtime::events::EventType;

use crate::context::Context;
use crate::report::events;

/// How many targets a note names.
const NAMED: usize = 8;
/// The reason of a target that doesn't answer.
const UNREACHABLE: &str = "Unreachable";

/// Something happened in a run.
#[derive(Debug, PartialEq)]
pub(crate) enum Transition<'a> {
    Started,
    /// A gate was shut before what a step deletes.
    Shut(&'a StepState),
    /// A decision counts at a gate, which waits for more.
    Counted(&'a StepState, &'a ApprovalRecord),
    /// A decision doesn't count.
    Refused(&'a StepState, &'a Refusal),
    /// A gate was opened.
    Approved(&'a StepState, &'a ApprovalRecord),
    /// Somebody said no.
    Rejected(&'a StepState, &'a ApprovalRecord),
    /// A try of a step failed, and there will be another.
    Retrying(&'a StepState),
    /// A step came into another phase.
    Step(&'a StepState),
    /// Targets of a step: what happened to them.
    Targets(&'a StepState, News, Vec<&'a TargetState>),
    Ended,
}

/// What happened to a target, where somebody may want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum News {
    Failed,
    Skipped,
    Unreachable,
    Back,
    Left,
}

/// What lies between two states, in the order of telling; before the first state there was none.
pub(crate) fn between<'a>(before: Option<&RunStatus>, after: &'a RunStatus) -> Vec<Transition<'a>> {
    let mut all = Vec::new();
    if before.is_none() {
        all.push(Transition::Started);
    }
    for (index, step) in after.steps.iter().enumerate() {
        let was = before.and_then(|before| before.steps.get(index)).filter(|was| was.name == step.name);
        all.extend(at_gate(was.and_then(|was| was.gate.as_ref()), step));
        let approval = step.gate.as_ref().and_then(|gate| gate.approval.as_ref());
        let had_approval = was.and_then(|was| was.gate.as_ref()).is_some_and(|gate| gate.approval.is_some());
        all.extend(approval.filter(|_| !had_approval).map(|approval| Transition::Approved(step, approval)));
        // A run that serves joiners has nothing to do in the other steps.
        let idle = was.is_none() && step.reason == "NoClusterJoined";
        let moved = !idle && was.map_or(StepPhase::Pending, |was| was.phase) != step.phase;
        // What ended is told after the targets that it ended with.
        if moved && !step.phase.is_over() {
            all.push(Transition::Step(step));
        }
        for (news, targets) in targets(was, step) {
            all.push(Transition::Targets(step, news, targets));
        }
        if step.attempts > was.map_or(0, |was| was.attempts) && step.retry_at.is_some() {
            all.push(Transition::Retrying(step));
        }
        if moved && step.phase.is_over() {
            all.push(Transition::Step(step));
        }
    }
    if after.phase.is_over() && before.is_none_or(|before| !before.phase.is_over()) {
        all.push(Transition::Ended);
    }
    all
}

/// What happened at a step's gate, but for its opening.
fn at_gate<'a>(was: Option<&Gate>, step: &'a StepState) -> Vec<Transition<'a>> {
    let Some(gate) = &step.gate else { return Vec::new() };
    let mut all = Vec::new();
    if was.is_none() && gate.before == GateBefore::Deletes {
        all.push(Transition::Shut(step));
    }
    let counted = |record: &&ApprovalRecord| {
        was.is_none_or(|was| was.approvals.iter().all(|known| known.approval != record.approval))
            && gate.approval.as_ref().is_none_or(|opening| opening.approval != record.approval)
    };
    all.extend(gate.approvals.iter().filter(counted).map(|record| Transition::Counted(step, record)));
    let refused = |refusal: &&Refusal| was.is_none_or(|was| !was.refused.contains(refusal));
    all.extend(gate.refused.iter().filter(refused).map(|refusal| Transition::Refused(step, refusal)));
    let no = gate.rejection.as_ref().filter(|_| was.is_none_or(|was| was.rejection.is_none()));
    all.extend(no.map(|no| Transition::Rejected(step, no)));
    all
}

fn targets<'a>(was: Option<&StepState>, step: &'a StepState) -> BTreeMap<News, Vec<&'a TargetState>> {
    let mut before: BTreeMap<&Target, &TargetState> = BTreeMap::new();
    for state in was.iter().flat_map(|was| &was.targets) {
        before.insert(&state.target, state);
    }
    let mut all: BTreeMap<News, Vec<&TargetState>> = BTreeMap::new();
    for state in &step.targets {
        let was = before.get(&state.target);
        let is_unreachable = |state: &TargetState| {
            let open = !state.phase.is_over() || state.phase == TargetPhase::Skipped;
            open && state.reason == UNREACHABLE
        };
        let was_unreachable = was.is_some_and(|was| is_unreachable(was));
        let entered = |phase: TargetPhase| state.phase == phase && was.is_none_or(|was| was.phase != phase);
        let news = if entered(TargetPhase::Failed) {
            News::Failed
        } else if entered(TargetPhase::Removed) {
            News::Left
        } else if entered(TargetPhase::Skipped) {
            News::Skipped
        } else if is_unreachable(state) && !was_unreachable {
            News::Unreachable
        } else if was_unreachable && !is_unreachable(state) {
            News::Back
        } else {
            continue;
        };
        all.entry(news).or_default().push(state);
    }
    all
}

/// Tells what lies between two states of a run.
pub(crate) fn tell(ctx: &Arc<Context>, app: &Application, before: Option<&RunStatus>, run: &Run) {
    let Some(after) = &run.status else { return };
    for transition in between(before, after) {
        count(ctx, run, after, &transition);
        let Said { type_, reason, subject, note } = said(run, after, &transition);
        log(app, run, type_, reason, &subject, &note);
        // A step that is over without having acted is said by what ended it.
        let silent = matches!(&transition, Transition::Step(step) if step.phase == StepPhase::Skipped);
        if !silent {
            events::about_run(ctx, app, run, type_, reason, &subject, note);
        }
    }
}

/// A transition in words.
struct Said {
    type_: EventType,
    reason: &'static str,
    /// The step, where it is about one.
    subject: String,
    note: String,
}

fn said(run: &Run, after: &RunStatus, transition: &Transition<'_>) -> Said {
    let (type_, reason, subject, note) = match transition {
        Transition::Started if run.spec.goes_back().is_some() => {
            let rollback = run.spec.goes_back().cloned().unwrap_or_default();
            let why =
                if rollback.reason.is_empty() { String::new() } else { format!(": {}", rollback.reason) };
            let note = format!(
                "run {} goes back from {} to revision {} ({}){why}",
                run.name_any(),
                rollback.replaced,
                run.spec.revision,
                rollback.by()
            );
            let type_ = if rollback.automatic { EventType::Warning } else { EventType::Normal };
            (type_, "RollbackStarted", "", note)
        }
        Transition::Started => {
            let note = format!(
                "run {} begins with revision {} ({})",
                run.name_any(),
                run.spec.revision,
                run.spec.cause
            );
            (EventType::Normal, "WorkflowStarted", "", note)
        }
        Transition::Shut(step) => {
            (EventType::Normal, "WaitingForApproval", step.name.as_str(), step.message.clone())
        }
        Transition::Counted(step, record) => {
            let gate = step.gate.clone().unwrap_or_default();
            let (had, wanted) = (gate.approvals.len(), gate.required.unwrap_or(1));
            let note = format!(
                "step {}: plan {} approved by {} ({had} of {wanted})",
                step.name, record.plan_hash, record.approver
            );
            (EventType::Normal, "ApprovalCounted", step.name.as_str(), note)
        }
        Transition::Refused(step, refusal) => {
            let note = format!(
                "step {}: the decision of {} ({}) doesn't count: {}",
                step.name, refusal.approver, refusal.approval, refusal.message
            );
            (EventType::Warning, "ApprovalRefused", step.name.as_str(), note)
        }
        Transition::Rejected(step, no) => {
            let proof = if no.proven { "" } else { " (not proved)" };
            let why = if no.reason.is_empty() { String::new() } else { format!(": {}", no.reason) };
            let note =
                format!("step {}: plan {} rejected by {}{proof}{why}", step.name, no.plan_hash, no.approver);
            (EventType::Warning, "Rejected", step.name.as_str(), note)
        }
        Transition::Approved(step, approval) => {
            let proof = if approval.proven { "" } else { " (not proved)" };
            let why =
                if approval.reason.is_empty() { String::new() } else { format!(": {}", approval.reason) };
            let note = format!(
                "step {}: plan {} approved by {}{proof}{why}",
                step.name, approval.plan_hash, approval.approver
            );
            (EventType::Normal, "Approved", step.name.as_str(), note)
        }
        Transition::Retrying(step) => {
            let note = format!("step {}: {}", step.name, step.message);
            (EventType::Warning, "StepRetrying", step.name.as_str(), note)
        }
        Transition::Step(step) => {
            let (type_, reason) = match step.phase {
                StepPhase::Suspending => (EventType::Normal, "WaitingForApproval"),
                StepPhase::Failed => (EventType::Warning, "StepFailed"),
                StepPhase::Succeeded => (EventType::Normal, "StepSucceeded"),
                StepPhase::Skipped => (EventType::Normal, "StepSkipped"),
                StepPhase::Pending | StepPhase::Running => (EventType::Normal, "StepStarted"),
            };
            let note = match step.phase {
                StepPhase::Running => format!("step {} acts on {} targets", step.name, step.targets.len()),
                _ if step.message.is_empty() => format!("step {} {}", step.name, step.phase.as_str()),
                _ if step.message.contains(&step.name) => step.message.clone(),
                _ => format!("step {}: {}", step.name, step.message),
            };
            (type_, reason, step.name.as_str(), note)
        }
        Transition::Targets(step, news, targets) => {
            let (type_, reason, what) = match news {
                News::Failed => (EventType::Warning, "TargetFailed", "failed on"),
                News::Skipped => (EventType::Warning, "TargetSkipped", "passes over"),
                News::Unreachable => (EventType::Warning, "TargetUnreachable", "waits for"),
                News::Back => (EventType::Normal, "TargetReachable", "goes on with"),
                News::Left => (EventType::Normal, "TargetRemoved", "goes on without"),
            };
            let note = format!("step {} {what} {}", step.name, named(targets));
            (type_, reason, step.name.as_str(), note)
        }
        Transition::Ended => {
            let (type_, reason) = match after.phase {
                RunPhase::Failed => (EventType::Warning, "WorkflowFailed"),
                RunPhase::Terminated => (EventType::Normal, "WorkflowTerminated"),
                RunPhase::Superseded => (EventType::Normal, "WorkflowSuperseded"),
                RunPhase::Succeeded | RunPhase::Executing | RunPhase::Suspending => {
                    (EventType::Normal, "WorkflowSucceeded")
                }
            };
            let message =
                if after.message.is_empty() { String::new() } else { format!(": {}", after.message) };
            let note = format!(
                "run {} with revision {} {}{message}",
                run.name_any(),
                run.spec.revision,
                after.phase.as_str()
            );
            (type_, reason, "", note)
        }
    };
    Said { type_, reason, subject: subject.to_owned(), note }
}

/// The first targets, each with what is the matter, and how many more there are.
fn named(targets: &[&TargetState]) -> String {
    let one = |state: &&TargetState| {
        let why = if state.message.is_empty() { String::new() } else { format!(" ({})", state.message) };
        format!("{}{why}", state.target)
    };
    few(targets.iter().map(one), NAMED)
}

fn log(app: &Application, run: &Run, type_: EventType, reason: &str, step: &str, note: &str) {
    let (namespace, application, run) = (app.namespace().unwrap_or_default(), app.name_any(), run.name_any());
    match type_ {
        EventType::Warning => tracing::warn!(namespace, application, run, step, reason, "{note}"),
        EventType::Normal => tracing::info!(namespace, application, run, step, reason, "{note}"),
    }
}

fn count(ctx: &Context, run: &Run, after: &RunStatus, transition: &Transition<'_>) {
    let metrics = &ctx.options.metrics;
    match transition {
        Transition::Started => metrics.run_started(&run.spec.cause),
        Transition::Approved(step, approval) => {
            metrics.approved(approval, step.gate.as_ref().and_then(|gate| gate.since));
        }
        Transition::Step(step) => {
            metrics.step_moved(&step.type_, step.phase);
            if step.phase.is_over() {
                metrics.step_ended(&step.type_, step.phase, step.started_at, step.ended_at);
            }
        }
        Transition::Targets(..)
        | Transition::Shut(_)
        | Transition::Retrying(_)
        | Transition::Counted(..)
        | Transition::Refused(..)
        | Transition::Rejected(..) => {}
        Transition::Ended => metrics.run_ended(after.phase, after.started_at, after.ended_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(phase: StepPhase, targets: &[(&str, TargetPhase, &str)]) -> StepState {
        let state = |(cluster, phase, reason): &(&str, TargetPhase, &str)| TargetState {
            phase: *phase,
            reason: (*reason).to_owned(),
            ..TargetState::pending(Target::new(*cluster, "demo"))
        };
        StepState {
            name: "first".to_owned(),
            phase,
            targets: targets.iter().map(state).collect(),
            ..StepState::default()
        }
    }

    fn run(phase: RunPhase, steps: Vec<StepState>) -> RunStatus {
        RunStatus { phase, steps, ..RunStatus::default() }
    }

    /// Each turn hands two states over; a transition told twice is an Event too many, one not told is missed by
    /// whoever is paged.
    #[test]
    fn each_transition_is_told_once() {
        use TargetPhase::{Delivering, Failed, Pending};
        let first = run(RunPhase::Suspending, vec![step(StepPhase::Suspending, &[("m1", Pending, "")])]);
        assert_eq!(between(None, &first), [Transition::Started, Transition::Step(&first.steps[0])]);
        assert_eq!(between(Some(&first), &first), []);

        let mut approved =
            run(RunPhase::Executing, vec![step(StepPhase::Running, &[("m1", Delivering, "")])]);
        let approval = ApprovalRecord { approver: "mia".to_owned(), ..ApprovalRecord::default() };
        approved.steps[0].gate = Some(Gate { approval: Some(approval.clone()), ..Gate::default() });
        let told = between(Some(&first), &approved);
        assert_eq!(
            told,
            [Transition::Approved(&approved.steps[0], &approval), Transition::Step(&approved.steps[0])]
        );

        let mut gone = approved.clone();
        gone.steps[0].targets[0].reason = "Unreachable".to_owned();
        assert!(matches!(
            between(Some(&approved), &gone)[..],
            [Transition::Targets(_, News::Unreachable, _)]
        ));
        assert_eq!(between(Some(&gone), &gone), []);
        assert!(matches!(between(Some(&gone), &approved)[..], [Transition::Targets(_, News::Back, _)]));

        let mut failed = gone.clone();
        failed.steps[0].targets[0].phase = Failed;
        failed.steps[0].phase = StepPhase::Failed;
        failed.phase = RunPhase::Failed;
        assert!(matches!(
            between(Some(&gone), &failed)[..],
            [Transition::Targets(_, News::Failed, _), Transition::Step(_), Transition::Ended]
        ));
    }

    /// Broken: a step fails again and again, and nobody hears of it before the last try.
    #[test]
    fn a_try_that_failed_is_told() {
        let acts = run(RunPhase::Executing, vec![step(StepPhase::Running, &[])]);
        let mut failed = acts.clone();
        failed.steps[0].attempts = 1;
        failed.steps[0].retry_at = jiff::Timestamp::from_second(60).ok();
        assert_eq!(between(Some(&acts), &failed), [Transition::Retrying(&failed.steps[0])]);
        assert_eq!(between(Some(&failed), &failed), []);
        let mut next = failed.clone();
        next.steps[0].retry_at = None;
        assert_eq!(between(Some(&failed), &next), [], "the next try is no news");
    }

    /// With 1,000 targets down the note must stay readable, and within what the API takes.
    #[test]
    fn notes_name_the_first_targets() {
        let targets: Vec<(String, TargetPhase)> =
            (0..20).map(|n| (format!("m{n}"), TargetPhase::Failed)).collect();
        let listed: Vec<_> = targets.iter().map(|(name, phase)| (name.as_str(), *phase, "")).collect();
        let step = step(StepPhase::Failed, &listed);
        let all: Vec<&TargetState> = step.targets.iter().collect();
        assert!(named(&all).ends_with("12 more"), "{}", named(&all));
    }
}
