//! A member in memory, for tests: takes actions as an API server would, and walks until nothing more happens.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::decide::decide;
use crate::object::{after, list, name, namespace, stamp, text, uid};
use crate::settings::{Moment, Settings};
use crate::world::Cluster;
use crate::{Action, Kind, ObjectRef};

pub(crate) struct Model {
    pub(crate) cluster: Cluster,
    pub(crate) published: BTreeMap<ObjectRef, Value>,
    pub(crate) settings: Settings,
    pub(crate) now: Timestamp,
    /// Writes that changed something.
    pub(crate) writes: Vec<(&'static str, Kind)>,
    version: u64,
    random: u64,
}

impl Model {
    pub(crate) fn new(settings: Settings, seed: u64) -> Self {
        Self {
            cluster: Cluster::default(),
            published: BTreeMap::new(),
            settings,
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            writes: Vec::new(),
            version: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// A user creates or replaces an object.
    pub(crate) fn put(&mut self, kind: Kind, mut body: Value) {
        self.version += 1;
        let old = self.cluster.get(&ObjectRef::of(kind, &body)).map(|held| held.value.clone());
        let generation = match &old {
            None => 1,
            Some(old) => {
                let moved = old.get("spec") != body.get("spec");
                old["metadata"]["generation"].as_i64().unwrap() + i64::from(moved)
            }
        };
        let made = old
            .as_ref()
            .map_or_else(|| json!(stamp(self.now)), |old| old["metadata"]["creationTimestamp"].clone());
        let uid = old.as_ref().map_or_else(|| format!("uid-{}", self.version), |old| uid(old).to_owned());
        let metadata = json!({
            "uid": uid, "generation": generation, "resourceVersion": self.version.to_string(), "creationTimestamp": made,
        });
        fleet_json::merge_patch(&mut body, &json!({ "metadata": metadata }));
        self.cluster.upsert(kind, body, self.now);
    }

    /// A user edits an object's spec or metadata.
    pub(crate) fn edit(&mut self, kind: Kind, name: &str, patch: &Value) {
        let target = ObjectRef::new(kind, if kind.namespaced() { "ns" } else { "" }, name);
        let mut body = self.get(kind, name);
        fleet_json::merge_patch(&mut body, patch);
        assert_eq!(ObjectRef::of(kind, &body), target);
        self.put(kind, body);
    }

    pub(crate) fn get(&self, kind: Kind, name: &str) -> Value {
        let target = ObjectRef::new(kind, if kind.namespaced() { "ns" } else { "" }, name);
        self.cluster.get(&target).unwrap_or_else(|| panic!("no {kind:?} {name}")).value.clone()
    }

    pub(crate) fn all(&self, kind: Kind) -> Vec<Value> {
        self.cluster.of_kind(kind, None).map(|held| held.value.clone()).collect()
    }

    pub(crate) fn delete(&mut self, kind: Kind, name: &str) {
        let body = self.get(kind, name);
        self.drop_with_parts(&ObjectRef::of(kind, &body), uid(&body));
    }

    fn drop_with_parts(&mut self, target: &ObjectRef, gone: &str) {
        self.cluster.remove(target, gone, true);
        let owned = |held: &crate::Held| {
            list(&held.value, "/metadata/ownerReferences").iter().any(|owner| text(owner, "/uid") == gone)
        };
        let parts: Vec<_> = self
            .cluster
            .refs()
            .filter(|part| self.cluster.get(part).is_some_and(owned))
            .map(|part| (part.clone(), uid(&self.cluster.get(part).unwrap().value).to_owned()))
            .collect();
        parts.iter().for_each(|(part, uid)| self.drop_with_parts(part, uid));
    }

    /// Takes one action; true if it changed anything.
    fn apply(&mut self, action: Action) -> bool {
        let (verb, kind, changed) = match action {
            Action::Create { kind, body } => {
                let target = ObjectRef::of(kind, &body);
                assert!(self.cluster.get(&target).is_none(), "{target:?} is made twice");
                assert!(
                    body.get("status").is_none_or(Value::is_null),
                    "an API server drops the status of {target:?}"
                );
                self.put(kind, body);
                ("create", kind, true)
            }
            Action::Patch { target, uid: known, patch } => {
                let mut body = self.cluster.get(&target).unwrap().value.clone();
                assert_eq!(uid(&body), known);
                let before = body.clone();
                fleet_json::merge_patch(&mut body, &patch);
                assert_ne!(body, before, "a write that changes nothing: {target:?} {patch}");
                self.put(target.kind, body);
                ("patch", target.kind, true)
            }
            Action::PatchStatus { target, uid: known, status } => {
                let mut body = self.cluster.get(&target).unwrap().value.clone();
                assert_eq!(uid(&body), known);
                let before = body.clone();
                fleet_json::merge_patch(&mut body, &json!({ "status": status }));
                assert_ne!(body, before, "a write that changes nothing: {target:?} {status}");
                self.put(target.kind, body);
                ("status", target.kind, true)
            }
            Action::Delete { target, uid: known } => {
                self.drop_with_parts(&target, &known);
                ("delete", target.kind, true)
            }
            Action::Bind { target, node, .. } => {
                self.edit(target.kind, &target.name, &json!({ "spec": { "nodeName": node } }));
                ("bind", target.kind, true)
            }
            Action::Publish { kind, body } => {
                let target = ObjectRef::new(kind, namespace(&body), name(&body));
                let changed = self.published.get(&target) != Some(&body);
                self.published.insert(target, body);
                ("publish", kind, changed)
            }
        };
        if changed {
            self.writes.push((verb, kind));
        }
        changed
    }

    fn next_random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % u64::try_from(below.max(1)).unwrap()).unwrap()
    }

    /// Decides for one object, chosen at random, and takes what it asks for; calls `watch` after every write. Objects
    /// with nothing to do are passed over; without any, time moves on, at most by `horizon`. False when all is still.
    pub(crate) fn step(&mut self, horizon: Duration, watch: &mut dyn FnMut(&Model)) -> bool {
        let mut refs: Vec<ObjectRef> = self.cluster.refs().cloned().collect();
        let mut wake: Option<Timestamp> = None;
        while !refs.is_empty() {
            let target = refs.swap_remove(self.next_random(refs.len()));
            let decision = decide(&self.cluster, &target, Moment { now: self.now, settings: &self.settings });
            wake = [wake, decision.wake].into_iter().flatten().min();
            let mut changed = false;
            for action in decision.actions {
                if self.apply(action) {
                    changed = true;
                    watch(self);
                }
            }
            if changed {
                return true;
            }
        }
        match wake {
            Some(wake) if wake <= after(self.now, horizon) => {
                assert!(wake > self.now, "an alarm in the past rings for ever");
                self.now = wake;
                true
            }
            _ => false,
        }
    }

    /// Walks until all is still; fails where that takes more than `steps`.
    pub(crate) fn settle_watched(&mut self, steps: usize, horizon: Duration, watch: &mut dyn FnMut(&Model)) {
        for _ in 0..steps {
            if !self.step(horizon, watch) {
                return;
            }
        }
        panic!(
            "no end after {steps} steps; last writes: {:?}",
            &self.writes[self.writes.len().saturating_sub(12)..]
        );
    }

    pub(crate) fn settle(&mut self) {
        self.settle_watched(3_000, Duration::from_secs(60), &mut |_| {});
    }

    /// Walks for a time: for what never comes to rest, such as a container that crashes again and again.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = after(self.now, time);
        while self.now < end {
            let left = end.duration_since(self.now).try_into().unwrap();
            if !self.step(left, &mut |_| {}) {
                self.now = end;
            }
        }
    }

    /// How often something was written.
    pub(crate) fn count(&self, verb: &str, kind: Kind) -> usize {
        self.writes.iter().filter(|(v, k)| *v == verb && *k == kind).count()
    }
}

/// A deployment as an API server with defaults gives it.
pub(crate) fn deployment(replicas: i64, image: &str, surge: Value, unavailable: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "web", "namespace": "ns", "annotations": { "note": "kept" } },
        "spec": {
            "replicas": replicas, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10,
            "selector": { "matchLabels": { "app": "web" } },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": surge, "maxUnavailable": unavailable } },
            "template": template(image),
        },
    })
}

/// A pod template with one container.
pub(crate) fn template(image: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": "web" } },
        "spec": { "restartPolicy": "Always", "containers": [{ "name": "main", "image": image }] },
    })
}

/// A patch of the first container's image.
pub(crate) fn image(image: &str) -> Value {
    json!({ "spec": { "template": { "spec": { "containers": [{ "name": "main", "image": image }] } } } })
}
