//! The in-memory state of one Application between its turns. All of it can be rebuilt from the hub.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet_api::{Application, Inventory, Layer, ResourceTracker, Run, RunStatus, Target, TargetPhase, names};
use fleet_plan::{Delivery, Desired, Plan};
use jiff::Timestamp;

use crate::Problem;
use crate::board::Board;
use crate::context::AppKey;
use crate::resolve::Draft;
use crate::revision::Loaded;

/// The state of one Application.
pub(crate) struct Walk {
    pub(crate) key: AppKey,
    pub(crate) uid: String,
    pub(crate) owner: String,
    pub(crate) board: Board,
    /// The newest run, as recorded.
    pub(crate) run: Option<Run>,
    /// Its revision.
    pub(crate) revision: Option<Arc<Loaded>>,
    /// Names of all runs that are kept, oldest first.
    pub(crate) kept_runs: Vec<String>,
    /// The tracker as recorded.
    pub(crate) tracker: Option<ResourceTracker>,
    pub(crate) inventory: Inventory,
    /// Revisions that layers of the inventory name.
    pub(crate) revisions: BTreeMap<String, Arc<Loaded>>,
    /// What would run, and the generation that it was made for.
    pub(crate) draft: Option<(i64, Result<Arc<Draft>, Problem>)>,
    /// Plans by step, with the members that were gone when they were made.
    pub(crate) plans: BTreeMap<String, (BTreeSet<String>, StepPlans)>,
    /// When progress was last written to status.
    pub(crate) progress_at: Option<Timestamp>,
    /// Whether everything on the members is to be compared once.
    pub(crate) unchecked: bool,
    /// A write failed or lost a race: everything is read again at the next turn.
    pub(crate) stale: bool,
}

/// The plans that one approval is about.
#[derive(Debug, Clone, Default)]
pub(crate) struct StepPlans {
    pub(crate) hash: String,
    pub(crate) summary: String,
    pub(crate) plans: Vec<Plan>,
}

impl Walk {
    pub(crate) fn new(app: &Application, hub_uid: &str) -> Self {
        let namespace = app.metadata.namespace.clone().unwrap_or_default();
        let name = app.metadata.name.clone().unwrap_or_default();
        Self {
            owner: names::owner_hash(hub_uid, &namespace, &name),
            key: (namespace, name),
            uid: app.metadata.uid.clone().unwrap_or_default(),
            board: Board::default(),
            run: None,
            revision: None,
            kept_runs: Vec::new(),
            tracker: None,
            inventory: Inventory::default(),
            revisions: BTreeMap::new(),
            draft: None,
            plans: BTreeMap::new(),
            progress_at: None,
            unchecked: true,
            stale: false,
        }
    }

    pub(crate) fn delivery(&self) -> Delivery<'_> {
        Delivery { application: &self.key.1, namespace: &self.key.0, owner: &self.owner }
    }

    pub(crate) fn manager(&self) -> String {
        names::field_manager(&self.owner)
    }

    pub(crate) fn run_name(&self) -> &str {
        self.run.as_ref().and_then(|run| run.metadata.name.as_deref()).unwrap_or_default()
    }

    pub(crate) fn run_status(&self) -> Option<&RunStatus> {
        self.run.as_ref().and_then(|run| run.status.as_ref())
    }

    /// Whether a run is under way.
    pub(crate) fn is_running(&self) -> bool {
        self.run_status().is_some_and(|status| !status.phase.is_over())
    }

    /// What was delivered to a target and is done: the layers of its inventory and of this run's finished steps.
    pub(crate) fn layers(&self, target: &Target) -> Vec<Layer> {
        let mut layers = self.inventory.target(target).map(|entry| entry.layers.clone()).unwrap_or_default();
        let Some((revision, status)) = self.revision.as_ref().zip(self.run_status()) else { return layers };
        layers.extend(done_steps(status, target).map(|step| Layer { revision: revision.name.clone(), step }));
        layers
    }

    /// The objects that layers overlay to, the newest of each.
    pub(crate) fn overlay(&self, layers: &[Layer], target: &Target) -> Vec<Desired> {
        overlay(layers, target, &self.delivery(), &|name| self.loaded(name))
    }

    /// A revision that was loaded before.
    pub(crate) fn loaded(&self, name: &str) -> Option<Arc<Loaded>> {
        let current = self.revision.as_ref().filter(|revision| revision.name == name);
        current.or_else(|| self.revisions.get(name)).cloned()
    }

    /// Folds what this run finished into the inventory; done when another run begins.
    pub(crate) fn fold(&mut self) {
        let Some(status) = self.run_status().cloned() else { return };
        let Some(revision) = self.revision.as_ref().map(|revision| revision.name.clone()) else { return };
        let targets: BTreeSet<Target> =
            status.steps.iter().flat_map(|step| step.targets.iter().map(|t| t.target.clone())).collect();
        for target in targets {
            let done: Vec<Layer> =
                done_steps(&status, &target).map(|step| Layer { revision: revision.clone(), step }).collect();
            if done.is_empty() {
                continue;
            }
            let all = status.steps.iter().filter(|s| s.targets.iter().any(|t| t.target == target && !t.cleared));
            let entry = self.inventory.target_mut(&target);
            if all.count() == done.len() {
                entry.layers = done;
            } else {
                entry.layers.retain(|layer| !done.contains(layer));
                entry.layers.extend(done);
            }
        }
        self.inventory.targets.retain(|entry| !entry.objects.is_empty());
    }
}

/// The steps of a run that are done on a target, in their order.
fn done_steps<'a>(status: &'a RunStatus, target: &'a Target) -> impl Iterator<Item = String> + 'a {
    status.steps.iter().filter_map(move |step| {
        let state = step.targets.iter().find(|state| state.target == *target && !state.cleared)?;
        // Pruning comes after everything is done there.
        let done = matches!(state.phase, TargetPhase::Succeeded | TargetPhase::Pruning);
        done.then(|| step.name.clone())
    })
}

/// The objects that layers overlay to, the newest of each.
pub(crate) fn overlay(
    layers: &[Layer],
    target: &Target,
    delivery: &Delivery<'_>,
    loaded: &dyn Fn(&str) -> Option<Arc<Loaded>>,
) -> Vec<Desired> {
    let mut objects: Vec<Desired> = Vec::new();
    for layer in layers {
        let Some(revision) = loaded(&layer.revision) else { continue };
        for desired in revision.desired(&layer.step, &target.namespace, delivery).iter() {
            objects.retain(|older| older.id.versionless() != desired.id.versionless());
            objects.push(desired.clone());
        }
    }
    objects
}
