//! The in-memory state of one Application between its turns. All of it can be rebuilt from the hub.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet_api::{
    Application, Inventory, Layer, ObjectId, ResourceTracker, Run, RunStatus, Target, TargetPhase,
    TargetState, names,
};
use fleet_plan::{Delivery, Desired, Plan};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Problem;
use crate::context::{AppKey, Noted};
use crate::deliver::looks::Looks;
use crate::people::audit::Audit;
use crate::records::revision::Loaded;
use crate::replicas::Hold;
use crate::turn::board::Board;
use crate::turn::reconcile::Found;

/// An Application as our last write of its status left it. The cache may still show what stood there before, and the event
/// of our own write asks for no turn: judged by the cache, a status that has changed back since would never be written.
pub(crate) struct Written {
    /// The resource versions that it covers.
    pub(crate) over: Vec<String>,
    /// What stands on the hub.
    pub(crate) now: Application,
}

impl Written {
    /// Whether it is newer than what the cache shows.
    pub(crate) fn hides(&self, cached: &Application) -> bool {
        cached.metadata.resource_version.as_ref().is_some_and(|version| self.over.contains(version))
    }

    /// Whether the cache shows it.
    fn is_shown_by(&self, cached: &Application) -> bool {
        self.now.metadata.resource_version == cached.metadata.resource_version
    }
}

/// So many steps of runs that were begun on a target and not ended are remembered: each holds a revision.
const BEGUN_KEPT: usize = 8;

/// How far a run is on a target.
struct Progress {
    /// What it finished there.
    done: Vec<Layer>,
    /// Nothing of what was there before counts any more.
    whole: bool,
}

/// The state of one Application.
pub(crate) struct Walk {
    pub(crate) key: AppKey,
    pub(crate) uid: String,
    pub(crate) owner: String,
    /// The right to act for it; jobs run under it.
    pub(crate) hold: Hold,
    pub(crate) board: Board,
    /// The newest run, as recorded.
    pub(crate) run: Option<Run>,
    /// Its revision.
    pub(crate) revision: Option<Arc<Loaded>>,
    /// How many runs were begun since old ones were taken away.
    pub(crate) begun: usize,
    /// The tracker as recorded.
    pub(crate) tracker: Option<ResourceTracker>,
    pub(crate) inventory: Inventory,
    /// Revisions that layers of the inventory name.
    pub(crate) revisions: BTreeMap<String, Arc<Loaded>>,
    /// The hash of what would run, with what it was made for.
    pub(crate) draft: Option<(MadeFor, Result<String, Problem>)>,
    /// What was found to go back to, for the question that stands.
    pub(crate) found: Option<Found>,
    /// Why what somebody asked for isn't gone back to.
    pub(crate) refused: Option<Problem>,
    /// Plans by step, with the members that were gone when they were made.
    pub(crate) plans: BTreeMap<String, (BTreeSet<String>, StepPlans)>,
    /// Whether clusters that joined have what runs, as far as known.
    pub(crate) joiners_served: bool,
    /// Clusters that joined and are held: they are served when that ends.
    pub(crate) held_joiners: BTreeSet<String>,
    /// What is said of clusters that its placement no longer selects; nothing while it isn't known.
    pub(crate) left: Option<Option<String>>,
    /// When progress was last written to status.
    pub(crate) progress_at: Option<Timestamp>,
    /// Our last write of status, until the cache shows it.
    pub(crate) written: Option<Written>,
    /// What was last said about its deletion.
    pub(crate) told: Option<String>,
    /// The run that was under way when it was read, and until when its targets may not have been looked at yet.
    pub(crate) taken_up: Option<(String, Timestamp)>,
    /// Whether everything on the members is to be compared once.
    pub(crate) unchecked: bool,
    /// What changed on targets while something was sent there; looked at afterwards.
    pub(crate) postponed: Postponed,
    /// Objects of others that it looks at.
    pub(crate) looks: Looks,
    /// What of it is on record.
    pub(crate) audit: Audit,
    /// Clusters that were held at the last turn.
    pub(crate) held: BTreeSet<String>,
    /// A write failed or lost a race: everything is read again at the next turn.
    pub(crate) stale: bool,
}

/// What a draft is made for: the generation of the spec, and what the Application says beside it: its account, what
/// becomes of its run, and why nothing may begin.
pub(crate) type MadeFor = (i64, [Option<String>; 3]);

/// What is still to be compared on the members.
#[derive(Debug, Default)]
pub(crate) struct Postponed {
    /// Single objects, by cluster.
    pub(crate) objects: BTreeSet<(String, ObjectId)>,
    /// Targets where everything is.
    pub(crate) targets: BTreeSet<Target>,
    /// Members where everything is.
    pub(crate) clusters: BTreeSet<String>,
}

/// The plans that one approval is about.
#[derive(Debug, Clone, Default)]
pub(crate) struct StepPlans {
    pub(crate) hash: String,
    pub(crate) summary: String,
    pub(crate) plans: Vec<Plan>,
}

impl Walk {
    pub(crate) fn new(app: &Application, hub_uid: &str, hold: Hold) -> Self {
        let namespace = app.metadata.namespace.clone().unwrap_or_default();
        let name = app.metadata.name.clone().unwrap_or_default();
        Self {
            owner: fleet_api::staged::owner_of(app, hub_uid),
            key: (namespace, name),
            uid: app.metadata.uid.clone().unwrap_or_default(),
            hold,
            board: Board::default(),
            run: None,
            revision: None,
            begun: 0,
            tracker: None,
            inventory: Inventory::default(),
            revisions: BTreeMap::new(),
            draft: None,
            found: None,
            refused: None,
            plans: BTreeMap::new(),
            joiners_served: false,
            held_joiners: BTreeSet::new(),
            left: None,
            progress_at: None,
            written: None,
            told: None,
            taken_up: None,
            unchecked: true,
            postponed: Postponed::default(),
            looks: Looks::default(),
            audit: Audit::default(),
            held: BTreeSet::new(),
            stale: false,
        }
    }

    /// Of somebody who only looks: nothing runs under it.
    pub(crate) fn to_look_at(app: &Application, hub_uid: &str) -> Self {
        Self::new(app, hub_uid, Hold::new(CancellationToken::new(), TaskTracker::new(), None))
    }

    /// Whether it carries what a policy distributes.
    pub(crate) fn is_staged(&self, hub_uid: &str) -> bool {
        self.owner == fleet_api::staged::distribution_owner(hub_uid)
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

    /// Takes note of what the cache shows: a copy of the same isn't needed any more.
    pub(crate) fn see(&mut self, cached: &Application) {
        if self.written.as_ref().is_some_and(|written| written.is_shown_by(cached)) {
            self.written = None;
        }
    }

    /// Once a run is over its plans have been carried out, and of older revisions only those count that something of
    /// still stands on a target.
    pub(crate) fn settle(&mut self) {
        if self.is_running() {
            return;
        }
        self.plans = BTreeMap::new();
        let needed = self.needed_revisions();
        self.revisions.retain(|name, _| needed.contains(name));
    }

    /// The revisions that what stands on the targets, or is to be compared with, comes from; and the one that the
    /// Application says while it is left for an earlier one.
    pub(crate) fn needed_revisions(&self) -> BTreeSet<String> {
        let entries = self.inventory.targets.iter();
        let layers: Vec<Layer> = if self.is_running() {
            entries.flat_map(|entry| entry.layers.iter().chain(&entry.begun).cloned()).collect()
        } else {
            entries
                .flat_map(|entry| self.layers(&entry.target).into_iter().chain(self.left(&entry.target)))
                .collect()
        };
        let left = self.run.iter().filter_map(|run| run.spec.rollback.as_ref());
        let left = left.map(|rollback| rollback.from.clone());
        layers.into_iter().map(|layer| layer.revision).chain(left).collect()
    }

    /// The revisions whose definitions hold for what the Application says: the one that was left for an earlier one, as
    /// long as it says that, and the one that runs.
    pub(crate) fn pinning(&self) -> Vec<Arc<Loaded>> {
        let rollback = self.run.as_ref().and_then(|run| run.spec.rollback.as_ref());
        let left = rollback.and_then(|rollback| self.loaded(&rollback.from));
        left.into_iter().chain(self.revision.clone()).collect()
    }

    /// Keeps what was noted for a turn that didn't come to look at it.
    pub(crate) fn postpone(&mut self, noted: Noted) {
        self.postponed.objects.extend(noted.objects);
        self.postponed.clusters.extend(noted.resync);
    }

    /// Every member that something of ours is on, or goes to.
    pub(crate) fn clusters(&self) -> BTreeSet<String> {
        let owned = self.inventory.targets.iter().map(|entry| &entry.target);
        let steps = self.run_status().map(|status| status.steps.as_slice()).unwrap_or_default();
        let reached = steps.iter().flat_map(|step| step.targets.iter().map(|state| &state.target));
        owned.chain(reached).map(|target| target.cluster.clone()).collect()
    }

    /// Every member of which it hears when it answers again, or as another cluster, or is let go.
    pub(crate) fn hears_of(&self) -> BTreeSet<String> {
        let mut clusters = self.clusters();
        clusters.extend(self.held_joiners.iter().cloned());
        clusters
    }

    /// What was delivered to a target and is done: what this run finished there, over what was there before as
    /// long as the run isn't through there.
    pub(crate) fn layers(&self, target: &Target) -> Vec<Layer> {
        let Progress { done, whole } = self.progress(target);
        if whole {
            return done;
        }
        let mut layers = self.inventory.target(target).map(|entry| entry.layers.clone()).unwrap_or_default();
        layers.retain(|layer| !done.contains(layer));
        layers.extend(done);
        layers
    }

    /// How far this run is on a target.
    fn progress(&self, target: &Target) -> Progress {
        let nothing = Progress { done: Vec::new(), whole: false };
        let Some((revision, status)) = self.revision.as_ref().zip(self.run_status()) else { return nothing };
        let mut steps = 0;
        let mut done = Vec::new();
        for step in &status.steps {
            let Some(state) = step.targets.iter().find(|state| state.target == *target) else { continue };
            // Pruning comes after everything is done there.
            // What a person is asked about stands as it did.
            let stays = state.cleared && step.bars(state);
            let is_done = matches!(state.phase, TargetPhase::Succeeded | TargetPhase::Pruning) && !stays;
            match (state.cleared, is_done) {
                (true, true) => return Progress { done: Vec::new(), whole: true },
                (true, false) => return nothing,
                (false, _) => steps += 1,
            }
            if is_done {
                done.push(Layer { revision: revision.name.clone(), step: step.name.clone() });
            }
        }
        let whole = done.len() == steps && steps > 0;
        Progress { done, whole }
    }

    /// What earlier runs sent to a target that may stand there beside what is done: what they began and didn't end, as long
    /// as this one isn't through there; then what still waits to be deleted.
    pub(crate) fn left(&self, target: &Target) -> Vec<Layer> {
        let Some(entry) = self.inventory.target(target) else { return Vec::new() };
        let Progress { done, whole } = self.progress(target);
        if !whole {
            return entry.begun.clone();
        }
        let sent = |layer: &Layer| {
            let revision = self.loaded(&layer.revision);
            revision.map(|revision| revision.desired(&layer.step, target, &self.delivery()))
        };
        let newest: Vec<_> = done.iter().filter_map(sent).collect();
        let owned = entry.objects.iter().filter(|(_, owned)| !owned.made_namespace);
        // At rest nothing is left: seen without comparing names.
        if owned.clone().count() <= newest.iter().map(|objects| objects.len()).sum() {
            return Vec::new();
        }
        let newest: BTreeSet<_> =
            newest.iter().flat_map(|all| all.iter().map(|d| d.id.versionless())).collect();
        let waiting: BTreeSet<_> =
            owned.map(|(id, _)| id.versionless()).filter(|id| !newest.contains(id)).collect();
        let stands = |layer: &&Layer| {
            let layer: &Layer = layer;
            let objects = sent(layer);
            !done.contains(layer)
                && objects.is_some_and(|all| all.iter().any(|d| waiting.contains(&d.id.versionless())))
        };
        entry.layers.iter().chain(&entry.begun).filter(stands).cloned().collect()
    }

    /// What was delivered last to a target, of each object: that of what is done there, of what was sent whole, and of
    /// deliveries that didn't end what arrived, which `shows` tells.
    pub(crate) fn delivered_last(&self, target: &Target, shows: impl Fn(&Desired) -> bool) -> Vec<Desired> {
        let Progress { mut done, whole } = self.progress(target);
        done.extend(self.sent(target));
        let before = self.inventory.target(target).filter(|_| !whole);
        let earlier = before.map(|entry| entry.begun.clone()).unwrap_or_default();
        let mut objects = before.map(|entry| self.overlay(&entry.layers, target)).unwrap_or_default();
        let arrived = |layers: &[Layer]| {
            layers
                .iter()
                .flat_map(|layer| self.overlay(std::slice::from_ref(layer), target))
                .filter(&shows)
                .collect()
        };
        let parts: [Vec<Desired>; 3] =
            [arrived(&earlier), self.overlay(&done, target), arrived(&self.begun(target))];
        for newer in parts.into_iter().flatten() {
            objects.retain(|older| older.id.versionless() != newer.id.versionless());
            objects.push(newer);
        }
        objects
    }

    /// The objects that layers overlay to, the newest of each.
    pub(crate) fn overlay(&self, layers: &[Layer], target: &Target) -> Vec<Desired> {
        overlay(layers, target, &self.delivery(), &|name| self.loaded(name))
    }

    /// What this run sent to a target whole, without being done there.
    pub(crate) fn sent(&self, target: &Target) -> Vec<Layer> {
        self.layers_in(target, |state| state.phase == TargetPhase::Waiting)
    }

    /// What this run began to send to a target and didn't end.
    pub(crate) fn begun(&self, target: &Target) -> Vec<Layer> {
        self.layers_in(target, |state| match state.phase {
            TargetPhase::Delivering | TargetPhase::Failed => true,
            // It is tried again later, was stopped by a hold, or its cluster left.
            TargetPhase::Pending | TargetPhase::Skipped | TargetPhase::Removed => state.started_at.is_some(),
            _ => false,
        })
    }

    fn layers_in(&self, target: &Target, wanted: impl Fn(&TargetState) -> bool) -> Vec<Layer> {
        let Some((revision, status)) = self.revision.as_ref().zip(self.run_status()) else {
            return Vec::new();
        };
        let steps = status.steps.iter().filter(|step| {
            step.targets.iter().any(|state| state.target == *target && !state.cleared && wanted(state))
        });
        steps.map(|step| Layer { revision: revision.name.clone(), step: step.name.clone() }).collect()
    }

    /// A revision that was loaded before.
    pub(crate) fn loaded(&self, name: &str) -> Option<Arc<Loaded>> {
        let current = self.revision.as_ref().filter(|revision| revision.name == name);
        current.or_else(|| self.revisions.get(name)).cloned()
    }

    /// Folds what this run finished into the inventory; done when another run begins.
    pub(crate) fn fold(&mut self) {
        let targets: Vec<Target> = self.inventory.targets.iter().map(|entry| entry.target.clone()).collect();
        for target in targets {
            let mut layers = self.layers(&target);
            // What was sent whole and isn't done is what stands there.
            let sent = self.sent(&target);
            layers.retain(|layer| !sent.contains(layer));
            layers.extend(sent);
            let mut begun = self.left(&target);
            let newer = self.begun(&target);
            begun.retain(|layer| !newer.contains(layer) && !layers.contains(layer));
            begun.extend(newer);
            begun.drain(..begun.len().saturating_sub(BEGUN_KEPT));
            let entry = self.inventory.target_mut(&target);
            (entry.layers, entry.begun) = (layers, begun);
        }
        // A target on which everything is only looked at has layers and no objects.
        self.inventory.targets.retain(|entry| !entry.objects.is_empty() || !entry.layers.is_empty());
    }
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
        for desired in revision.desired(&layer.step, target, delivery).iter() {
            objects.retain(|older| older.id.versionless() != desired.id.versionless());
            objects.push(desired.clone());
        }
    }
    objects
}

#[cfg(test)]
mod tests;
