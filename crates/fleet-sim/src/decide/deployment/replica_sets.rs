//! A Deployment's ReplicaSets, as they are and as they shall be.

use fleet_json::{IntOrPercent, Rounding, merge_patch};
use serde_json::{Map, Value, json};

use crate::names::{template_hash, with_suffix};
use crate::object::{annotation, count, deleting, int, int_or, name, namespace, owner_reference, text};
use crate::world::Held;
use crate::{Decision, Kind};

const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
const HASH: &str = "pod-template-hash";
/// Annotations of a Deployment that its ReplicaSets don't take over.
const OWN: [&str; 5] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    "deployment.kubernetes.io/revision-history",
    DESIRED,
    MAX,
];

/// How pods are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strategy {
    /// First the old ones go, then the new ones come.
    Recreate,
    /// A few at a time.
    Rolling { surge: i64, unavailable: i64 },
}

/// One ReplicaSet with what is planned for it.
#[derive(Clone, Debug)]
pub(super) struct Set<'a> {
    /// `None`: to be created.
    pub(super) value: Option<&'a Value>,
    pub(super) name: String,
    /// `spec.replicas` as planned.
    pub(super) want: i64,
    pub(super) revision: i64,
    /// Whether the size annotations are to be brought up to date.
    pub(super) resized: bool,
}

impl<'a> Set<'a> {
    fn of(value: &'a Value) -> Self {
        Self {
            value: Some(value),
            name: name(value).to_owned(),
            want: int_or(value, "/spec/replicas", 1).max(0),
            revision: annotation(value, REVISION).and_then(|text| text.parse().ok()).map_or(0, count),
            resized: false,
        }
    }

    pub(super) fn status(&self, field: &str) -> i64 {
        self.value.and_then(|value| value.get("status")?.get(field)?.as_i64()).map_or(0, count)
    }

    /// Available pods that stay when the set has its planned size: pods that aren't ready go first.
    pub(super) fn available(&self) -> i64 {
        self.status("availableReplicas").min(self.want)
    }

    /// What an annotation of the set says about sizes.
    pub(super) fn annotated(&self, max: bool) -> Option<i64> {
        annotation(self.value?, if max { MAX } else { DESIRED })?.parse().ok().map(count)
    }

    pub(super) fn resize(&mut self, want: i64) {
        self.want = want.max(0);
        self.resized = true;
    }

    fn created(&self) -> (&str, &str) {
        (self.value.map(|value| text(value, "/metadata/creationTimestamp")).unwrap_or("~"), &self.name)
    }
}

/// All ReplicaSets of a Deployment.
#[derive(Debug)]
pub(super) struct Sets<'a> {
    deployment: &'a Value,
    pub(super) new: Option<Set<'a>>,
    /// Oldest first.
    pub(super) old: Vec<Set<'a>>,
    pub(super) replicas: i64,
    pub(super) strategy: Strategy,
}

impl<'a> Sets<'a> {
    pub(super) fn of(deployment: &'a Value, sets: &[&'a Held]) -> Self {
        let mut old: Vec<Set<'a>> =
            sets.iter().filter(|set| !deleting(&set.value)).map(|set| Set::of(&set.value)).collect();
        old.sort_by(|a, b| a.created().cmp(&b.created()));
        let wanted = template(deployment);
        let found = old.iter().position(|set| set.value.is_some_and(|value| template(value) == wanted));
        let new = found.map(|index| old.remove(index));
        let replicas = int_or(deployment, "/spec/replicas", 1).max(0);
        Self { deployment, new, old, replicas, strategy: strategy(deployment, replicas) }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Set<'a>> {
        self.new.iter().chain(&self.old)
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Set<'a>> {
        self.new.iter_mut().chain(&mut self.old)
    }

    /// The planned number of pods.
    pub(super) fn total(&self) -> i64 {
        self.all().map(|set| set.want).sum()
    }

    pub(super) fn surge(&self) -> i64 {
        match self.strategy {
            Strategy::Rolling { surge, .. } => surge,
            Strategy::Recreate => 0,
        }
    }

    pub(super) fn unavailable(&self) -> i64 {
        match self.strategy {
            Strategy::Rolling { unavailable, .. } => unavailable.min(self.replicas),
            Strategy::Recreate => 0,
        }
    }

    /// The template's ReplicaSet gets the highest revision, also when it is an old one that has come back.
    pub(super) fn revise(&mut self) {
        let next = self.next_revision();
        if let Some(new) = &mut self.new {
            new.revision = new.revision.max(next);
        }
    }

    fn next_revision(&self) -> i64 {
        self.old.iter().map(|set| set.revision).max().unwrap_or_default() + 1
    }

    /// Plans the template's ReplicaSet.
    pub(super) fn plan_new(&mut self, want: i64) {
        let template = self.deployment.pointer("/spec/template").unwrap_or(&Value::Null);
        let name = with_suffix(name(self.deployment), &template_hash(template));
        self.new = Some(Set { value: None, name, want, revision: self.next_revision(), resized: true });
    }

    /// Whether `spec.replicas` has changed since the sets got their sizes.
    pub(super) fn is_scaling(&self) -> bool {
        let active = self.all().filter(|set| set.want > 0);
        active.filter_map(|set| set.annotated(false)).any(|desired| desired != self.replicas)
    }

    /// Writes what was planned: old sets that shrink first, so that no moment has more pods wanted than before or after.
    pub(super) fn write(&self, deployment: &Value, decision: &mut Decision) {
        for set in self.old.iter().chain(&self.new) {
            match set.value {
                Some(value) => decision.patch(Kind::ReplicaSet, value, self.changes(set, value)),
                None => decision.create(Kind::ReplicaSet, self.body(set)),
            }
        }
        if let Some(new) = &self.new {
            let revision = new.revision.to_string();
            if annotation(deployment, REVISION) != Some(&revision) {
                let patch = json!({ "metadata": { "annotations": { REVISION: revision } } });
                decision.patch(Kind::Deployment, deployment, patch);
            }
        }
    }

    fn changes(&self, set: &Set<'_>, value: &Value) -> Value {
        let mut patch = json!({});
        let mut annotations = Map::new();
        if set.want != int_or(value, "/spec/replicas", 1) {
            merge_patch(&mut patch, &json!({ "spec": { "replicas": set.want } }));
        }
        if set.resized {
            annotations.extend(self.sizes());
        }
        annotations.insert(REVISION.to_owned(), json!(set.revision.to_string()));
        annotations.retain(|key, wanted| annotation(value, key) != wanted.as_str());
        if !annotations.is_empty() {
            merge_patch(&mut patch, &json!({ "metadata": { "annotations": annotations } }));
        }
        let new = self.new.as_ref().is_some_and(|new| new.name == set.name);
        let seconds = int(self.deployment, "/spec/minReadySeconds");
        if new && seconds != int(value, "/spec/minReadySeconds") {
            merge_patch(&mut patch, &json!({ "spec": { "minReadySeconds": seconds } }));
        }
        patch
    }

    fn sizes(&self) -> [(String, Value); 2] {
        let max = self.replicas + self.surge();
        [(DESIRED.to_owned(), json!(self.replicas.to_string())), (MAX.to_owned(), json!(max.to_string()))]
    }

    fn body(&self, set: &Set<'_>) -> Value {
        let deployment = self.deployment;
        let mut template = deployment.pointer("/spec/template").cloned().unwrap_or_else(|| json!({}));
        let hash = json!({ HASH: template_hash(&template) });
        merge_patch(&mut template, &json!({ "metadata": { "labels": hash, "creationTimestamp": null } }));
        let mut selector = deployment.pointer("/spec/selector").cloned().unwrap_or_else(|| json!({}));
        merge_patch(&mut selector, &json!({ "matchLabels": hash }));
        let annotations = deployment.pointer("/metadata/annotations").and_then(Value::as_object);
        let mut annotations: Map<String, Value> = annotations.cloned().unwrap_or_default();
        annotations.retain(|key, _| !OWN.contains(&key.as_str()));
        annotations.extend(self.sizes());
        annotations.insert(REVISION.to_owned(), json!(set.revision.to_string()));
        let mut spec = json!({ "replicas": set.want, "selector": selector, "template": template });
        let seconds = int(deployment, "/spec/minReadySeconds");
        if seconds != 0 {
            merge_patch(&mut spec, &json!({ "minReadySeconds": seconds }));
        }
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": set.name, "namespace": namespace(deployment), "annotations": annotations,
                "labels": template.pointer("/metadata/labels"),
                "ownerReferences": owner_reference("apps/v1", "Deployment", deployment),
            },
            "spec": spec,
        })
    }

    /// Deletes old sets beyond `revisionHistoryLimit`, the oldest revisions first.
    pub(super) fn clean_up(&self, decision: &mut Decision) {
        let limit =
            usize::try_from(int_or(self.deployment, "/spec/revisionHistoryLimit", 10)).unwrap_or_default();
        let idle = |set: &&Set<'_>| {
            let observed = set.value.is_some_and(|value| {
                int(value, "/status/observedGeneration") >= int(value, "/metadata/generation")
            });
            set.want == 0 && set.status("replicas") == 0 && observed
        };
        let mut idle: Vec<_> = self.old.iter().filter(idle).collect();
        idle.sort_by_key(|set| set.revision);
        let surplus = self.old.len().saturating_sub(limit);
        for set in idle.into_iter().take(surplus) {
            if let Some(value) = set.value {
                decision.delete(Kind::ReplicaSet, value);
            }
        }
    }
}

/// A pod template without what makes equal ones differ.
fn template(owner: &Value) -> Value {
    let mut template = owner.pointer("/spec/template").cloned().unwrap_or_default();
    merge_patch(
        &mut template,
        &json!({ "metadata": { "labels": { HASH: null }, "creationTimestamp": null } }),
    );
    template
}

fn strategy(deployment: &Value, replicas: i64) -> Strategy {
    if text(deployment, "/spec/strategy/type") == "Recreate" {
        return Strategy::Recreate;
    }
    let share = |field: &str, rounding| {
        let given = deployment.pointer("/spec/strategy/rollingUpdate").and_then(|rolling| rolling.get(field));
        let given = given.and_then(|value| IntOrPercent::from_value(value).ok());
        given.unwrap_or(IntOrPercent::Percent(25)).of(replicas, rounding).clamp(0, i32::MAX.into())
    };
    let surge = share("maxSurge", Rounding::Up);
    let unavailable = share("maxUnavailable", Rounding::Down);
    // Both may round to nothing; then nothing would ever move.
    Strategy::Rolling { surge, unavailable: if surge == 0 { unavailable.max(1) } else { unavailable } }
}
