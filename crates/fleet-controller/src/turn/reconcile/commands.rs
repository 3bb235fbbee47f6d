//! Carrying out what the state machine asks for, as jobs that report to the board.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_api::Target;
use fleet_workflow::{Command, StepKind};

use crate::context::Context;
use crate::deliver::prune;
use crate::deliver::prune::Parting;
use crate::turn::walk::Walk;
use crate::{deliver, measure};

pub(crate) fn carry_out(ctx: &Arc<Context>, walk: &Walk, command: Command) {
    match command {
        Command::Plan { .. } => {}
        Command::Check { step } => measure::start(ctx, walk, &step),
        Command::Deliver { step, target } => {
            walk.board.forget_prune(&(step.clone(), target.clone()));
            send(ctx, walk, step, target);
        }
        Command::Prune { step, target } => {
            let plans = walk.plans.get(&step).map(|(_, plans)| plans.plans.as_slice()).unwrap_or_default();
            let plan = plans.iter().find(|plan| plan.step == step).and_then(|plan| plan.target(&target));
            let gone = plan.iter().flat_map(|plan| plan.leaves()).map(Parting::of).collect();
            prune::start(ctx, walk, walk.board.clone(), &step, &target, gone);
        }
    }
}

fn send(ctx: &Arc<Context>, walk: &Walk, step: String, target: Target) {
    let Some(revision) = walk.revision.as_ref() else { return };
    let steps = walk.run_status().map(|status| status.steps.as_slice()).unwrap_or_default();
    let states = steps.iter().filter(|state| state.name == step).flat_map(|state| &state.targets);
    if states.into_iter().any(|state| state.target == target && state.cleared) {
        // What the revision no longer reaches gets nothing, whoever asks.
        return;
    }
    let desired = revision.desired(&step, &target, &walk.delivery());
    let plans = walk.plans.get(&step).map(|(_, plans)| plans.plans.as_slice()).unwrap_or_default();
    let plan = plans.iter().find(|plan| plan.step == step).and_then(|plan| plan.target(&target));
    let Some(plan) = plan.cloned() else { return };
    let previous: BTreeMap<_, _> =
        walk.overlay(&walk.layers(&target), &target).into_iter().map(|d| (d.id, d.object)).collect();
    // What was begun to be sent counts object by object, where it arrived: an earlier try of this step, other steps of
    // this run, and runs that were superseded or failed.
    let begun = [walk.left(&target), walk.sent(&target), walk.begun(&target)].concat();
    let begun = begun.iter().flat_map(|layer| walk.overlay(std::slice::from_ref(layer), &target)).collect();
    let parallelism = match revision.graph.node(&step).map(|node| &node.kind) {
        Some(StepKind::Deploy(deploy)) => deploy.parallelism.map_or(usize::MAX, |n| n as usize),
        _ => usize::MAX,
    };
    let account = crate::hub::tenancy::account(ctx, walk, &target.cluster);
    let job = deliver::Job {
        board: walk.board.clone(),
        run: walk.run_name().to_owned(),
        step,
        target,
        application: walk.key.1.clone(),
        namespace: walk.key.0.clone(),
        owner: walk.owner.clone(),
        account,
        desired,
        previous,
        begun,
        distributed: walk.is_staged(&ctx.hub.uid).then(|| ctx.hub.client.clone()),
        plan,
        parallelism: parallelism.min(64),
    };
    deliver::start(ctx, walk, job);
}
