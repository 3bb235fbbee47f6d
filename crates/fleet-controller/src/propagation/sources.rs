//! Objects of the hub that policies select, as they travel.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet_api::{ObjectId, names};
use fleet_json::Compact;
use fleet_placement::pieces;
use fleet_propagation::ObjectFacts;
use fleet_render::KeyRules;
use fleet_schema::behaviour::referenced_content;
use kube::api::DynamicObject;
use serde_json::Value;

use super::dependents::is_found_by_content;

/// An object of the hub.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// What policies look at.
    pub(super) facts: ObjectFacts,
    /// What goes to members: without what the hub decided by itself, and without keys that members govern.
    pub(super) content: Compact,
    /// The same of what is looked through again and again.
    tree: Option<Box<Value>>,
    /// The replicas that somebody asked for, or what a Job has to complete.
    pub(super) replicas: Option<u64>,
    /// It is being deleted.
    pub(super) deleting: bool,
    /// Its generation on the hub.
    pub(super) generation: Option<i64>,
    /// Its status on the hub.
    pub(super) status: Compact,
    /// That status is what members showed, and nobody else's.
    pub(super) reported: bool,
}

impl Source {
    /// Reads an object of a watch; lists don't say what their objects are.
    pub(super) fn read(
        api_version: &str,
        kind: &str,
        object: DynamicObject,
        keys: &KeyRules,
    ) -> Option<Self> {
        let deleting = object.metadata.deletion_timestamp.is_some();
        let generation = object.metadata.generation;
        let reported = names::shows_members(&object.metadata);
        let mut value = serde_json::to_value(object).ok()?;
        let map = value.as_object_mut()?;
        map.insert("apiVersion".to_owned(), Value::String(api_version.to_owned()));
        map.insert("kind".to_owned(), Value::String(kind.to_owned()));
        let facts = ObjectFacts::of(&value)?;
        let status = value.get("status").map(Compact::of).unwrap_or_default();
        let mut content = referenced_content(&value);
        if let Some(metadata) = content.get_mut("metadata").and_then(Value::as_object_mut)
            && !facts.id.namespace.is_empty()
        {
            metadata.insert("namespace".to_owned(), Value::String(facts.id.namespace.clone()));
        }
        keys.leave(&mut content);
        let replicas = pieces::count(api_version, kind, &content);
        let kept = Compact::of(&content);
        let tree = is_found_by_content(&facts.id).then(|| Box::new(content));
        Some(Self { facts, content: kept, tree, replicas, deleting, generation, status, reported })
    }

    /// What goes to members, as a tree.
    pub(super) fn tree(&self) -> Cow<'_, Value> {
        match &self.tree {
            Some(tree) => Cow::Borrowed(tree),
            None => Cow::Owned(self.content.read()),
        }
    }

    fn says_as(&self, other: &Self) -> bool {
        self.content == other.content && self.facts == other.facts && self.deleting == other.deleting
    }
}

/// A kind, by group and name.
pub(super) type GroupKind = (String, String);

#[derive(Default)]
struct KindSources {
    objects: BTreeMap<(String, String), Arc<Source>>,
    listing: BTreeSet<(String, String)>,
}

/// The objects by kind, namespace and name.
#[derive(Default)]
pub(super) struct Sources(BTreeMap<GroupKind, KindSources>);

/// What became of an object.
pub(super) enum Change {
    /// It is there, or says something else.
    Put(ObjectId),
    /// Only its status, or its generation, is another.
    Reported(ObjectId),
    /// It is gone.
    Gone(ObjectId),
}

impl Sources {
    pub(super) fn get(&self, id: &ObjectId) -> Option<&Arc<Source>> {
        let kind = self.0.get(&(id.group().to_owned(), id.kind.clone()))?;
        kind.objects.get(&(id.namespace.clone(), id.name.clone()))
    }

    /// The objects of a kind in a namespace, or in none.
    pub(super) fn within(
        &self,
        kind: &GroupKind,
        namespace: &str,
    ) -> impl Iterator<Item = &Arc<Source>> + use<'_> {
        let namespace = namespace.to_owned();
        let from = (namespace.clone(), String::new());
        let objects = self.0.get(kind).map(|kind| kind.objects.range(from..));
        objects
            .into_iter()
            .flatten()
            .take_while(move |((own, _), _)| *own == namespace)
            .map(|(_, source)| source)
    }

    pub(super) fn put(
        &mut self,
        kind: &GroupKind,
        api_version: &str,
        object: DynamicObject,
        keys: &KeyRules,
    ) -> Option<Change> {
        let source = Source::read(api_version, &kind.1, object, keys)?;
        let known = self.0.entry(kind.clone()).or_default();
        let key = (source.facts.id.namespace.clone(), source.facts.id.name.clone());
        known.listing.insert(key.clone());
        let id = source.facts.id.clone();
        let before = known.objects.insert(key, Arc::new(source));
        let now = self.get(&id)?;
        match before {
            Some(before) if before.says_as(now) => {
                let shows = |source: &Source| (source.generation, source.status.clone());
                (shows(&before) != shows(now)).then_some(Change::Reported(id))
            }
            _ => Some(Change::Put(id)),
        }
    }

    pub(super) fn remove(&mut self, kind: &GroupKind, object: &DynamicObject) -> Option<Change> {
        let key = (object.metadata.namespace.clone().unwrap_or_default(), object.metadata.name.clone()?);
        let gone = self.0.get_mut(kind)?.objects.remove(&key)?;
        Some(Change::Gone(gone.facts.id.clone()))
    }

    pub(super) fn list_begins(&mut self, kind: &GroupKind) {
        self.0.entry(kind.clone()).or_default().listing.clear();
    }

    /// What wasn't listed is gone.
    pub(super) fn list_ends(&mut self, kind: &GroupKind) -> Vec<Change> {
        let Some(known) = self.0.get_mut(kind) else { return Vec::new() };
        let listed = std::mem::take(&mut known.listing);
        let gone: Vec<(String, String)> =
            known.objects.keys().filter(|key| !listed.contains(*key)).cloned().collect();
        let gone = gone.iter().filter_map(|key| known.objects.remove(key));
        gone.map(|gone| Change::Gone(gone.facts.id.clone())).collect()
    }

    /// The objects of a kind.
    pub(super) fn ids(&self, kind: &GroupKind) -> Vec<ObjectId> {
        let known = self.0.get(kind).into_iter().flat_map(|known| known.objects.values());
        known.map(|source| source.facts.id.clone()).collect()
    }

    /// No policy selects the kind any more.
    pub(super) fn forget(&mut self, kind: &GroupKind) -> Vec<ObjectId> {
        let gone = self.0.remove(kind).unwrap_or_default();
        gone.objects.into_values().map(|source| source.facts.id.clone()).collect()
    }
}
