//! What is seen on a member: one watch per kind, on objects that carry our owner label.
//!
//! Objects aren't kept: only what decides whether they are done, healthy and as we left them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex};

use fleet_api::{ObjectId, names};
use fleet_health::Health;
use futures::StreamExt as _;
use kube::api::{Api, DynamicObject};
use kube::core::ObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher;
use serde_json::Value;

use crate::Member;
use crate::registry::MemberEvent;
use crate::resource::ResourcePath;

/// What is known of one object on a member.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// Its UID.
    pub uid: String,
    /// Its resource version.
    pub resource_version: String,
    /// The value of [`names::OWNER`].
    pub owner: String,
    /// The value of [`names::CONTENT`].
    pub content: String,
    /// Hash over the fields that our manager owns there, with their values; `None` where it owns none.
    pub managed: Option<u64>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Its health, with the controller's observation of this generation included.
    pub health: Health,
}

/// The observer's memory.
#[derive(Default)]
pub(crate) struct Observations(Mutex<State>);

#[derive(Default)]
struct State {
    objects: BTreeMap<ObjectId, Observed>,
    synced: BTreeSet<(String, String)>,
}

impl Observations {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn get(&self, id: &ObjectId) -> Option<Observed> {
        self.lock().objects.get(id).cloned()
    }

    pub(crate) fn is_synced(&self, api_version: &str, kind: &str) -> bool {
        self.lock().synced.contains(&(api_version.to_owned(), kind.to_owned()))
    }

    /// Takes in what was seen, unless something newer is known. The owner to tell, where it says something new.
    fn put(&self, id: &ObjectId, seen: Observed) -> Option<String> {
        let mut state = self.lock();
        if let Some(known) = state.objects.get(id) {
            if known.uid == seen.uid && is_older(&seen.resource_version, &known.resource_version) {
                return None;
            }
            let same =
                Observed { resource_version: known.resource_version.clone(), ..seen.clone() } == *known;
            if same {
                state.objects.insert(id.clone(), seen);
                return None;
            }
        }
        let owner = seen.owner.clone();
        state.objects.insert(id.clone(), seen);
        Some(owner)
    }

    fn remove(&self, id: &ObjectId) -> Option<String> {
        self.lock().objects.remove(id).map(|gone| gone.owner)
    }
}

/// Resource versions are opaque, but those of one object are ordered numbers on every known server.
fn is_older(a: &str, b: &str) -> bool {
    matches!((a.parse::<u64>(), b.parse::<u64>()), (Ok(a), Ok(b)) if a < b)
}

impl Member {
    /// Watches a kind from now on. Called again it does nothing.
    pub fn watch(self: &Arc<Self>, id: &ObjectId, path: &ResourcePath) {
        let key = (id.api_version.clone(), id.kind.clone());
        let new = {
            let mut watched = self.watched.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            watched.insert(key.clone(), ()).is_none()
        };
        if !new {
            return;
        }
        let member = Arc::clone(self);
        let stop = self.stop.clone();
        let path = path.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = member.follow(key, path) => {}
            }
        });
    }

    async fn follow(self: Arc<Self>, kind: (String, String), path: ResourcePath) {
        self.at_hand().await;
        let api: Api<DynamicObject> = Api::all_with(self.client(), &path.resource);
        let config = watcher::Config::default().labels(names::OWNER);
        let mut events = std::pin::pin!(watcher(api, config).default_backoff());
        let mut listed = BTreeSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(object)) => {
                    if let Some(id) = identify(&kind, &object) {
                        listed.insert(id.clone());
                        self.saw(&id, object);
                    }
                }
                Ok(watcher::Event::InitDone) => {
                    self.answered();
                    self.forget_all_but(&kind, &listed);
                    listed.clear();
                    self.shared.send(MemberEvent::Synced { cluster: self.name().to_owned() });
                }
                Ok(watcher::Event::Apply(object)) => {
                    if let Some(id) = identify(&kind, &object) {
                        self.saw(&id, object);
                    }
                }
                Ok(watcher::Event::Delete(object)) => {
                    if let Some(id) = identify(&kind, &object) {
                        self.forget(&id);
                    }
                }
                Err(error) => {
                    self.doubt();
                    self.shared.options.telemetry.watch_restarted(self.name());
                    tracing::debug!(cluster = self.name(), kind = kind.1, %error, "watch interrupted");
                }
            }
        }
    }

    /// Takes in an object as the member has it. Answers the hash over what our manager owns there.
    pub(crate) fn saw(&self, id: &ObjectId, object: DynamicObject) -> Option<u64> {
        let metadata = object.metadata.clone();
        let value = serde_json::to_value(object).ok()?;
        let label =
            |name: &str| metadata.labels.as_ref().and_then(|l| l.get(name)).cloned().unwrap_or_default();
        let owner = label(names::OWNER);
        let seen = Observed {
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            content: label(names::CONTENT),
            managed: managed_hash(&metadata, &names::field_manager(&owner), &value),
            deleting: metadata.deletion_timestamp.is_some(),
            health: fleet_health::assess(&value),
            owner,
        };
        let managed = seen.managed;
        if let Some(owner) = self.observations.put(id, seen) {
            self.tell(owner, id);
        }
        managed
    }

    fn forget(&self, id: &ObjectId) {
        if let Some(owner) = self.observations.remove(id) {
            self.tell(owner, id);
        }
    }

    fn forget_all_but(&self, kind: &(String, String), listed: &BTreeSet<ObjectId>) {
        let gone: Vec<ObjectId> = {
            let mut state = self.observations.lock();
            state.synced.insert(kind.clone());
            let of_kind = state.objects.keys().filter(|id| id.api_version == kind.0 && id.kind == kind.1);
            of_kind.filter(|id| !listed.contains(*id)).cloned().collect()
        };
        for id in gone {
            self.forget(&id);
        }
    }

    fn tell(&self, owner: String, id: &ObjectId) {
        self.changed.notify_waiters();
        self.shared.send(MemberEvent::Object { cluster: self.name().to_owned(), owner, id: id.clone() });
    }
}

fn identify(kind: &(String, String), object: &DynamicObject) -> Option<ObjectId> {
    Some(ObjectId {
        api_version: kind.0.clone(),
        kind: kind.1.clone(),
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        name: object.metadata.name.clone()?,
    })
}

/// Hashes what our manager owns on an object, so that a field taken or changed by somebody else shows.
fn managed_hash(metadata: &ObjectMeta, manager: &str, object: &Value) -> Option<u64> {
    let entries = metadata.managed_fields.as_ref()?;
    let ours = entries.iter().find(|entry| {
        entry.manager.as_deref() == Some(manager)
            && entry.operation.as_deref() == Some("Apply")
            && entry.subresource.as_deref().unwrap_or_default().is_empty()
    })?;
    let fields = ours.fields_v1.as_ref()?;
    let mut hasher = DefaultHasher::new();
    hash_fields(&fields.0, Some(object), &mut hasher);
    Some(hasher.finish())
}

/// Walks a FieldsV1 tree beside the object (KEP-555: `f:` fields, `k:` keyed items, `v:` set members).
fn hash_fields(fields: &Value, value: Option<&Value>, hasher: &mut DefaultHasher) {
    let Some(map) = fields.as_object() else { return };
    let below = map.iter().filter(|(key, _)| key.as_str() != ".");
    let mut leaf = true;
    for (key, inner) in below {
        leaf = false;
        key.hash(hasher);
        let next = match key.split_at_checked(2) {
            Some(("f:", name)) => value.and_then(|v| v.get(name)),
            Some(("k:", keys)) => value.and_then(|v| keyed_item(v, keys)),
            _ => value,
        };
        hash_fields(inner, next, hasher);
    }
    if leaf {
        value.map(Value::to_string).hash(hasher);
    }
}

fn keyed_item<'a>(list: &'a Value, keys: &str) -> Option<&'a Value> {
    let keys: Value = serde_json::from_str(keys).ok()?;
    let keys = keys.as_object()?;
    list.as_array()?.iter().find(|item| keys.iter().all(|(name, value)| item.get(name) == Some(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(uid: &str, version: &str, content: &str) -> Observed {
        Observed {
            uid: uid.to_owned(),
            resource_version: version.to_owned(),
            owner: "us".to_owned(),
            content: content.to_owned(),
            managed: Some(1),
            deleting: false,
            health: fleet_health::assess(&serde_json::json!({"kind": "ConfigMap", "apiVersion": "v1"})),
        }
    }

    /// The answer to an apply and the watch race; what is older never covers what is newer (design invariant 4).
    #[test]
    fn an_older_observation_never_covers_a_newer_one() {
        let id = ObjectId {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespace: "demo".to_owned(),
            name: "settings".to_owned(),
        };
        let observations = Observations::default();
        assert!(observations.put(&id, seen("a", "10", "new")).is_some());
        assert_eq!(observations.put(&id, seen("a", "9", "old")), None);
        assert_eq!(observations.get(&id).map(|seen| seen.content), Some("new".to_owned()));
        // Made anew it is another object, whatever its version.
        assert!(observations.put(&id, seen("b", "3", "anew")).is_some());
        assert_eq!(observations.get(&id).map(|seen| seen.content), Some("anew".to_owned()));
        // Said again it is no news.
        assert_eq!(observations.put(&id, seen("b", "4", "anew")), None);
    }
}
