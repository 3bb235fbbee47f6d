//! What is known of all members: the objects, who owns whom, and whom a change concerns.

mod room;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use room::Room;
pub(crate) use room::requests_room;

use crate::Kind;
use crate::object::{controller, deleting, name, namespace, text, uid};
use crate::seed::NODE;

/// One object of a member.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl ObjectRef {
    /// A reference by name.
    #[must_use]
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: Arc::from(namespace), name: Arc::from(name) }
    }

    /// The reference to an object.
    #[must_use]
    pub fn of(kind: Kind, object: &Value) -> Self {
        Self::new(kind, namespace(object), name(object))
    }
}

/// An object as last seen.
#[derive(Clone, Debug)]
pub struct Held {
    /// The object, without managed fields.
    pub value: Value,
    /// When its status, generation or uid was last seen to change: delays count from here.
    pub since: Timestamp,
}

/// What is known of one member.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    objects: BTreeMap<ObjectRef, Held>,
    children: HashMap<String, BTreeSet<ObjectRef>>,
    /// Deleted by us, the watch hasn't said so yet: older events must not bring them back.
    gone: HashMap<String, ObjectRef>,
    room: Room,
}

impl Cluster {
    /// The object as last seen.
    #[must_use]
    pub fn get(&self, target: &ObjectRef) -> Option<&Held> {
        self.objects.get(target)
    }

    /// Whether nothing is known of the member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.gone.is_empty()
    }

    /// All references, ordered by kind, namespace, name.
    pub fn refs(&self) -> impl Iterator<Item = &ObjectRef> {
        self.objects.keys()
    }

    /// The objects of a kind, in one namespace or in all.
    pub fn of_kind<'a>(&'a self, kind: Kind, namespace: Option<&'a str>) -> impl Iterator<Item = &'a Held> {
        let start = ObjectRef::new(kind, namespace.unwrap_or_default(), "");
        self.objects
            .range(start..)
            .take_while(move |(object, _)| {
                object.kind == kind && namespace.is_none_or(|wanted| &*object.namespace == wanted)
            })
            .map(|(_, held)| held)
    }

    /// The objects of a kind that an object controls, ordered by name.
    #[must_use]
    pub fn children(&self, owner: &Value, kind: Kind) -> Vec<&Held> {
        let refs = self.children.get(uid(owner)).into_iter().flatten();
        refs.filter(|child| child.kind == kind).filter_map(|child| self.objects.get(child)).collect()
    }

    /// Takes in a state of an object, unless a newer one is known. Gives the references that must be looked at.
    pub fn upsert(&mut self, kind: Kind, mut value: Value, now: Timestamp) -> Vec<ObjectRef> {
        let target = ObjectRef::of(kind, &value);
        if self.gone.contains_key(uid(&value)) {
            return Vec::new();
        }
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
            // Says where the object was seen; it isn't the object's own, and must not be handed on to what it makes.
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove(crate::watch::CLUSTER);
            }
        }
        let old = self.objects.get(&target);
        if old.is_some_and(|old| version(&old.value) >= version(&value) && version(&value) != 0) {
            return Vec::new();
        }
        let since = match old {
            Some(old) if same_stage(&old.value, &value) => old.since,
            _ => now,
        };
        let mut concerned = Vec::new();
        if let Some(old) = self.objects.remove(&target) {
            self.unlink(&target, &old.value);
            // Whom it concerned before: it may have changed hands or labels.
            self.concerned(&target, &old.value, &mut concerned);
        }
        if let Some(owner) = controller(&value) {
            self.children.entry(text(owner, "/uid").to_owned()).or_default().insert(target.clone());
        }
        self.concerned(&target, &value, &mut concerned);
        if kind == Kind::Pod {
            concerned.extend(self.room.seen(&target, &value));
        }
        self.objects.insert(target.clone(), Held { value, since });
        concerned.push(target);
        concerned.sort();
        concerned.dedup();
        concerned
    }

    /// Takes an object out. `seen` says that the watch has told it, not a write of ours.
    pub fn remove(&mut self, target: &ObjectRef, uid_gone: &str, seen: bool) -> Vec<ObjectRef> {
        let known = self.gone.remove(uid_gone).is_some();
        let Some(old) = self.objects.get(target).filter(|old| uid(&old.value) == uid_gone) else {
            return Vec::new();
        };
        if !seen && !known {
            self.gone.insert(uid_gone.to_owned(), target.clone());
        }
        let mut concerned = Vec::new();
        let value = old.value.clone();
        self.objects.remove(target);
        self.unlink(target, &value);
        self.concerned(target, &value, &mut concerned);
        if target.kind == Kind::Pod {
            concerned.extend(self.room.gone(target));
        }
        concerned
    }

    /// Why a pod finds no node, in the scheduler's words; nothing where it finds one.
    #[must_use]
    pub fn unschedulable(&self, target: &ObjectRef, pod: &Value) -> Option<String> {
        let node = self.get(&ObjectRef::new(Kind::Node, "", NODE));
        self.room.lacks(target, pod, node.map(|node| &node.value))
    }

    /// A pod is about to be put on the node: what it requests isn't given to another meanwhile.
    pub fn assume(&mut self, target: &ObjectRef) {
        if let Some(held) = self.objects.get(target) {
            self.room.take(target, &held.value);
        }
    }

    /// Takes out what a fresh list of a kind, made at `version_listed`, doesn't show.
    pub fn retain(&mut self, kind: Kind, shown: &BTreeSet<ObjectRef>, version_listed: u64) -> Vec<ObjectRef> {
        // What the list doesn't show any more can't come back by an older event either.
        self.gone.retain(|_, target| target.kind != kind);
        let missing: Vec<(ObjectRef, String)> = self
            .objects
            .iter()
            .filter(|(target, held)| {
                target.kind == kind && !shown.contains(target) && version(&held.value) <= version_listed
            })
            .map(|(target, held)| (target.clone(), uid(&held.value).to_owned()))
            .collect();
        missing.iter().flat_map(|(target, uid)| self.remove(target, uid, true)).collect()
    }

    fn unlink(&mut self, target: &ObjectRef, value: &Value) {
        let Some(owner) = controller(value).map(|owner| text(owner, "/uid")) else { return };
        if let Some(siblings) = self.children.get_mut(owner) {
            siblings.remove(target);
            if siblings.is_empty() {
                self.children.remove(owner);
            }
        }
    }

    /// Who else must look when this object changes.
    fn concerned(&self, target: &ObjectRef, value: &Value, found: &mut Vec<ObjectRef>) {
        if let Some(owner) = controller(value)
            && let Some(kind) = Kind::named(text(owner, "/kind"))
        {
            found.push(ObjectRef::new(kind, &target.namespace, text(owner, "/name")));
        }
        let (kind, namespace) = match target.kind {
            Kind::Pod => (Kind::Service, Some(&*target.namespace)),
            Kind::IngressClass => (Kind::Ingress, None),
            Kind::Node => {
                found.extend(self.room.waiting());
                (Kind::DaemonSet, None)
            }
            _ => return,
        };
        found.extend(self.of_kind(kind, namespace).map(|held| ObjectRef::of(kind, &held.value)));
    }
}

/// The resource version as a number: since Kubernetes 1.35 they may be compared.
pub(crate) fn version(value: &Value) -> u64 {
    text(value, "/metadata/resourceVersion").parse().unwrap_or_default()
}

fn same_stage(old: &Value, new: &Value) -> bool {
    uid(old) == uid(new)
        && deleting(old) == deleting(new)
        && old.get("status") == new.get("status")
        && old.pointer("/metadata/generation") == new.pointer("/metadata/generation")
}

#[cfg(test)]
mod tests;
