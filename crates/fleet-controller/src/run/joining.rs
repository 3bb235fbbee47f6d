//! Clusters that join a placement once its run has begun, and what one run owes that another takes over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet_api::{RunPhase, RunStatus, StepPhase, Target, TargetPhase, TargetState};
use fleet_workflow::graph::OnJoin;
use fleet_workflow::{Node, StepKind};

use crate::context::Context;
use crate::hub::tenancy;
use crate::records::{self, RecordError};
use crate::run;
use crate::turn::held;
use crate::turn::walk::Walk;

/// What a step says about clusters that join.
pub(crate) fn rule(node: &Node) -> OnJoin {
    match &node.kind {
        StepKind::Deploy(deploy) => deploy.on_join,
        _ => OnJoin::default(),
    }
}

/// Whether all that a run waits for are targets that it passed over.
pub(crate) fn only_owes(status: &RunStatus) -> bool {
    let late = |state: &TargetState| state.late && !state.phase.is_over();
    status.phase == RunPhase::Executing
        && status.steps.iter().all(|step| step.phase.is_over() && step.phase != StepPhase::Failed)
        && !status.steps.iter().flat_map(|step| &step.targets).any(late)
}

/// Adds clusters that joined to steps that haven't begun and say so. Their plans are made anew, and their gates ask for
/// these.
pub(crate) async fn append(ctx: &Arc<Context>, walk: &mut Walk) -> Result<(), RecordError> {
    let Some(revision) = walk.revision.clone() else { return Ok(()) };
    if !revision.graph.nodes.iter().any(|node| rule(node) == OnJoin::Append) {
        return Ok(());
    }
    let Some(mut run) = walk.run.clone() else { return Ok(()) };
    let Some(status) = run.status.as_mut() else { return Ok(()) };
    // What can't be placed now is said elsewhere, and changes nothing here.
    let clusters = ctx.members.clusters();
    let Ok(placed) = run::placed_now(walk.run.as_ref(), &revision, &clusters, &walk.key.0) else {
        return Ok(());
    };
    let mut added = false;
    let mut held = BTreeSet::new();
    for ((node, targets), step) in revision.graph.nodes.iter().zip(placed).zip(&mut status.steps) {
        let waits = matches!(step.phase, StepPhase::Pending | StepPhase::Suspending);
        if !waits || rule(node) != OnJoin::Append {
            continue;
        }
        let known: BTreeSet<Target> = step.targets.iter().map(|state| state.target.clone()).collect();
        let is_held = |target: &Target| is_held(ctx, walk, &target.cluster);
        let joined = targets.into_iter().filter(|target| !known.contains(target));
        let (waiting, joined): (Vec<Target>, Vec<Target>) = joined.partition(is_held);
        held.extend(waiting.into_iter().map(|target| target.cluster));
        // What is only cleared stays last.
        let at = step.targets.iter().position(|state| state.cleared).unwrap_or(step.targets.len());
        added |= !joined.is_empty();
        step.targets.splice(at..at, joined.into_iter().map(TargetState::pending));
    }
    wait_for_held(ctx, walk, held);
    if !added {
        return Ok(());
    }
    let mut inventory = std::mem::take(&mut walk.inventory);
    run::list_in_inventory(&mut inventory, &revision, status, &walk.delivery());
    walk.inventory = inventory;
    records::write_tracker(ctx, walk).await?;
    walk.run = Some(records::replace_run(ctx, &run).await?);
    walk.plans.clear();
    ctx.due.own(&walk.owner, &walk.key, walk.hears_of());
    Ok(())
}

/// Whether nothing may be sent to a cluster that joins.
pub(crate) fn is_held(ctx: &Context, walk: &Walk, cluster: &str) -> bool {
    held::hold(ctx, &walk.key, tenancy::named(walk), cluster).is_some()
}

/// Takes note of clusters that would have joined and are held: the end of a hold asks for a turn.
pub(crate) fn wait_for_held(ctx: &Context, walk: &mut Walk, held: BTreeSet<String>) {
    if walk.held_joiners == held {
        return;
    }
    walk.held_joiners = held;
    ctx.due.own(&walk.owner, &walk.key, walk.hears_of());
    // A hold that ended before this was told to others only.
    if walk.held_joiners.iter().any(|cluster| !is_held(ctx, walk, cluster)) {
        ctx.due.wake(&walk.key);
    }
}

/// What a run that serves joiners takes over from the one before: targets that it passed over are still owed.
pub(crate) fn take_over(state: &mut RunStatus, before: &RunStatus) {
    for (step, was) in state.steps.iter_mut().zip(&before.steps).filter(|(step, was)| step.name == was.name) {
        let owed = was.targets.iter().filter(|state| state.phase == TargetPhase::Skipped);
        step.targets.extend(owed.cloned());
    }
}

/// What people hold back stays so in the next revision, until they ask for it: where a target was skipped in every step
/// that it had, in every step, else in those of the same name.
pub(crate) fn hold_back(state: &mut RunStatus, before: Option<&RunStatus>) {
    let Some(before) = before else { return };
    let held = |state: &TargetState| state.skipped.as_ref().is_some_and(|skip| skip.held);
    let mut whole: BTreeMap<&Target, bool> = BTreeMap::new();
    let mut single: BTreeMap<(&str, &Target), &TargetState> = BTreeMap::new();
    for step in &before.steps {
        for state in &step.targets {
            *whole.entry(&state.target).or_insert(true) &= held(state);
            if held(state) {
                single.insert((step.name.as_str(), &state.target), state);
            }
        }
    }
    let first: BTreeMap<&Target, &TargetState> =
        single.iter().map(|((_, target), s)| (*target, *s)).collect();
    for step in &mut state.steps {
        for state in &mut step.targets {
            let everywhere = whole.get(&state.target).copied().unwrap_or_default();
            let known = single.get(&(step.name.as_str(), &state.target)).copied();
            let Some(was) = known.or_else(|| first.get(&state.target).copied().filter(|_| everywhere)) else {
                continue;
            };
            state.phase = TargetPhase::Skipped;
            state.reason.clone_from(&was.reason);
            state.message.clone_from(&was.message);
            state.skipped.clone_from(&was.skipped);
            state.ended_at = was.ended_at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_api::{SkipRecord, StepState};

    fn status(steps: &[(&str, &[(&str, bool)])]) -> RunStatus {
        let target = |(cluster, held): &(&str, bool)| TargetState {
            phase: if *held { TargetPhase::Skipped } else { TargetPhase::Pending },
            skipped: held.then(|| SkipRecord { held: true, ..SkipRecord::default() }),
            ..TargetState::pending(Target::new(*cluster, "demo"))
        };
        let steps = steps.iter().map(|(name, targets)| StepState {
            name: (*name).to_owned(),
            targets: targets.iter().map(target).collect(),
            ..StepState::default()
        });
        RunStatus { steps: steps.collect(), ..RunStatus::default() }
    }

    // Broken: somebody takes a cluster out for maintenance, and the next revision goes there all the same.
    #[test]
    fn what_a_person_holds_back_stays_so_in_the_next_revision() {
        let before = status(&[("a", &[("m1", true), ("m2", true)]), ("b", &[("m1", true), ("m2", false)])]);
        let fresh: &[(&str, bool)] = &[("m1", false), ("m2", false)];
        let mut next = status(&[("a", fresh), ("renamed", fresh)]);
        hold_back(&mut next, Some(&before));
        let held = |step: usize| {
            next.steps[step].targets.iter().map(|s| s.phase == TargetPhase::Skipped).collect::<Vec<_>>()
        };
        assert_eq!((held(0), held(1)), (vec![true, true], vec![true, false]));
    }
}
