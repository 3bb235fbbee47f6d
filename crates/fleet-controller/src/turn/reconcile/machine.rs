//! The state machine of a run: facts in, record out, then what it asks for is carried out.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleet_api::{Application, RunStatus, StepPhase, StepState, Target, TargetPhase, TargetState};
use fleet_workflow::{Advance, Command, Graph, advance};
use jiff::Timestamp;

use super::back;
use super::commands::carry_out;
use super::worth::worth_recording;
use crate::context::Context;
use crate::deliver::drift;
use crate::people::proof::powers;
use crate::plans::{PlanSource, gate_plan_of};
use crate::records::{self, RecordError};
use crate::report::transitions;
use crate::run::{joining, requests};
use crate::turn::facts;
use crate::turn::walk::{StepPlans, Walk};

/// Takes the run on: state machine, record, then what it asks for. Says when it wants another turn.
pub(crate) async fn walk_on(
    ctx: &Arc<Context>,
    app: &Application,
    walk: &mut Walk,
    superseded: bool,
) -> Result<Timestamp, RecordError> {
    let over = !walk.is_running();
    if over && (superseded || !requests::reopen(app, walk)) {
        ctx.line.ask(walk, &BTreeSet::new());
        return Ok(Timestamp::MAX);
    }
    if !over && !superseded {
        joining::append(ctx, walk).await?;
    }
    take_pruned_off_inventory(ctx, walk).await?;
    powers::ask(ctx, walk).await;
    let Some(mut next) = step_machine(ctx, app, walk, superseded) else { return Ok(Timestamp::MAX) };
    seal(walk, &mut next.status);
    if let Some(mut run) = walk.run.clone().filter(|run| run.status.as_ref() != Some(&next.status)) {
        let worth = worth_recording(run.status.as_ref(), &next.status);
        let before = run.status.replace(next.status);
        // Words about what is waited for are shown in status; the record is written when something happened.
        let run = if worth { records::replace_run(ctx, &run).await? } else { run };
        transitions::tell(ctx, app, before.as_ref(), &run);
        let now = run.status.as_ref();
        if now.is_some_and(|now| facts::others_are_done_now(before.as_ref(), now)) {
            ctx.due.wake(&walk.key);
        }
        for key in begun_anew(before.as_ref(), run.status.as_ref()) {
            walk.board.start_over(&key);
        }
        walk.run = Some(run);
        if back::failed_so(walk.run.as_ref()) {
            // What is gone back to is looked for in the next turn.
            ctx.due.wake(&walk.key);
        }
    }
    if over && walk.is_running() {
        // What it was made of was put away with its end.
        records::load_layers(ctx, walk).await?;
        ctx.due.wake(&walk.key);
    }
    // What is on record now may be given back, and what comes next is asked for.
    ctx.line.ask(walk, &next.claims);
    for command in next.commands {
        carry_out(ctx, walk, command);
    }
    // Rights have no watch: while it is said that nobody may approve, it is asked again.
    let powers = ctx.powers.again_in(walk).and_then(|left| ctx.now().checked_add(left).ok());
    Ok(next.wake_at.into_iter().chain(powers).min().unwrap_or(Timestamp::MAX))
}

/// Takes turns of the state machine until it asks for no more plans.
pub(crate) fn step_machine(
    ctx: &Context,
    app: &Application,
    walk: &mut Walk,
    superseded: bool,
) -> Option<Advance> {
    // Without its revision a run can't go on; an empty graph makes the state machine say so.
    let graph = walk.revision.as_ref().map_or_else(Graph::default, |revision| revision.graph.clone());
    loop {
        let status = walk.run_status()?.clone();
        refresh_plans(ctx, walk, &status);
        let facts = facts::gather(ctx, app, walk, superseded);
        let next = advance(&graph, &status, &facts, ctx.now());
        let wanted: Vec<String> = next
            .commands
            .iter()
            .filter_map(|command| match command {
                Command::Plan { step } => Some(step.clone()),
                _ => None,
            })
            .collect();
        if wanted.is_empty() {
            return Some(next);
        }
        for step in wanted {
            make_plan(ctx, walk, &status, &step);
        }
    }
}

/// Targets that were over and aren't any more.
fn begun_anew(before: Option<&RunStatus>, after: Option<&RunStatus>) -> Vec<(String, Target)> {
    let steps = before.zip(after).map(|(before, after)| before.steps.iter().zip(&after.steps));
    let mut anew = Vec::new();
    for (was, is) in steps.into_iter().flatten() {
        // Targets are only ever added, and stay in their order.
        let changed = was
            .targets
            .iter()
            .zip(&is.targets)
            .filter(|(was, now)| was.target == now.target && was.phase.is_over() && !now.phase.is_over());
        anew.extend(changed.map(|(_, state)| (is.name.clone(), state.target.clone())));
    }
    anew
}

/// Whether a target may still get something though its step is over.
fn may_come_back(state: &TargetState) -> bool {
    state.phase == TargetPhase::Skipped || state.late && !state.phase.is_over()
}

/// Plans of gates that wait are made anew when members left; those of steps that act after a restart are made again.
fn refresh_plans(ctx: &Context, walk: &mut Walk, status: &RunStatus) {
    let removed = facts::removed(ctx, walk);
    for step in &status.steps {
        let known = walk.plans.get(&step.name).map(|(made_without, _)| made_without);
        let needed = match step.phase {
            StepPhase::Suspending => known != Some(&removed),
            StepPhase::Running => known.is_none(),
            phase => phase.is_over() && known.is_none() && step.targets.iter().any(may_come_back),
        };
        if needed {
            make_plan(ctx, walk, status, &step.name.clone());
        }
    }
}

fn make_plan(ctx: &Context, walk: &mut Walk, status: &RunStatus, step: &str) {
    let Some(revision) = walk.revision.clone() else { return };
    let removed = facts::removed(ctx, walk);
    let made = gate_plan_of(
        &PlanSource {
            revision: &revision,
            status,
            inventory: &walk.inventory,
            delivery: walk.delivery(),
            loaded: &|name| walk.loaded(name),
            removed: &removed,
        },
        step,
    );
    let plans = StepPlans { hash: made.plan_hash, summary: made.summary, plans: made.plans };
    walk.plans.insert(step.to_owned(), (removed, plans));
}

/// What was deleted leaves the inventory before its target counts as done.
async fn take_pruned_off_inventory(ctx: &Context, walk: &mut Walk) -> Result<(), RecordError> {
    let Some(status) = walk.run_status() else { return Ok(()) };
    let mut gone = Vec::new();
    let acts = |step: &&StepState| step.phase == StepPhase::Running || step.targets.iter().any(may_come_back);
    for step in status.steps.iter().filter(acts) {
        let plans = walk.plans.get(&step.name).map(|(_, plans)| plans.plans.as_slice()).unwrap_or_default();
        for state in step.targets.iter().filter(|state| state.phase == TargetPhase::Pruning) {
            let done = walk.board.prune(&(step.name.clone(), state.target.clone()));
            if done != Some(fleet_workflow::Prune::Done) {
                continue;
            }
            let plan =
                plans.iter().find(|plan| plan.step == step.name).and_then(|plan| plan.target(&state.target));
            let left = plan.iter().flat_map(|plan| plan.leaves()).map(|action| action.id.clone());
            gone.push((state.target.clone(), state.cleared, left.collect::<Vec<_>>()));
        }
    }
    if gone.is_empty() {
        return Ok(());
    }
    let mut cleared_whole = Vec::new();
    for (target, cleared, left) in gone {
        let entry = walk.inventory.target_mut(&target);
        for id in left {
            entry.objects.remove(&id);
        }
        if cleared {
            entry.layers.clear();
            entry.begun.clear();
            cleared_whole.push(target);
        }
    }
    // One that is reached stays, though everything there may be only looked at.
    walk.inventory
        .targets
        .retain(|entry| !entry.objects.is_empty() || !cleared_whole.contains(&entry.target));
    records::write_tracker(ctx, walk).await
}

/// Puts a seal on targets that are done now, so that a restart needs to read nothing there.
fn seal(walk: &Walk, status: &mut RunStatus) {
    let Some(revision) = walk.revision.as_ref() else { return };
    for step in &mut status.steps {
        let unsealed = step.targets.iter_mut().filter(|t| t.seal.is_empty() && !t.cleared);
        for state in unsealed.filter(|state| state.phase == TargetPhase::Succeeded) {
            let desired = revision.desired(&step.name, &state.target, &walk.delivery());
            state.seal = drift::seal_left(&walk.board, &state.target.cluster, &desired).unwrap_or_default();
        }
    }
}
