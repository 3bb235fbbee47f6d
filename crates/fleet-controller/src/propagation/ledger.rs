//! What may be where, on record before it is there; with it what placement remembers.
//!
//! Objects are spread over a fixed number of trackers by a hash, so that each stays small and many objects' intents go
//! into one write. Each tracker is written by one request at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet_api::{
    DISTRIBUTION, Inventory, Memory, ObjectId, Owned, Packed, Remembered, ResourceTracker,
    ResourceTrackerSpec, Target, names,
};
use fleet_json::ContentHash;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use tokio::time::Instant;

use super::items::Items;
use crate::records::{RecordError, light};

/// How many trackers there are. It must never change: objects are found by it.
const SHARDS: u64 = 64;
/// What isn't urgent is written after this time, together with what comes meanwhile; later where a tracker holds so many
/// objects that this takes longer, since it is packed as a whole each time.
const LATER: Duration = Duration::from_millis(500);
const LATER_EACH: Duration = Duration::from_millis(20);
const LATEST: Duration = Duration::from_secs(5);
/// So far apart are the trackers that are written later, so that all of them together hold no change up.
const APART: Duration = Duration::from_millis(10);
/// The wait after the hub refused a write.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);
const PAGE: u32 = 50;

/// A namespace that was made for objects: cluster and name.
pub(super) type MadeNamespace = (String, String);

#[derive(Default)]
struct Shard {
    tracker: Option<ResourceTracker>,
    objects: BTreeSet<ObjectId>,
    namespaces: BTreeSet<MadeNamespace>,
    /// When it is to be written; nothing where the record says what it should.
    due: Option<Instant>,
    writing: bool,
}

/// The trackers.
#[derive(Default)]
pub(super) struct Ledger {
    shards: BTreeMap<u64, Shard>,
}

/// What was on record at the beginning.
#[derive(Default)]
pub(super) struct Recorded {
    pub(super) objects: BTreeMap<ObjectId, (Remembered, BTreeSet<String>)>,
    pub(super) namespaces: BTreeSet<MadeNamespace>,
}

/// A write of one tracker.
pub(super) struct Write {
    pub(super) shard: u64,
    tracker: Option<ResourceTracker>,
    inventory: Inventory,
    memory: Memory,
    /// Where each object may be as soon as it is written.
    pub(super) at: Vec<(ObjectId, BTreeSet<String>)>,
    /// The Application that carries each, from then on.
    pub(super) stages: Vec<Option<String>>,
    pub(super) namespaces: BTreeSet<MadeNamespace>,
}

/// In which tracker an object is.
fn shard_of(id: &ObjectId) -> u64 {
    let bytes = [id.group(), &id.kind, &id.namespace, &id.name].join("/");
    let hash = ContentHash::of_bytes(bytes.as_bytes());
    hash.as_bytes().iter().take(8).fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte)) % SHARDS
}

fn tracker_name(shard: u64) -> String {
    format!("{DISTRIBUTION}-{shard}")
}

fn unpacked(tracker: &ResourceTracker) -> Result<(Inventory, Memory), RecordError> {
    let memory = tracker.spec.memory.as_ref().map(Packed::unpack).transpose()?.unwrap_or_default();
    Ok((tracker.spec.inventory.unpack()?, memory))
}

/// The namespace object of a namespace.
pub(super) fn namespace_id(namespace: &str) -> ObjectId {
    ObjectId::new("v1", "Namespace", "", namespace)
}

impl Ledger {
    /// Reads every tracker.
    pub(super) async fn load(client: &kube::Client) -> Result<(Self, Recorded), RecordError> {
        let api: Api<ResourceTracker> = Api::all(client.clone());
        let (mut ledger, mut recorded) = (Self::default(), Recorded::default());
        let mut params = ListParams::default().labels(names::SHARD).limit(PAGE);
        loop {
            let page = api.list(&params).await?;
            let next = page.metadata.continue_.filter(|token| !token.is_empty());
            for tracker in page.items {
                ledger.take_in(tracker, &mut recorded)?;
            }
            match next {
                Some(token) => params = params.continue_token(&token),
                None => return Ok((ledger, recorded)),
            }
        }
    }

    /// The hash of the fields that were the distribution's on a cluster, as the hub has it on record.
    pub(super) async fn left(
        client: &kube::Client,
        id: &ObjectId,
        cluster: &str,
    ) -> Result<Option<u64>, RecordError> {
        let api: Api<ResourceTracker> = Api::all(client.clone());
        let Some(tracker) = api.get_opt(&tracker_name(shard_of(id))).await? else { return Ok(None) };
        let (_, memory) = unpacked(&tracker)?;
        let mut objects = memory.objects.into_iter();
        Ok(objects
            .find(|(other, _)| other == id)
            .and_then(|(_, remembered)| remembered.left.get(cluster).copied()))
    }

    fn take_in(&mut self, tracker: ResourceTracker, recorded: &mut Recorded) -> Result<(), RecordError> {
        let number = tracker.labels().get(names::SHARD).and_then(|number| number.parse().ok());
        let Some(number) = number.filter(|number| *number < SHARDS) else { return Ok(()) };
        let (inventory, memory) = unpacked(&tracker)?;
        let mut shard = Shard::default();
        for (id, remembered) in memory.objects {
            recorded.objects.insert(id, (remembered, BTreeSet::new()));
        }
        for entry in inventory.targets {
            for (id, owned) in entry.objects {
                if owned.made_namespace {
                    let made = (entry.target.cluster.clone(), id.name.clone());
                    shard.namespaces.insert(made.clone());
                    recorded.namespaces.insert(made);
                } else {
                    let at = recorded.objects.entry(id).or_default();
                    at.1.insert(entry.target.cluster.clone());
                }
            }
        }
        shard.objects = recorded.objects.keys().filter(|id| shard_of(id) == number).cloned().collect();
        shard.tracker = Some(light(tracker));
        self.shards.insert(number, shard);
        Ok(())
    }

    /// What is to be on record of an object has changed; urgent where something waits for that.
    pub(super) fn touch(&mut self, id: &ObjectId, urgent: bool) {
        let number = shard_of(id);
        let shard = self.shards.entry(number).or_default();
        shard.objects.insert(id.clone());
        shard.plan(number, urgent);
    }

    /// A namespace is to be made, or is gone.
    pub(super) fn touch_namespace(&mut self, made: &MadeNamespace, there: bool) {
        let number = shard_of(&namespace_id(&made.1));
        let shard = self.shards.entry(number).or_default();
        if there {
            shard.namespaces.insert(made.clone());
        } else {
            shard.namespaces.remove(made);
        }
        shard.plan(number, there);
    }

    /// When the next write is due that isn't yet.
    pub(super) fn next(&self) -> Option<Instant> {
        self.shards.values().filter(|shard| !shard.writing).filter_map(|shard| shard.due).min()
    }

    /// The writes that are due.
    pub(super) fn writes(&mut self, items: &Items, now: Instant) -> Vec<Write> {
        let mut writes = Vec::new();
        for (number, shard) in &mut self.shards {
            if shard.writing || shard.due.is_none_or(|due| due > now) {
                continue;
            }
            shard.due = None;
            shard.writing = true;
            shard.objects.retain(|id| items.contains_key(id));
            writes.push(write(*number, shard, items));
        }
        writes
    }

    /// A write has ended. The objects and namespaces that are on record from now on.
    pub(super) fn written(
        &mut self,
        shard: u64,
        outcome: Result<Option<ResourceTracker>, RecordError>,
    ) -> Result<bool, RecordError> {
        let Some(shard) = self.shards.get_mut(&shard) else { return Ok(false) };
        shard.writing = false;
        match outcome {
            Ok(tracker) => {
                shard.tracker = tracker;
                Ok(true)
            }
            // Somebody else wrote: everything is read again.
            Err(error) if error.is_conflict() || error.is_absent() => Err(error),
            Err(error) => {
                tracing::warn!(%error, "an inventory can't be written; tried again");
                shard.due = Some(Instant::now() + AFTER_REFUSAL);
                Ok(false)
            }
        }
    }
}

impl Shard {
    fn plan(&mut self, number: u64, urgent: bool) {
        let count = |many: u64| u32::try_from(many).unwrap_or(u32::MAX);
        let later = LATER_EACH.saturating_mul(count(self.objects.len() as u64)).clamp(LATER, LATEST);
        let later = later + APART.saturating_mul(count(number));
        let at = if urgent { Instant::now() } else { Instant::now() + later };
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

fn write(number: u64, shard: &Shard, items: &Items) -> Write {
    let mut inventory = Inventory::default();
    let mut memory = Memory::default();
    let mut at = Vec::with_capacity(shard.objects.len());
    let mut stages = Vec::with_capacity(shard.objects.len());
    for id in &shard.objects {
        let Some(item) = items.get(id) else { continue };
        for cluster in item.at() {
            let target = Target::new(cluster, id.namespace.as_str());
            inventory.target_mut(&target).objects.insert(id.clone(), Owned::default());
        }
        memory.objects.push((id.clone(), item.remembered.clone()));
        at.push((id.clone(), item.at().cloned().collect()));
        stages.push(item.remembered.stage.clone());
    }
    for (cluster, namespace) in &shard.namespaces {
        let owned = Owned { made_namespace: true, ..Owned::default() };
        let target = Target::new(cluster, namespace.as_str());
        inventory.target_mut(&target).objects.insert(namespace_id(namespace), owned);
    }
    let namespaces = shard.namespaces.clone();
    Write { shard: number, tracker: shard.tracker.clone(), inventory, memory, at, stages, namespaces }
}

impl Write {
    /// Carries it out; a tracker of nothing is taken away.
    pub(super) async fn carry_out(
        &self,
        client: kube::Client,
    ) -> Result<Option<ResourceTracker>, RecordError> {
        let api: Api<ResourceTracker> = Api::all(client);
        let name = tracker_name(self.shard);
        if self.memory.objects.is_empty() && self.inventory.targets.is_empty() {
            if self.tracker.is_some() {
                match api.delete(&name, &DeleteParams::default()).await {
                    Ok(_) => {}
                    Err(kube::Error::Api(status)) if status.code == 404 => {}
                    Err(error) => return Err(error.into()),
                }
            }
            return Ok(None);
        }
        let spec = ResourceTrackerSpec {
            type_: DISTRIBUTION.to_owned(),
            application_name: DISTRIBUTION.to_owned(),
            total: self.inventory.total(),
            inventory: Packed::pack(&self.inventory)?,
            memory: Some(Packed::pack(&self.memory)?),
            ..ResourceTrackerSpec::default()
        };
        let params = PostParams::default();
        let written = match &self.tracker {
            Some(tracker) => {
                if tracker.spec.inventory == spec.inventory && tracker.spec.memory == spec.memory {
                    return Ok(Some(tracker.clone()));
                }
                let mut new = tracker.clone();
                new.spec = spec;
                api.replace(&name, &params, &new).await?
            }
            None => {
                let mut new = ResourceTracker::new(&name, spec);
                new.labels_mut().insert(names::SHARD.to_owned(), self.shard.to_string());
                api.create(&params, &new).await?
            }
        };
        Ok(Some(light(written)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Broken: half a second after many objects were delivered, every tracker is packed and written at the same moment, and a
    /// change that comes then waits for all of them.
    #[tokio::test(start_paused = true)]
    async fn what_is_not_urgent_is_not_written_all_at_once() {
        let (mut ledger, items, now) = (Ledger::default(), Items::default(), Instant::now());
        let object = |name: usize| namespace_id(&name.to_string());
        (0..1_000).for_each(|name| ledger.touch(&object(name), false));
        let (mut most, mut all) = (0, 0);
        for step in 0..1_000 {
            let writes = ledger.writes(&items, now + Duration::from_millis(10) * step).len() as u64;
            most = most.max(writes);
            all += writes;
        }
        assert_eq!(all, SHARDS);
        assert!(most <= 8, "{most} at once");
        ledger.touch(&object(0), true);
        assert_eq!(ledger.next(), None, "one write of a tracker at a time");
    }
}
