//! One member: requests with a deadline and within a budget.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_api::{ObjectId, names};
use kube::api::{
    Api, DeleteParams, DynamicObject, ListParams, PartialObjectMeta, Patch, PatchParams, Preconditions,
};
use kube::core::ObjectMeta;
use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio::time::error::Elapsed;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::breaker::Breaker;
use crate::budget::Budget;
use crate::discovery::Discovered;
use crate::observe::{Looks, Observations, Observed, Sight, Watched, sight};
use crate::others::Others;
use crate::recognition::Recognition;
use crate::registry::{MemberEvent, Shared};
use crate::resource::ResourcePath;
use crate::{Answer, Hold, MemberError, Reachability};

/// To whom an API server gives all fields of an object without managedFields when it is first applied to. It owns
/// them beside the applier, so that nothing that the applier leaves out later would go.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// An object as the member has it now.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    /// Its UID.
    pub uid: String,
    /// Its resource version.
    pub resource_version: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The names of its field managers, with `Apply` entries only.
    pub appliers: Vec<String>,
    /// Whether fields are owned by nobody in particular: the object had no managedFields when it was applied to.
    pub before_first_apply: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Hash over the fields that our manager owns, with their values; known of the answer to an apply only.
    pub managed: Option<u64>,
}

/// How much of a kind [`Member::inside`] looks at.
pub const INSIDE: u32 = 50;

/// Something that is in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inside {
    /// It is being deleted.
    pub deleting: bool,
    /// It names an owner, and goes when that goes.
    pub follows: bool,
    /// The value of [`names::OWNER`].
    pub owner: Option<String>,
}

impl Live {
    pub(crate) fn of(metadata: &ObjectMeta) -> Self {
        let managers = || metadata.managed_fields.iter().flatten();
        let appliers = managers().filter(|entry| entry.operation.as_deref() == Some("Apply"));
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            labels: metadata.labels.clone().unwrap_or_default(),
            appliers: appliers.filter_map(|entry| entry.manager.clone()).collect(),
            before_first_apply: managers().any(|e| e.manager.as_deref() == Some(BEFORE_FIRST_APPLY)),
            deleting: metadata.deletion_timestamp.is_some(),
            managed: None,
        }
    }

    /// The application that owns it, by the label that every delivered object carries.
    pub fn owner(&self) -> Option<&str> {
        self.labels.get(names::OWNER).map(String::as_str)
    }
}

/// A member that can be asked. Cheap to share.
pub struct Member {
    name: String,
    client: kube::Client,
    budget: Budget,
    breaker: Breaker,
    /// Why people hold it.
    held: Mutex<Option<Hold>>,
    pub(crate) discovered: Discovered,
    pub(crate) observations: Observations,
    pub(crate) watched: Watched,
    pub(crate) looks: Looks,
    pub(crate) others: Others,
    pub(crate) shared: Arc<Shared>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) changed: tokio::sync::Notify,
    recheck: tokio::sync::Notify,
    pub(crate) recognition: Recognition,
    /// How often it stopped answering.
    outages: AtomicU64,
    /// Told when it may be at hand again, or no longer.
    pub(crate) turned: tokio::sync::Notify,
}

impl Member {
    pub(crate) fn new(
        name: &str,
        client: kube::Client,
        shared: Arc<Shared>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            name: name.to_owned(),
            client,
            budget: Budget::new(shared.options.requests_at_once, shared.options.longest_wait),
            breaker: Breaker::new(name),
            held: Mutex::new(None),
            discovered: Discovered::default(),
            observations: Observations::default(),
            watched: Watched::default(),
            looks: Looks::default(),
            others: Others::default(),
            outages: AtomicU64::new(0),
            shared,
            stop,
            tasks: TaskTracker::new(),
            changed: tokio::sync::Notify::new(),
            recheck: tokio::sync::Notify::new(),
            recognition: Recognition::default(),
            turned: tokio::sync::Notify::new(),
        }
    }

    /// The member's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it answers, as far as known.
    pub fn reachability(&self) -> Reachability {
        self.breaker.reachability()
    }

    /// Why nothing may be written to it, where that is so. An identity that is in doubt outweighs a cordon:
    /// uncordoning doesn't help against it.
    pub fn hold(&self) -> Option<Hold> {
        let held = || self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        self.standing().or_else(held)
    }

    pub(crate) fn set_hold(&self, why: Option<Hold>) {
        *self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = why;
    }

    /// Every write asks first: whatever decided on it may have decided before the hold.
    pub(crate) fn may_write(&self) -> Result<(), MemberError> {
        match self.hold() {
            None => Ok(()),
            Some(hold) => Err(MemberError::Held { cluster: self.name.clone(), hold }),
        }
    }

    /// Whose objects' status is kept; empty: nobody's.
    pub(crate) fn shown_of(&self) -> &str {
        &self.shared.options.shown_of
    }

    /// What the observer last saw of an object.
    pub fn observed(&self, id: &ObjectId) -> Option<Arc<Observed>> {
        self.observations.get(id)
    }

    /// Why an object's kind can't be watched where it is; nothing where it can.
    pub fn blind(&self, id: &ObjectId) -> Option<String> {
        self.observations.blind(id)
    }

    pub(crate) fn outages(&self) -> u64 {
        self.outages.load(Ordering::Relaxed)
    }

    /// Resolves at the next change of what is observed. Ask for it before looking, then wait.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Whether the first list of every watched kind among these has arrived.
    pub fn observes<'a>(&self, mut ids: impl Iterator<Item = &'a ObjectId>) -> bool {
        ids.all(|id| self.observations.is_synced(id))
    }

    /// Applies an object on the server. Answers what stands there afterwards.
    ///
    /// # Errors
    /// [`MemberError::Conflicts`] where others own fields, unless `force`; [`MemberError::Held`] without asking.
    pub async fn apply(
        self: &Arc<Self>,
        id: &ObjectId,
        object: &Value,
        manager: &str,
        force: bool,
    ) -> Result<Live, MemberError> {
        self.may_write()?;
        let mut params = PatchParams::apply(manager);
        params.force = force;
        let applied = self.patch("apply", id, &params, &Patch::Apply(object)).await;
        applied.map_err(|error| error.without_values(object))
    }

    /// Patches an object. The answer is what a watch would bring: of some kinds, metadata only.
    async fn patch(
        self: &Arc<Self>,
        what: &'static str,
        id: &ObjectId,
        params: &PatchParams,
        patch: &Patch<&Value>,
    ) -> Result<Live, MemberError> {
        let path = self.path(id).await?;
        match self.by_metadata(&(id.api_version.clone(), id.kind.clone())) {
            true => self.patch_as::<PartialObjectMeta<DynamicObject>>(what, id, &path, params, patch).await,
            false => self.patch_as::<DynamicObject>(what, id, &path, params, patch).await,
        }
    }

    async fn patch_as<K: Sight>(
        self: &Arc<Self>,
        what: &'static str,
        id: &ObjectId,
        path: &ResourcePath,
        params: &PatchParams,
        patch: &Patch<&Value>,
    ) -> Result<Live, MemberError> {
        let api: Api<K> = if path.namespaced {
            Api::namespaced_with(self.client.clone(), &id.namespace, &path.resource)
        } else {
            Api::all_with(self.client.clone(), &path.resource)
        };
        let era = self.observations.era(id);
        let answer = self.ask(what, id, api.patch(&id.name, params, patch)).await?;
        Ok(self.patched(id, era, answer))
    }

    /// Takes in the answer to a patch that was sent in an era of the observations.
    pub(crate) fn patched<K: Sight>(self: &Arc<Self>, id: &ObjectId, era: u64, answer: K) -> Live {
        let mut live = Live::of(answer.meta());
        let kind = (id.api_version.clone(), id.kind.clone());
        if let Some((_, seen)) = sight(&kind, answer, &self.shared.judges.now(), self.shown_of()) {
            live.managed = seen.managed;
            // What is nobody's any more isn't watched: it only covers what was seen before, until the watch says that it went.
            if !seen.owner.is_empty() || self.observed(id).is_some() {
                self.note(id, seen, era, None);
            }
        }
        live
    }

    /// Reads an object's metadata; `None` where it isn't there.
    ///
    /// # Errors
    /// Where the member doesn't answer or refuses.
    pub async fn metadata(self: &Arc<Self>, id: &ObjectId) -> Result<Option<Live>, MemberError> {
        Ok(self.read_metadata(id).await?.as_ref().map(Live::of))
    }

    pub(crate) async fn read_metadata(
        self: &Arc<Self>,
        id: &ObjectId,
    ) -> Result<Option<ObjectMeta>, MemberError> {
        let path = self.path(id).await?;
        let api: Api<PartialObjectMeta<DynamicObject>> = if path.namespaced {
            Api::namespaced_with(self.client.clone(), &id.namespace, &path.resource)
        } else {
            Api::all_with(self.client.clone(), &path.resource)
        };
        let found = self.ask("read", id, api.get_metadata_opt(&id.name)).await?;
        Ok(found.map(|object| object.metadata))
    }

    /// Reads a whole object; `None` where it isn't there.
    ///
    /// # Errors
    /// Where the member doesn't answer or refuses.
    pub async fn get(self: &Arc<Self>, id: &ObjectId) -> Result<Option<Value>, MemberError> {
        let api = self.api(id).await?;
        let found = self.ask("read", id, api.get_opt(&id.name)).await?;
        Ok(found.and_then(|object| serde_json::to_value(object).ok()))
    }

    /// Deletes an object if it still is the one that was seen. True where it is gone or will be.
    ///
    /// # Errors
    /// Where the member doesn't answer or refuses.
    pub async fn delete(self: &Arc<Self>, id: &ObjectId, seen: &Live) -> Result<(), MemberError> {
        self.may_write()?;
        let api = self.api(id).await?;
        let mut params = DeleteParams::background();
        params.preconditions = Some(Preconditions {
            uid: Some(seen.uid.clone()),
            resource_version: Some(seen.resource_version.clone()),
        });
        match self.ask("delete", id, api.delete(&id.name, &params)).await {
            Ok(_) | Err(MemberError::Refused { code: 404, .. }) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// Gives up what we own of an object, if it still is as it was seen: our field-manager entry goes, and labels are set,
    /// or taken away (null). What it says stays.
    ///
    /// # Errors
    /// Where the member doesn't answer or refuses; as a conflict (409) where the object is another or has changed.
    pub async fn give_up(
        self: &Arc<Self>,
        id: &ObjectId,
        seen: &Live,
        manager: &str,
        labels: &Map<String, Value>,
    ) -> Result<(), MemberError> {
        self.disown(id, Some(seen), manager, labels).await
    }

    /// Takes away that fields of an object of ours belong to nobody in particular; see [`Live::before_first_apply`].
    ///
    /// # Errors
    /// Where the member doesn't answer or refuses.
    pub async fn forget_unnamed(self: &Arc<Self>, id: &ObjectId) -> Result<(), MemberError> {
        self.disown(id, None, BEFORE_FIRST_APPLY, &Map::new()).await
    }

    /// Takes a manager's entries from an object, and sets labels; nothing else of it changes.
    async fn disown(
        self: &Arc<Self>,
        id: &ObjectId,
        seen: Option<&Live>,
        manager: &str,
        labels: &Map<String, Value>,
    ) -> Result<(), MemberError> {
        self.may_write()?;
        let api = self.api(id).await?;
        let Some(object) = self.ask("read", id, api.get_metadata_opt(&id.name)).await? else { return Ok(()) };
        self.still_as(id, seen, &object.metadata)?;
        let patch = without(object.metadata, manager, labels);
        self.patch("release", id, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    /// What was decided by how an object was seen says nothing about another, or about how it is now.
    pub(crate) fn still_as(
        &self,
        id: &ObjectId,
        seen: Option<&Live>,
        now: &ObjectMeta,
    ) -> Result<(), MemberError> {
        match seen {
            Some(seen) if now.resource_version.as_deref() != Some(&seen.resource_version) => {
                Err(MemberError::Refused {
                    cluster: self.name.clone(),
                    code: 409,
                    reason: "Conflict".to_owned(),
                    message: format!("{id} has changed since it was looked at"),
                })
            }
            _ => Ok(()),
        }
    }

    /// What a namespace holds of a kind, as far as the first [`INSIDE`] of it; without those of some names.
    ///
    /// # Errors
    /// Where the member doesn't answer or refuses.
    pub async fn inside(
        self: &Arc<Self>,
        id: &ObjectId,
        ignored: &[&str],
    ) -> Result<Vec<Inside>, MemberError> {
        let api = self.api(id).await?;
        let found = self.ask("list", id, api.list_metadata(&ListParams::default().limit(INSIDE))).await?;
        let others = |object: &PartialObjectMeta<DynamicObject>| {
            !ignored.contains(&object.metadata.name.as_deref().unwrap_or_default())
        };
        let inside = |object: PartialObjectMeta<DynamicObject>| Inside {
            deleting: object.metadata.deletion_timestamp.is_some(),
            follows: object.metadata.owner_references.is_some_and(|owners| !owners.is_empty()),
            owner: object.metadata.labels.and_then(|mut labels| labels.remove(names::OWNER)),
        };
        Ok(found.items.into_iter().filter(others).map(inside).collect())
    }

    pub(crate) fn client(&self) -> kube::Client {
        self.client.clone()
    }

    pub(crate) async fn api(self: &Arc<Self>, id: &ObjectId) -> Result<Api<DynamicObject>, MemberError> {
        let path = self.path(id).await?;
        Ok(if path.namespaced {
            Api::namespaced_with(self.client.clone(), &id.namespace, &path.resource)
        } else {
            Api::all_with(self.client.clone(), &path.resource)
        })
    }

    /// One request: refused at once while the breaker is open, within the budget, with a deadline.
    pub(crate) async fn ask<T>(
        self: &Arc<Self>,
        what: &'static str,
        about: &(dyn std::fmt::Display + Sync),
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, MemberError> {
        let unreachable = |message: String| MemberError::Unreachable { cluster: self.name.clone(), message };
        let busy = |message: String| MemberError::Busy { cluster: self.name.clone(), message };
        let telemetry = &self.shared.options.telemetry;
        if let Reachability::Unreachable { message, .. } = self.breaker.reachability() {
            telemetry.asked(&self.name, what, Answer::NotAsked, Duration::ZERO);
            return Err(unreachable(message));
        }
        self.recognise().await?;
        let permit = self.budget.enter().await.map_err(&busy)?;
        let deadline = self.shared.options.request_timeout;
        let began = Instant::now();
        let span = tracing::debug_span!("member request", cluster = self.name, verb = what, about = %about);
        let outcome = tokio::time::timeout(deadline, request).instrument(span).await;
        drop(permit);
        telemetry.asked(&self.name, what, answer_of(&outcome), began.elapsed());
        let error = match outcome {
            Ok(Ok(answer)) => {
                self.answered();
                return Ok(answer);
            }
            Ok(Err(error)) => {
                if let Some(wait) = asked_to_wait(&error) {
                    self.budget.pause(wait);
                }
                MemberError::from_kube(&self.name, &error)
            }
            // One request that hangs says nothing about the member while it answers others.
            Err(_) if self.recognition.heard().is_some_and(|at| at >= began + deadline / 2) => {
                return Err(busy(format!(
                    "{what} {about}: no answer within {} s, while it answers other requests; does an admission webhook hang there?",
                    deadline.as_secs()
                )));
            }
            Err(_) => unreachable(format!("{what} {about}: no answer within {} s", deadline.as_secs())),
        };
        if let MemberError::Unreachable { message, .. } = &error {
            self.unreachable(message);
        } else {
            self.answered();
        }
        Err(error)
    }

    pub(crate) fn answered(&self) {
        self.recognition.hear();
        if self.breaker.answered() {
            self.turn();
            self.shared.send(MemberEvent::Reachable { cluster: self.name.clone() });
        }
    }

    /// The way to it has changed: whether it answers now, and as which cluster, is found out at once.
    pub(crate) fn way_changed(self: &Arc<Self>) {
        self.doubt();
        if self.breaker.reachability() != Reachability::Reachable {
            self.recheck.notify_one();
            return;
        }
        let (member, stop) = (Arc::clone(self), self.stop.clone());
        // What is found is told by an event.
        let check = async move { member.recognise().await.is_ok() };
        self.tasks.spawn(stop.run_until_cancelled_owned(check));
    }

    /// Opens the breaker and asks from time to time until the member answers.
    pub(crate) fn unreachable(self: &Arc<Self>, message: &str) {
        if !self.breaker.failed(message, Instant::now()) {
            return;
        }
        self.outages.fetch_add(1, Ordering::Relaxed);
        self.doubt();
        self.shared.send(MemberEvent::Unreachable { cluster: self.name.clone() });
        let member = Arc::clone(self);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = member.probe() => {}
            }
        });
    }

    /// Asks who is there from time to time: when it answers, it is known which cluster that is.
    async fn probe(self: &Arc<Self>) {
        loop {
            // New credentials are worth a try at once.
            let _ = tokio::time::timeout(self.breaker.wait(), self.recheck.notified()).await;
            match self.identify().await {
                Ok(_) => return self.answered(),
                Err(message) => {
                    self.breaker.failed(&message, Instant::now());
                }
            }
        }
    }
}

/// The patch that takes a manager's entries from an object and sets labels, if it still is as it was read.
pub(crate) fn without(metadata: ObjectMeta, manager: &str, labels: &Map<String, Value>) -> Value {
    let kept: Vec<_> = metadata.managed_fields.unwrap_or_default();
    let mut kept: Vec<_> = kept.into_iter().filter(|e| e.manager.as_deref() != Some(manager)).collect();
    if kept.is_empty() {
        // An empty list would be read as "unchanged"; one empty entry clears it.
        kept.push(Default::default());
    }
    serde_json::json!({ "metadata": {
        "resourceVersion": metadata.resource_version,
        "labels": labels,
        "managedFields": kept,
    }})
}

/// How long a refusal asks to wait.
fn asked_to_wait(error: &kube::Error) -> Option<Duration> {
    let kube::Error::Api(status) = error else { return None };
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (matches!(status.code, 429 | 503) && seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

/// What to count an outcome as.
pub(crate) fn answer_of<T>(outcome: &Result<Result<T, kube::Error>, Elapsed>) -> Answer {
    match outcome {
        Ok(Ok(_)) => Answer::Status(200),
        Ok(Err(kube::Error::Api(status))) => Answer::Status(status.code),
        Ok(Err(_)) => Answer::NoAnswer,
        Err(_) => Answer::Timeout,
    }
}
