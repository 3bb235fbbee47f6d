//! Taking back what an Application carried: its inventory is on record here before it is let go.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleet_api::{Application, Inventory, ObjectId, ResourceTracker, StagedPlacement, names};
use fleet_plan::Desired;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use serde_json::json;

use super::Doing;
use crate::context::{AppKey, Context};
use crate::propagation::dispatch::Done;
use crate::propagation::distributor::Distributor;
use crate::propagation::held::{replicas, standing};
use crate::propagation::items::Item;
use crate::propagation::policies::recorded;
use crate::records::{self, RecordError, tracker_name};
use crate::turn::walk::Walk;

/// What an Application had on record, and what it delivered last of it, with the clusters.
#[derive(Default)]
pub(in crate::propagation) struct Had {
    inventory: Inventory,
    delivered: Vec<(String, Desired)>,
}

impl Distributor {
    /// Reads what an Application that acts no more had.
    pub(super) fn read_back(&mut self, key: &AppKey) {
        self.stages.doing.insert(key.clone(), Doing::Reading);
        let (ctx, application) = (Arc::clone(&self.ctx), self.application(key));
        let (key, name) = (key.clone(), tracker_name(&key.1, self.owner()));
        self.jobs.spawn(async move {
            let outcome = had(&ctx, application.as_deref(), &name).await;
            Done::HandedBack { key, outcome: Box::new(outcome) }
        });
    }

    /// What an Application had goes on record here.
    pub(in crate::propagation) fn handed_back(&mut self, key: &AppKey, outcome: Result<Had, RecordError>) {
        let Had { inventory, delivered } = match outcome {
            Ok(had) => had,
            Err(error) => {
                tracing::warn!(namespace = key.0, application = key.1, %error, "what an Application carried can't be read; tried again");
                self.stages.doing.remove(key);
                self.stages.touch_later(key);
                return;
            }
        };
        let owner = self.owner().to_owned();
        let policy = self.stages.policies.get(key).cloned();
        let application = self.ctx.hub.applications.get(&ObjectRef::new(&key.1).within(&key.0));
        let placed =
            application.and_then(|application| StagedPlacement::read(&application.spec).ok().flatten());
        let keeps = placed.is_some_and(|placed| placed.keeps);
        let mut ids: BTreeSet<ObjectId> = self.stages.carried.get(key).cloned().unwrap_or_default();
        for entry in inventory.targets {
            let cluster = entry.target.cluster;
            if self.fleet.get(&cluster).is_none() {
                continue;
            }
            for (id, owned) in entry.objects {
                if owned.made_namespace {
                    self.keep_namespace((cluster.clone(), id.name.clone()));
                    continue;
                }
                let item = self.items.entry(id.clone()).or_insert_with(|| {
                    let mut item = Box::<Item>::default();
                    item.remembered.kept = keeps;
                    item.remembered.policy = policy.as_ref().map(recorded);
                    item
                });
                item.remembered.stage = Some(key.1.clone());
                item.places.entry(cluster.clone()).or_default().list();
                // How many it has there by now: the run may not have come to what was decided.
                if !item.remembered.told.is_empty()
                    && let Some(shown) = shown_of(&self.ctx, &id, &cluster, &owner)
                {
                    item.remembered.told.insert(cluster.clone(), shown);
                }
                ids.insert(id);
            }
        }
        for (cluster, desired) in delivered {
            let Some(item) = self.items.get_mut(&desired.id) else { continue };
            let replicas = item.remembered.told.get(&cluster).copied();
            if let Some(place) = item.places.get_mut(&cluster) {
                place.carried = Some(standing(&desired.object, replicas));
            }
        }
        for id in &ids {
            self.ledger.touch(id, true);
        }
        self.stages.carried.insert(key.clone(), ids);
        self.stages.doing.insert(key.clone(), Doing::Recording);
        self.let_go_of_recorded();
    }

    /// Applications of which everything is on record here are let go.
    pub(in crate::propagation) fn let_go_of_recorded(&mut self) {
        let recorded = |key: &AppKey| {
            let ids = self.stages.carried.get(key).into_iter().flatten();
            ids.filter_map(|id| self.items.get(id)).all(|item| item.is_recorded())
        };
        let recording = self.stages.doing.iter().filter(|(_, doing)| **doing == Doing::Recording);
        let through: Vec<AppKey> =
            recording.map(|(key, _)| key.clone()).filter(|key| recorded(key)).collect();
        for key in through {
            self.let_go(key);
        }
    }

    fn let_go(&mut self, key: AppKey) {
        self.stages.doing.insert(key.clone(), Doing::Finishing);
        let client = self.ctx.hub.client.clone();
        let tracker = tracker_name(&key.1, self.owner());
        let application = self.application(&key);
        self.jobs.spawn(async move {
            let outcome = finish(&client, &key, &tracker, application.as_deref()).await;
            Done::LetGo { key, outcome }
        });
    }

    /// An Application is gone: the distribution acts again.
    pub(in crate::propagation) fn gone(&mut self, key: &AppKey, outcome: Result<(), kube::Error>) {
        self.stages.doing.remove(key);
        if let Err(error) = outcome {
            tracing::debug!(namespace = key.0, application = key.1, %error, "an Application isn't let go yet; tried again");
            self.stages.last.remove(key);
            self.stages.touch_later(key);
            return;
        }
        self.stages.back.remove(key);
        self.stages.last.remove(key);
        let policy = self.stages.policies.remove(key);
        for id in self.stages.carried.remove(key).unwrap_or_default() {
            if let Some(mut item) = self.items.remove(&id) {
                item.remembered.stage = None;
                // What stands there now was delivered by another: what is taken of it from now on is drift.
                let seen = |cluster: &String| Some((cluster.clone(), self.observed(&id, cluster)?.managed?));
                item.remembered.left = item.at().filter_map(seen).collect();
                for place in item.places.values_mut() {
                    place.left = None;
                    place.last = None;
                    place.kept = None;
                    place.begin_anew();
                }
                self.items.insert(id.clone(), item);
            }
            self.ledger.touch(&id, false);
            self.touch(&id);
        }
        if let Some(policy) = policy {
            self.said.touch(&policy);
        }
    }
}

/// How much of an object a cluster has; nothing where that isn't seen.
fn shown_of(ctx: &Context, id: &ObjectId, cluster: &str, owner: &str) -> Option<u64> {
    let member = ctx.members.get(cluster).ok()?;
    match member.observed(id).filter(|seen| seen.owner == owner) {
        Some(seen) => replicas(id, &seen),
        None => member.observes([id].into_iter()).then_some(0),
    }
}

async fn had(ctx: &Context, application: Option<&Application>, tracker: &str) -> Result<Had, RecordError> {
    let api: Api<ResourceTracker> = Api::all(ctx.hub.client.clone());
    let Some(tracker) = api.get_opt(tracker).await? else { return Ok(Had::default()) };
    let inventory = tracker.spec.inventory.unpack()?;
    // What isn't told by its history is taken back all the same; edits there aren't known to be such then.
    let delivered = match application {
        Some(application) => delivered(ctx, application).await.unwrap_or_else(|error| {
            tracing::warn!(%error, application = application.name_any(), "what an Application delivered last can't be read");
            Vec::new()
        }),
        None => Vec::new(),
    };
    Ok(Had { inventory, delivered })
}

async fn delivered(ctx: &Context, application: &Application) -> Result<Vec<(String, Desired)>, RecordError> {
    let walk = records::load_from(&ctx.hub.client, Walk::to_look_at(application, &ctx.hub.uid)).await?;
    let targets = walk.inventory.targets.iter().map(|entry| &entry.target);
    let delivered = targets.flat_map(|target| {
        let member = ctx.members.get(&target.cluster).ok();
        let shows = |desired: &Desired| {
            let seen = member.as_ref().and_then(|member| member.observed(&desired.id));
            seen.is_some_and(|seen| seen.owner == walk.owner && seen.content == desired.content.short())
        };
        let last = walk.delivered_last(target, shows);
        last.into_iter().map(|desired| (target.cluster.clone(), desired))
    });
    Ok(delivered.collect())
}

async fn finish(
    client: &kube::Client,
    key: &AppKey,
    tracker: &str,
    application: Option<&Application>,
) -> Result<(), kube::Error> {
    let absent = |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.code == 404);
    let trackers: Api<ResourceTracker> = Api::all(client.clone());
    match trackers.delete(tracker, &DeleteParams::default()).await {
        Err(error) if !absent(&error) => return Err(error),
        _ => {}
    }
    let Some(application) = application else { return Ok(()) };
    let kept: Vec<&String> =
        application.finalizers().iter().filter(|finalizer| *finalizer != names::STAGED_FINALIZER).collect();
    let patch = json!({"metadata": {
        "uid": application.uid(),
        "finalizers": kept,
        "resourceVersion": application.resource_version(),
    }});
    let applications: Api<Application> = Api::namespaced(client.clone(), &key.0);
    match applications.patch(&key.1, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Err(error) if !absent(&error) => Err(error),
        _ => Ok(()),
    }
}
