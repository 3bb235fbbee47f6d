//! Reading and writing what decides: revisions, runs, trackers. Every write carries the resource version.

mod forget;
pub(crate) mod revision;
mod revisions;
pub mod rollback;

use fleet_api::run::RunSpec;
use fleet_api::{
    Application, Inventory, Packed, ResourceTracker, ResourceTrackerSpec, Run, RunStatus, names,
};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::{Resource as _, ResourceExt as _};

use crate::Problem;
use crate::context::Context;
use crate::replicas::Hold;
use crate::turn::walk::Walk;

pub(crate) use forget::forget_old;
pub(crate) use revisions::{create_revision, read_revision};

/// How long members may take to show what they have to whoever has just taken a run up. So long nothing that isn't seen
/// runs out of time.
const FIRST_LOOK: jiff::SignedDuration = jiff::SignedDuration::from_secs(30);

/// Why a record couldn't be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// The hub refused or didn't answer.
    #[error("the hub refuses: {0}")]
    Hub(#[from] kube::Error),
    /// What is stored can't be read.
    #[error("{0}")]
    Packed(#[from] fleet_api::PackedError),
    /// What is stored can't be used.
    #[error("{}", .0.message)]
    Unusable(Problem),
}

impl RecordError {
    /// Whether somebody else wrote meanwhile: read again, decide again.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Hub(kube::Error::Api(status)) if status.code == 409)
    }

    /// Whether what was asked for isn't there.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Hub(kube::Error::Api(status)) if status.code == 404)
    }
}

impl From<Problem> for RecordError {
    fn from(problem: Problem) -> Self {
        Self::Unusable(problem)
    }
}

/// Reads what is on record about an Application.
pub(crate) async fn load(ctx: &Context, app: &Application, hold: Hold) -> Result<Walk, RecordError> {
    let mut walk = load_from(&ctx.hub.client, Walk::new(app, &ctx.hub.uid, hold)).await?;
    let settled = ctx.now().checked_add(FIRST_LOOK).ok().filter(|_| walk.is_running());
    walk.taken_up = settled.map(|settled| (walk.run_name().to_owned(), settled));
    Ok(walk)
}

/// The same for whoever has no controller around: fills a new walk.
pub(crate) async fn load_from(client: &kube::Client, mut walk: Walk) -> Result<Walk, RecordError> {
    let trackers: Api<ResourceTracker> = Api::all(client.clone());
    walk.tracker = trackers.get_opt(&tracker_name(&walk.key.1, &walk.owner)).await?.map(light);
    if let Some(tracker) = &walk.tracker {
        walk.inventory = tracker.spec.inventory.unpack()?;
    }
    let mut found = runs_of(client, &walk).await?;
    // What an earlier process left is looked at soon.
    walk.begun = found.len();
    walk.run = found.pop().map(light);
    if let Some(run) = &walk.run {
        walk.revision = match read_revision(client, &walk.key.0, &run.spec.revision).await {
            Ok(revision) => Some(revision),
            // Somebody deleted it: the run can't go on and says so, and the Application can still be deleted.
            Err(error) if error.is_absent() => None,
            Err(error) => return Err(error),
        };
        walk.board.begin(walk.run_name());
    }
    load_layers_from(client, &mut walk).await?;
    Ok(walk)
}

/// Every run of the Application that is kept, the oldest first.
pub(crate) async fn runs(ctx: &Context, walk: &Walk) -> Result<Vec<Run>, RecordError> {
    Ok(runs_of(&ctx.hub.client, walk).await?)
}

async fn runs_of(client: &kube::Client, walk: &Walk) -> Result<Vec<Run>, kube::Error> {
    let runs: Api<Run> = Api::namespaced(client.clone(), &walk.key.0);
    let selector = format!("{}={}", names::APPLICATION, names::short_label(&walk.key.1));
    let mut found = runs.list(&ListParams::default().labels(&selector)).await?.items;
    found.retain(|run| run.spec.application_uid == walk.uid);
    found.sort_by_key(|run| run.spec.number);
    Ok(found)
}

/// Reads the revisions that the inventory's layers name, unless they are there.
pub(crate) async fn load_layers(ctx: &Context, walk: &mut Walk) -> Result<(), RecordError> {
    load_layers_from(&ctx.hub.client, walk).await
}

async fn load_layers_from(client: &kube::Client, walk: &mut Walk) -> Result<(), RecordError> {
    let wanted = walk.needed_revisions();
    walk.revisions.retain(|name, _| wanted.contains(name));
    for name in wanted {
        if walk.loaded(&name).is_some() {
            continue;
        }
        match read_revision(client, &walk.key.0, &name).await {
            Ok(revision) => {
                walk.revisions.insert(name, revision);
            }
            // A revision that was deleted only costs the comparison with it.
            Err(error) if error.is_absent() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Records the inventory.
pub(crate) async fn write_tracker(ctx: &Context, walk: &mut Walk) -> Result<(), RecordError> {
    let api: Api<ResourceTracker> = Api::all(ctx.hub.client.clone());
    let spec = ResourceTrackerSpec {
        type_: "root".to_owned(),
        application_name: walk.key.1.clone(),
        application_namespace: walk.key.0.clone(),
        application_uid: walk.uid.clone(),
        total: walk.inventory.total(),
        inventory: Packed::pack::<Inventory>(&walk.inventory)?,
        memory: None,
    };
    let params = PostParams::default();
    let written = match &walk.tracker {
        Some(tracker)
            if tracker.spec.inventory == spec.inventory && tracker.spec.application_uid == walk.uid =>
        {
            return Ok(());
        }
        Some(tracker) => {
            let mut new = tracker.clone();
            new.spec = spec;
            api.replace(&tracker.name_any(), &params, &new).await?
        }
        None => {
            let mut tracker = ResourceTracker::new(&tracker_name(&walk.key.1, &walk.owner), spec);
            tracker.labels_mut().insert(names::APPLICATION.to_owned(), names::short_label(&walk.key.1));
            api.create(&params, &tracker).await?
        }
    };
    walk.tracker = Some(light(written));
    Ok(())
}

/// Takes the tracker away: nothing is owned any more.
pub(crate) async fn delete_tracker(ctx: &Context, walk: &mut Walk) -> Result<(), RecordError> {
    let api: Api<ResourceTracker> = Api::all(ctx.hub.client.clone());
    match api.delete(&tracker_name(&walk.key.1, &walk.owner), &DeleteParams::default()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(error.into()),
    }
    walk.tracker = None;
    Ok(())
}

/// Records a new run.
pub(crate) async fn create_run(
    ctx: &Context,
    app: &Application,
    spec: RunSpec,
    status: RunStatus,
) -> Result<Run, RecordError> {
    let namespace = app.namespace().unwrap_or_default();
    let api: Api<Run> = Api::namespaced(ctx.hub.client.clone(), &namespace);
    // An Application made anew under the same name has runs of its own names.
    let uid: String = app.uid().unwrap_or_default().chars().take(5).collect();
    let mut run = Run::new(&names::derived_name(&app.name_any(), &format!("{uid}-{}", spec.number)), spec);
    run.status = Some(status);
    label(&mut run, app);
    Ok(light(api.create(&PostParams::default(), &run).await?))
}

/// Records the state of a run.
pub(crate) async fn replace_run(ctx: &Context, run: &Run) -> Result<Run, RecordError> {
    let api: Api<Run> = Api::namespaced(ctx.hub.client.clone(), &run.namespace().unwrap_or_default());
    Ok(light(api.replace(&run.name_any(), &PostParams::default(), run).await?))
}

/// A record as it is kept in memory: who owns which of its fields takes more room than all that it says, and a server
/// takes a write without them for one that leaves them as they are.
pub(crate) fn light<K: kube::Resource>(mut record: K) -> K {
    record.meta_mut().managed_fields = None;
    record
}

/// The tracker's name: one per Application, cluster-scoped. The hash tells `a-b` in `c` from `a` in `b-c`.
pub(crate) fn tracker_name(application: &str, owner: &str) -> String {
    names::derived_name(application, owner)
}

fn label<K: kube::Resource<DynamicType = ()>>(object: &mut K, app: &Application) {
    object.labels_mut().insert(names::APPLICATION.to_owned(), names::short_label(&app.name_any()));
    object.owner_references_mut().extend(app.controller_owner_ref(&()));
}
