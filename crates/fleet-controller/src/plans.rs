//! Plans of a run's steps, made the same way by the controller and by whoever wants to look.

pub(crate) mod preview;

use std::collections::BTreeSet;
use std::sync::Arc;

use fleet_api::{Inventory, Layer, ObjectId, RunStatus, StepPhase, StepState, Target, TargetState};
use fleet_json::ContentHash;
use fleet_plan::{Delivery, Desired, Facts, Hint, Plan, PlanInput, TargetInput, hints, plan};
use fleet_workflow::{OnDelete, StepKind};
use serde::Serialize;

use crate::records::revision::Loaded;
use crate::turn::walk::overlay;

/// What plans are made from.
pub(crate) struct PlanSource<'a> {
    pub(crate) revision: &'a Loaded,
    pub(crate) status: &'a RunStatus,
    pub(crate) inventory: &'a Inventory,
    pub(crate) delivery: Delivery<'a>,
    pub(crate) loaded: &'a dyn Fn(&str) -> Option<Arc<Loaded>>,
    pub(crate) removed: &'a BTreeSet<String>,
}

/// Everything that one gate is about.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatePlan {
    /// The step whose gate it is.
    pub step: String,
    /// What an approval names.
    pub plan_hash: String,
    /// In words.
    pub summary: String,
    /// The plan of each deploy step behind the gate.
    pub plans: Vec<Plan>,
}

/// The plan that an approval of a step's gate is about.
pub(crate) fn gate_plan_of(source: &PlanSource<'_>, step: &str) -> GatePlan {
    let behind = source.revision.graph.behind_gate(step);
    let plans: Vec<Plan> = behind.iter().filter_map(|step| step_plan(source, step)).collect();
    let plan_hash = match plans.as_slice() {
        [only] if only.step == step => only.plan_hash.clone(),
        several => {
            let hashes: Vec<&str> = several.iter().map(|plan| plan.plan_hash.as_str()).collect();
            ContentHash::of_value(&serde_json::json!([step, hashes])).long()
        }
    };
    let said: Vec<String> = plans.iter().map(Plan::summary).collect();
    let summary = if said.is_empty() { "nothing comes after it".to_owned() } else { said.join("; then ") };
    GatePlan { step: step.to_owned(), plan_hash, summary, plans }
}

/// The plan of one deploy step.
fn step_plan(source: &PlanSource<'_>, step: &str) -> Option<Plan> {
    with_input(source, step, plan)
}

/// Where the plan that an approval of a step's gate is about is dangerous.
pub(crate) fn hints_of(source: &PlanSource<'_>, step: &str, facts: &Facts) -> Vec<Hint> {
    let behind = source.revision.graph.behind_gate(step).into_iter();
    let found = behind.filter_map(|step| with_input(source, step, |input| hints(input, &plan(input), facts)));
    found.flatten().collect()
}

/// What the plan of one deploy step is made from.
fn with_input<T>(source: &PlanSource<'_>, step: &str, make: impl FnOnce(&PlanInput<'_>) -> T) -> Option<T> {
    let state = source.status.steps.iter().find(|state| state.name == step)?;
    let staying: Vec<&TargetState> =
        state.targets.iter().filter(|t| !source.removed.contains(&t.target.cluster)).collect();
    let parts: Vec<TargetParts> = staying.iter().map(|state| parts(source, step, state)).collect();
    let targets = staying
        .iter()
        .zip(&parts)
        .map(|(state, parts)| TargetInput {
            target: state.target.clone(),
            desired: &parts.desired,
            previous: &parts.previous,
            inventory: source.inventory.target(&state.target),
            last: parts.last,
            kept: &parts.kept,
        })
        .collect();
    Some(make(&PlanInput {
        step,
        targets,
        policies: &source.revision.policies,
        component_types: &source.revision.component_types,
        keeps_deleted: on_delete(source.revision, step) == OnDelete::Keep
            || source.revision.staged.as_ref().is_some_and(|staged| staged.keeps),
    }))
}

/// What a deploy step says about deletes that nobody should make unasked.
pub(crate) fn on_delete(revision: &Loaded, step: &str) -> OnDelete {
    match revision.graph.node(step).map(|node| &node.kind) {
        Some(StepKind::Deploy(deploy)) => deploy.on_delete,
        _ => OnDelete::default(),
    }
}

struct TargetParts {
    desired: Vec<Desired>,
    previous: Vec<Desired>,
    kept: BTreeSet<ObjectId>,
    last: bool,
}

fn parts(source: &PlanSource<'_>, step: &str, state: &TargetState) -> TargetParts {
    let target = &state.target;
    let desired = if state.cleared {
        Vec::new()
    } else {
        source.revision.desired(step, target, &source.delivery).to_vec()
    };
    let mut layers = source.inventory.target(target).map(|entry| entry.layers.clone()).unwrap_or_default();
    let order = source.revision.graph.order();
    let others: Vec<&StepState> = order.iter().filter_map(|index| source.status.steps.get(*index)).collect();
    let (before, after) = match others.iter().position(|other| other.name == step) {
        Some(position) => (others.get(..position), others.get(position + 1..)),
        None => (None, None),
    };
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    // What earlier steps of this run deliver here stands before this one, done or not: the plan is about order.
    let earlier =
        before.iter().filter(|other| delivers_to(other, target) && other.phase != StepPhase::Skipped);
    layers.extend(earlier.map(|s| Layer { revision: source.revision.name.clone(), step: s.name.clone() }));
    TargetParts {
        desired,
        previous: overlay(&layers, target, &source.delivery, source.loaded),
        kept: kept(source, target, before.iter().chain(after).copied()),
        last: !after.iter().any(|later| delivers_to(later, target)),
    }
}

/// What other steps deliver to the same cluster, as far as it could be meant by a delete on this target: objects of
/// the same namespace, and those without one.
fn kept<'a>(
    source: &PlanSource<'_>,
    target: &Target,
    others: impl Iterator<Item = &'a StepState>,
) -> BTreeSet<ObjectId> {
    let mut kept = BTreeSet::new();
    for step in others {
        let there =
            step.targets.iter().filter(|state| !state.cleared && state.target.cluster == target.cluster);
        for state in there {
            let desired = source.revision.desired(&step.name, &state.target, &source.delivery);
            let same_place = state.target.namespace == target.namespace;
            let meant = desired.iter().filter(|d| same_place || d.id.namespace.is_empty());
            kept.extend(meant.map(|desired| desired.id.clone()));
        }
    }
    kept
}

fn delivers_to(step: &StepState, target: &Target) -> bool {
    step.targets.iter().any(|state| state.target == *target && !state.cleared)
}

/// Reads a revision with all its parts.
///
/// # Errors
/// In words: what isn't there or can't be read.
pub async fn read_revision(
    client: &kube::Client,
    namespace: &str,
    name: &str,
) -> Result<Arc<crate::Loaded>, String> {
    crate::records::read_revision(client, namespace, name).await.map_err(|error| error.to_string())
}

/// Reads everything from the hub and makes the plan of a gate: what `fleetctl plan` shows.
///
/// # Errors
/// In words: what isn't there or can't be read.
pub async fn gate_plan(
    client: &kube::Client,
    app: &fleet_api::Application,
    run: &fleet_api::Run,
    step: &str,
) -> Result<GatePlan, String> {
    let planner = Box::pin(crate::Planner::of_run(client, app, run)).await;
    let planner = planner.map_err(|error| error.to_string())?;
    planner.gate(step).ok_or_else(|| format!("run {:?} has no revision", run.metadata.name))
}
