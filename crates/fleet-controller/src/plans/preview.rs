//! Plans for whoever looks: of runs as they are on record, and of what would run if manifests were applied.
//!
//! ```text
//!  manifests ─► overlay ─┐
//!  the hub's objects ────┴─► World ─► resolve ─► place ─► first state ─┐       the controller's own functions
//!  records: run, revisions, inventory ────────────────────────────────┴─► Planner ─► plans, hints
//! ```
//!
//! Nothing is written. A plan made here has the hash that the gate will show, as it is made by the same functions from the
//! same input.

mod delivered;
mod overlay;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet_api::{
    Application, Gate, GateBefore, Layer, ObjectId, Provenance, ResourceTracker, Run, RunPhase, RunStatus,
    StepPhase, StepState, Target, TargetPhase, TargetState, names,
};
use fleet_plan::{ActionKind, Delivery, Desired, Facts, Hint};
use fleet_workflow::{Node, OnDelete, StepKind};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde::Serialize;

pub use delivered::{Delivered, delivered};
pub use world::World;

use crate::Problem;
use crate::hub::rules_of;
use crate::plans::{GatePlan, PlanSource, gate_plan_of, hints_of};
use crate::records::{self, RecordError};
use crate::resolve::{references, resolve};
use crate::run::queue;
use crate::run::{self, Behind, Decision};
use crate::turn::reconcile::with_pinned_definitions;
use crate::turn::walk::Walk;

/// How many inventories are asked for at once.
const PAGE: u32 = 100;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The hub refused or didn't answer.
    #[error("{doing}: {cause}")]
    Hub {
        /// What was asked for.
        doing: String,
        /// What it said.
        #[source]
        cause: kube::Error,
    },
    /// The Application, or what it refers to, isn't as it must be.
    #[error("{}", .0.message)]
    Problem(Problem),
    /// What is on record can't be read.
    #[error("{0}")]
    Record(String),
    /// There is no such Application, neither among the manifests nor on the hub.
    #[error("no Application {name:?} in namespace {namespace}")]
    NoApplication {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl PreviewError {
    pub(crate) fn hub(doing: impl Into<String>, cause: kube::Error) -> Self {
        Self::Hub { doing: doing.into(), cause }
    }
}

impl From<Problem> for PreviewError {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<RecordError> for PreviewError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Hub(cause) => Self::hub("the records", cause),
            RecordError::Unusable(problem) => Self::Problem(problem),
            other => Self::Record(other.to_string()),
        }
    }
}

/// What a plan is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum Standing {
    /// A run that goes on.
    Running {
        /// Its name.
        run: String,
    },
    /// A run that starts as soon as it is applied; `RevisionChanged` or another cause.
    Starts {
        /// Why.
        cause: String,
    },
    /// What starts once the run that goes on is over.
    Queued {
        /// Why.
        cause: String,
        /// The run.
        run: String,
    },
    /// What starts once publishVersion is changed.
    HeldBack {
        /// Its value now.
        #[serde(rename = "publishVersion")]
        publish_version: String,
    },
    /// What starts with `workflow restart`: it was left for an earlier revision.
    RolledBack {
        /// The run that went back.
        run: String,
    },
    /// The run of what is asked for came to an end of another kind: nothing happens by itself, and a restart would do
    /// this.
    Ended {
        /// The run.
        run: String,
        /// How it ended.
        phase: RunPhase,
        /// Why: a code.
        reason: String,
    },
    /// Nothing: what is asked for runs.
    Current {
        /// The run that delivered it.
        run: String,
    },
}

/// One step with its plan.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Its type.
    #[serde(rename = "type")]
    pub type_: String,
    /// Whether it stops and asks.
    pub gate: bool,
    /// Before what, where it does: everything, or deletes that nobody should make unasked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<GateBefore>,
    /// Targets that are over: what the plan says of them was done, or won't be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub over: Vec<Target>,
    /// What it would do; of a suspend step, what comes behind it.
    #[serde(flatten)]
    pub plan: GatePlan,
}

/// An Application with everything that its plans are made from.
pub struct Planner {
    app: Application,
    walk: Walk,
    status: RunStatus,
    removed: BTreeSet<String>,
    standing: Standing,
}

impl Planner {
    /// Of a run as it is on record.
    ///
    /// # Errors
    /// What isn't there or can't be read.
    pub async fn of_run(client: &kube::Client, app: &Application, run: &Run) -> Result<Self, PreviewError> {
        let uid = hub_identity(client).await?;
        let mut walk = Box::pin(records::load_from(client, Walk::to_look_at(app, &uid))).await?;
        if walk.run_name() != run.name_any() {
            let name = &run.spec.revision;
            walk.revision = Some(records::read_revision(client, &walk.key.0, name).await?);
        }
        walk.run = Some(run.clone());
        if walk.revision.is_none() {
            let message = format!(
                "ApplicationRevision {} of run {} was deleted; what the hub holds now starts with: fleetctl workflow restart {} -n {}",
                run.spec.revision,
                run.name_any(),
                walk.key.1,
                walk.key.0
            );
            return Err(PreviewError::Record(message));
        }
        let clusters: Api<fleet_api::ManagedCluster> = Api::all(client.clone());
        let known = clusters.list_metadata(&ListParams::default()).await;
        let known = known.map_err(|error| PreviewError::hub("the list of members", error))?;
        let known: BTreeSet<String> = known.items.iter().map(|cluster| cluster.name_any()).collect();
        let status = run.status.clone().unwrap_or_default();
        let removed = removed(&status, &known);
        Ok(Self {
            app: app.clone(),
            walk,
            status,
            removed,
            standing: Standing::Running { run: run.name_any() },
        })
    }

    /// Of two runs as far as somebody sees them who may read their namespace and nothing of the fleet: the later
    /// one's plans are what changes after the earlier one. What targets had before either isn't known, so no delete of
    /// that shows, and the hashes are no gate's.
    ///
    /// # Errors
    /// What isn't there or can't be read.
    pub async fn of_records(
        client: &kube::Client,
        app: &Application,
        (before, now): (&Run, &Run),
    ) -> Result<(Self, Self), PreviewError> {
        let namespace = app.namespace().unwrap_or_default();
        let old = records::read_revision(client, &namespace, &before.spec.revision).await?;
        let new = records::read_revision(client, &namespace, &now.spec.revision).await?;
        let of = |run: &Run, revision: &Arc<crate::Loaded>| -> Result<Self, PreviewError> {
            let mut walk = Walk::to_look_at(app, "");
            let first = before.status.clone().unwrap_or_default();
            let mut inventory = std::mem::take(&mut walk.inventory);
            run::list_in_inventory(&mut inventory, &old, &first, &walk.delivery());
            for step in &first.steps {
                for state in step.targets.iter().filter(|state| !state.cleared) {
                    let layer = Layer { revision: old.name.clone(), step: step.name.clone() };
                    inventory.target_mut(&state.target).layers.push(layer);
                }
            }
            walk.inventory = inventory;
            walk.revisions.insert(old.name.clone(), old.clone());
            walk.revision = Some(revision.clone());
            walk.run = Some(run.clone());
            let status = run.status.clone().unwrap_or_default();
            let standing = Standing::Running { run: run.name_any() };
            Ok(Self { app: app.clone(), walk, status, removed: BTreeSet::new(), standing })
        };
        Ok((of(before, &old)?, of(now, &new)?))
    }

    /// Of what would run, or goes on running, once the world's manifests were applied.
    ///
    /// # Errors
    /// What isn't there, can't be read, or is wrong.
    pub async fn of_world(world: &mut World, namespace: &str, name: &str) -> Result<Self, PreviewError> {
        let missing =
            || PreviewError::NoApplication { namespace: namespace.to_owned(), name: name.to_owned() };
        let app = world.application(namespace, name).await?.ok_or_else(missing)?;
        let rules = rules_of(&app);
        world.read_tenant(namespace).await?;
        world.read_tenant(&rules).await?;
        let mut walk = Walk::to_look_at(&app, &world.hub_uid);
        if let Some(client) = &world.client {
            walk = Box::pin(records::load_from(client, walk)).await?;
        }
        look_up_all(world, namespace, &app).await?;
        let (draft, in_force) = loop {
            let view = world.view(&rules);
            let tenant = world.tenant(namespace).ok_or_else(missing)?;
            let made = with_pinned_definitions(&app, &walk.pinning(), &view, &tenant.definitions);
            let asked = view.into_asked();
            if asked.is_empty() {
                break made?;
            }
            for reference in asked {
                world.look_up(&reference).await?;
            }
        };
        let running = walk.revision.as_ref().map(|revision| revision.hash.as_str());
        let standing = match run::decide(&app, walk.run.as_ref(), running, &draft.hash) {
            Decision::Current if walk.is_running() => Standing::Running { run: walk.run_name().to_owned() },
            Decision::Current => settled(&walk),
            Decision::Start(cause) if queue::waits(queue::rule(&app)?, cause, walk.run_status()) => {
                Standing::Queued { cause: cause.to_owned(), run: walk.run_name().to_owned() }
            }
            Decision::Start(cause) => Standing::Starts { cause: cause.to_owned() },
            Decision::Behind(Behind::Rollback) if walk.is_running() => {
                Standing::Running { run: walk.run_name().to_owned() }
            }
            Decision::Behind(Behind::Rollback) => Standing::RolledBack { run: walk.run_name().to_owned() },
            Decision::Behind(Behind::PublishVersion) => Standing::HeldBack {
                publish_version: app.annotations().get(names::PUBLISH_VERSION).cloned().unwrap_or_default(),
            },
        };
        let known: BTreeSet<String> = world.clusters.iter().map(|cluster| cluster.name_any()).collect();
        if matches!(standing, Standing::Running { .. } | Standing::Current { .. }) {
            let status = walk.run_status().cloned().unwrap_or_default();
            let removed = removed(&status, &known);
            return Ok(Self { app, walk, status, removed, standing });
        }
        // What starts takes up the definitions in force.
        let draft = match (in_force, world.tenant(namespace)) {
            (false, Some(tenant)) => resolve(&app, &world.view(&rules), &tenant.definitions)?,
            _ => draft,
        };
        let (revision, placed) = run::place(&walk.key, draft, &world.clusters, &|cluster, named| {
            world.admit(namespace, cluster, named)
        })?;
        walk.fold();
        if let Some(before) = walk.revision.take() {
            walk.revisions.insert(before.name.clone(), before);
        }
        run::list_leaving(&mut walk.inventory, &revision, namespace, &world.clusters, &|_| true);
        let status = run::first_state(&revision, &placed, &walk.inventory);
        let mut inventory = std::mem::take(&mut walk.inventory);
        run::list_in_inventory(&mut inventory, &revision, &status, &walk.delivery());
        walk.inventory = inventory;
        walk.revision = Some(Arc::new(revision));
        walk.run = None;
        let removed = removed(&status, &known);
        Ok(Self { app, walk, status, removed, standing })
    }

    /// The Application, as it is or would be.
    pub fn application(&self) -> &Application {
        &self.app
    }

    /// What the plans are about.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The hash of the revision.
    pub fn revision(&self) -> &str {
        self.walk.revision.as_ref().map_or("", |revision| revision.hash.as_str())
    }

    /// What our label of the owner says on members.
    pub fn owner(&self) -> &str {
        &self.walk.owner
    }

    /// Our field manager on members.
    pub fn manager(&self) -> String {
        self.walk.manager()
    }

    /// The names of the steps.
    pub fn steps(&self) -> Vec<&str> {
        self.status.steps.iter().map(|step| step.name.as_str()).collect()
    }

    /// The plan that an approval of a step's gate is about, each change with who set it.
    pub fn gate(&self, step: &str) -> Option<GatePlan> {
        let mut made = self.with_source(|source| gate_plan_of(source, step))?;
        for plan in &mut made.plans {
            for target in &mut plan.targets {
                for action in target.actions.iter_mut().filter(|action| action.kind == ActionKind::Change) {
                    let Some(provenance) = self.provenance(&plan.step, &target.target, &action.id) else {
                        continue;
                    };
                    for change in &mut action.changes {
                        change.set_by = Some(provenance.source_of(&change.path).clone());
                    }
                }
            }
        }
        Some(made)
    }

    /// Every step that isn't over, with its plan.
    pub fn plans(&self) -> Vec<Step> {
        let Some(revision) = &self.walk.revision else { return Vec::new() };
        let states = self.status.steps.iter().filter(|step| !step.phase.is_over());
        let plans = states.filter_map(|state| {
            let node = revision.graph.node(&state.name)?;
            let plan = self.gate(&state.name)?;
            let asks = if node.kind.is_gated() || state.ask {
                Some(GateBefore::Step)
            } else {
                asks_before_deletes(node, state, &plan).then_some(GateBefore::Deletes)
            };
            let over = self.over(&state.name).into_keys().collect();
            Some(Step { type_: state.type_.clone(), gate: asks.is_some(), before: asks, over, plan })
        });
        plans.collect()
    }

    /// The targets of a step under way that are over, and how they ended. Which are done meanwhile the Application shows
    /// before the run's record does.
    pub fn over(&self, step: &str) -> BTreeMap<Target, TargetPhase> {
        let Some(state) = self.status.steps.iter().find(|state| state.name == step && !state.phase.is_over())
        else {
            return BTreeMap::new();
        };
        let shown = self.app.status.as_ref().and_then(|status| status.workflow.as_ref());
        let shown = shown.filter(|workflow| workflow.run == self.walk.run_name() && self.walk.run.is_some());
        let shown = shown.into_iter().flat_map(|workflow| &workflow.steps);
        let shown = shown.flat_map(|step| std::iter::once(step).chain(&step.sub_steps));
        let done: BTreeSet<Target> = shown
            .filter(|shown| shown.name == step)
            .flat_map(|shown| &shown.targets)
            .filter(|target| target.phase == TargetPhase::Succeeded.as_str())
            .map(|target| Target::new(target.cluster.as_str(), target.namespace.as_str()))
            .collect();
        let phase = |state: &TargetState| {
            if done.contains(&state.target) { TargetPhase::Succeeded } else { state.phase }
        };
        let all = state.targets.iter().map(|state| (state.target.clone(), phase(state)));
        all.filter(|(_, phase)| phase.is_over()).collect()
    }

    /// Where the plan of a step's gate is dangerous.
    pub fn hints(&self, step: &str, facts: &Facts) -> Vec<Hint> {
        let mut facts = facts.clone();
        facts.manager = self.manager();
        facts.owner = self.owner().to_owned();
        facts.copies = self.copies();
        self.with_source(|source| hints_of(source, step, &facts)).unwrap_or_default()
    }

    /// The same with other members gone than those that are.
    #[must_use]
    pub fn without(mut self, gone: BTreeSet<String>) -> Self {
        self.removed = gone;
        self
    }

    /// The members of the run that are gone.
    pub fn gone(&self) -> &BTreeSet<String> {
        &self.removed
    }

    /// The objects of a step as they are sent to a target.
    pub fn desired(&self, step: &str, target: &Target) -> Arc<Vec<Desired>> {
        let revision = self.walk.revision.as_ref();
        revision.map_or_else(Arc::default, |revision| revision.desired(step, target, &self.walk.delivery()))
    }

    /// Everything that the Application has, or will have, by cluster.
    pub fn claimed(&self) -> BTreeMap<String, BTreeSet<ObjectId>> {
        let mut claimed: BTreeMap<String, BTreeSet<ObjectId>> = BTreeMap::new();
        for step in &self.status.steps {
            for target in step.targets.iter().filter(|target| !target.cleared).map(|state| &state.target) {
                let ids = self.desired(&step.name, target);
                claimed
                    .entry(target.cluster.clone())
                    .or_default()
                    .extend(ids.iter().map(|one| one.id.clone()));
            }
        }
        claimed
    }

    /// Who set the fields of an object that a step delivers.
    pub fn provenance(&self, step: &str, target: &Target, id: &ObjectId) -> Option<&Provenance> {
        self.walk.revision.as_ref()?.provenance(step, target, id, &self.walk.delivery())
    }

    /// What is said of groups that a gate demands and that nothing lets approve. Asks the hub where there are any.
    ///
    /// # Errors
    /// What the hub refused.
    pub async fn powerless(&self, client: &kube::Client) -> Result<Vec<String>, PreviewError> {
        let asked = crate::people::proof::powers::look(client, &self.walk).await;
        asked.map_err(|error| PreviewError::hub("whether groups may approve", error))
    }

    fn copies(&self) -> BTreeMap<(String, String, String), BTreeSet<Target>> {
        let mut copies: BTreeMap<_, BTreeSet<Target>> = BTreeMap::new();
        for entry in &self.walk.inventory.targets {
            for id in entry.objects.keys() {
                let key = (id.group().to_owned(), id.kind.clone(), id.name.clone());
                copies.entry(key).or_default().insert(entry.target.clone());
            }
        }
        copies
    }

    fn with_source<T>(&self, make: impl FnOnce(&PlanSource<'_>) -> T) -> Option<T> {
        let revision = self.walk.revision.as_ref()?;
        Some(make(&PlanSource {
            revision,
            status: &self.status,
            inventory: &self.walk.inventory,
            delivery: Delivery {
                application: &self.walk.key.1,
                namespace: &self.walk.key.0,
                owner: &self.walk.owner,
            },
            loaded: &|name| self.walk.loaded(name),
            removed: &self.removed,
        }))
    }
}

/// Whether a step that asks nobody first stops before its deletes.
fn asks_before_deletes(node: &Node, state: &StepState, plan: &GatePlan) -> bool {
    let asks = matches!(&node.kind, StepKind::Deploy(deploy) if deploy.on_delete == OnDelete::Approve);
    if !asks || state.gate.as_ref().is_some_and(Gate::is_open) {
        return false;
    }
    if state.phase != StepPhase::Pending {
        // It was decided when the step began.
        return state.targets.iter().any(|state| !state.guard.is_empty() && !state.phase.is_over());
    }
    let own = plan.plans.iter().filter(|plan| plan.step == state.name).flat_map(|plan| &plan.targets);
    own.into_iter().any(|target| !target.loses.is_empty())
}

/// Where nothing is asked for that the last run wasn't for.
fn settled(walk: &Walk) -> Standing {
    let run = walk.run_name().to_owned();
    match walk.run_status() {
        Some(status) if status.phase != RunPhase::Succeeded => {
            Standing::Ended { run, phase: status.phase, reason: status.reason.clone() }
        }
        _ => Standing::Current { run },
    }
}

/// [`names::hub_identity`], asked for.
pub(crate) async fn hub_identity(client: &kube::Client) -> Result<String, PreviewError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let system = namespaces.get_metadata("kube-system").await;
    let system = system.map_err(|error| PreviewError::hub("the hub's identity", error))?;
    Ok(names::hub_identity(&system.metadata).unwrap_or_default().to_owned())
}

fn removed(status: &RunStatus, known: &BTreeSet<String>) -> BTreeSet<String> {
    let targets = status.steps.iter().flat_map(|step| step.targets.iter().map(|t| t.target.cluster.clone()));
    targets.filter(|cluster| !known.contains(cluster)).collect()
}

/// Looks up what the components refer to, as far as can be told without overrides; what they change is asked for later.
async fn look_up_all(world: &mut World, namespace: &str, app: &Application) -> Result<(), PreviewError> {
    for component in app.spec.components.iter().filter(|c| c.type_ == fleet_render::REFERENCE_TYPE) {
        let properties = component.properties.clone().unwrap_or_default();
        let Ok(wanted) = references(&component.name, &properties, namespace) else { continue };
        for reference in wanted {
            world.look_up(&reference).await?;
        }
    }
    Ok(())
}

/// What other Applications have in their inventories on these clusters: by cluster, object to `namespace/name`.
///
/// # Errors
/// What the hub refused.
pub async fn claims(
    client: &kube::Client,
    clusters: &BTreeSet<String>,
    except: &[(String, String)],
) -> Result<BTreeMap<String, BTreeMap<ObjectId, String>>, PreviewError> {
    let api: Api<ResourceTracker> = Api::all(client.clone());
    let mut found: BTreeMap<String, BTreeMap<ObjectId, String>> = BTreeMap::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = api.list(&params).await.map_err(|error| PreviewError::hub("the inventories", error))?;
        let next = page.metadata.continue_.filter(|token| !token.is_empty());
        for tracker in page.items {
            let key = (tracker.spec.application_namespace.clone(), tracker.spec.application_name.clone());
            if except.contains(&key) {
                continue;
            }
            // One that can't be read says nothing.
            let Ok(inventory) = tracker.spec.inventory.unpack::<fleet_api::Inventory>() else { continue };
            for entry in inventory.targets.iter().filter(|entry| clusters.contains(&entry.target.cluster)) {
                let here = found.entry(entry.target.cluster.clone()).or_default();
                let owned = entry.objects.iter().filter(|(_, owned)| !owned.made_namespace);
                here.extend(owned.map(|(id, _)| (id.clone(), format!("{}/{}", key.0, key.1))));
            }
        }
        match next {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(found),
        }
    }
}
