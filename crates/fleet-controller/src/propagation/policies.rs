//! The policies that are followed, and what each means for the fleet as it is now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet_api::PolicyName;
use fleet_api::propagation::{GROUPS, PolicyKind, PolicyProblem, PurgeMode, Severity};
use fleet_placement::{Fleet, Holds, Problems, Survey};
use fleet_propagation::{OverridePolicy, Policy, PolicyId};
use kube::api::{Api, DynamicObject};
use serde_json::Value;

use crate::resolve::CANNOT_BE_STAGED;

/// A policy on the hub, as far as it isn't in `Claims` or `Overrides`.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// The manifest that it was read from: type, name and spec.
    pub(super) manifest: Value,
    pub(super) generation: Option<i64>,
    /// UID and generation of the newest that was seen since the last list: reads and watches may tell in any order.
    newest: Option<(String, i64)>,
    /// Its status on the hub.
    pub(super) status: Value,
    /// What its rules say about each member.
    pub(super) survey: Arc<Survey>,
    /// The members that it may be about.
    members: BTreeSet<String>,
    /// Which clusters hold what they have.
    pub(super) holds: Arc<Holds>,
    /// What is wrong in this fleet: names, weights, masks.
    pub(super) problems: Vec<PolicyProblem>,
}

/// The policies on the hub.
#[derive(Default)]
pub(super) struct Policies {
    all: BTreeMap<PolicyId, Followed>,
    listing: BTreeSet<PolicyId>,
}

/// Which policy an object is.
pub(super) fn id_of(kind: PolicyKind, group: &str, object: &DynamicObject) -> Option<PolicyId> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    Some(PolicyId::of_group(kind, group, namespace, object.metadata.name.as_deref()?))
}

/// The manifest of a policy of a watch: lists don't say what their objects are.
pub(super) fn manifest(kind: PolicyKind, group: &str, object: &DynamicObject) -> Option<(PolicyId, Value)> {
    let resource = kind.resource(group);
    let name = object.metadata.name.clone()?;
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let mut metadata = serde_json::json!({ "name": name });
    if let Some(map) = metadata.as_object_mut().filter(|_| !namespace.is_empty()) {
        map.insert("namespace".to_owned(), Value::String(namespace.clone()));
    }
    let manifest = serde_json::json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": metadata,
        "spec": object.data.get("spec").cloned().unwrap_or(Value::Null),
    });
    Some((PolicyId::of_group(kind, group, &namespace, &name), manifest))
}

/// Where a policy is on the hub.
pub(super) fn api(client: kube::Client, id: &PolicyId) -> Api<DynamicObject> {
    let resource = id.kind.resource(&id.group);
    match id.kind.namespaced() {
        true => Api::namespaced_with(client, &id.namespace, &resource),
        false => Api::all_with(client, &resource),
    }
}

/// The kind of a resource in URLs.
pub(super) fn kind_of(plural: &str) -> Option<PolicyKind> {
    PolicyKind::ALL.into_iter().find(|kind| kind.plural() == plural)
}

/// A policy as it is recorded.
pub(super) fn recorded(id: &PolicyId) -> PolicyName {
    PolicyName {
        group: id.group.clone(),
        kind: id.kind.as_str().to_owned(),
        namespace: id.namespace.clone(),
        name: id.name.clone(),
    }
}

/// A policy that was recorded; nothing where it is of a kind or group that isn't known.
#[must_use]
pub fn read_recorded(name: &PolicyName) -> Option<PolicyId> {
    let kind = PolicyKind::ALL.into_iter().find(|kind| kind.as_str() == name.kind)?;
    let known = GROUPS.contains(&name.group.as_str());
    known.then(|| PolicyId::of_group(kind, &name.group, &name.namespace, &name.name))
}

impl Followed {
    /// Whether an object says something else than is known.
    pub(super) fn differs(&self, object: &DynamicObject) -> bool {
        self.uid() != object.metadata.uid.as_deref() || self.generation != object.metadata.generation
    }

    /// Its UID.
    pub(super) fn uid(&self) -> Option<&str> {
        Some(self.newest.as_ref()?.0.as_str())
    }
}

impl Policies {
    /// Takes in a policy of a watch or a read. The manifest, where it is to be read (anew).
    pub(super) fn put(
        &mut self,
        id: &PolicyId,
        manifest: Value,
        object: &DynamicObject,
        status: Value,
    ) -> Option<Value> {
        let known = self.all.entry(id.clone()).or_default();
        let told = object.metadata.uid.clone().zip(object.metadata.generation);
        if let (Some((before, newer)), Some((uid, generation))) = (&known.newest, &told)
            && before == uid
            && newer > generation
        {
            return None;
        }
        known.newest = told;
        known.generation = object.metadata.generation;
        known.status = status;
        (known.manifest != manifest).then(|| {
            known.manifest = manifest.clone();
            manifest
        })
    }

    /// Its UID, where it was known.
    pub(super) fn remove(&mut self, id: &PolicyId) -> Option<String> {
        Some(self.all.remove(id)?.newest.map(|(uid, _)| uid).unwrap_or_default())
    }

    pub(super) fn list_begins(&mut self, kind: PolicyKind, group: &str) {
        self.listing.retain(|id| id.kind != kind || id.group != group);
        // A hub that was restored from a backup tells what is older.
        let of = |(id, _): &(&PolicyId, &mut Followed)| id.kind == kind && id.group == group;
        let newest = self.all.iter_mut().filter(of).filter_map(|(_, followed)| followed.newest.as_mut());
        newest.for_each(|(_, generation)| *generation = 0);
    }

    /// The watch tells of a policy: what is read beside it says nothing about what it lists.
    pub(super) fn listed(&mut self, id: PolicyId) {
        self.listing.insert(id);
    }

    /// Those of a kind and group that weren't listed.
    pub(super) fn unlisted(&self, kind: PolicyKind, group: &str) -> Vec<PolicyId> {
        let of = |id: &&PolicyId| id.kind == kind && id.group == group;
        self.all.keys().filter(of).filter(|id| !self.listing.contains(*id)).cloned().collect()
    }

    pub(super) fn get(&self, id: &PolicyId) -> Option<&Followed> {
        self.all.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &PolicyId) -> Option<&mut Followed> {
        self.all.get_mut(id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &PolicyId> {
        self.all.keys()
    }

    /// The manifests of all, to be read anew.
    pub(super) fn manifests(&self) -> Vec<Value> {
        self.all.values().map(|followed| followed.manifest.clone()).collect()
    }

    /// Judges the fleet by a policy's rules. The members that it may be about, before and after.
    pub(super) fn survey(&mut self, policy: &Policy, fleet: &Fleet) -> BTreeSet<String> {
        let Some(followed) = self.all.get_mut(&policy.id) else { return BTreeSet::new() };
        let survey = Survey::of(&policy.rules, fleet);
        let mut problems = Problems::default();
        let holds = Holds::read(&policy.spec, fleet, &mut problems);
        problems.extend(survey.problems().iter().cloned());
        let now: BTreeSet<String> = survey.members(fleet).into_iter().map(str::to_owned).collect();
        let about = followed.members.union(&now).cloned().collect();
        followed.members = now;
        followed.problems = problems.into_vec();
        followed.survey = Arc::new(survey);
        followed.holds = Arc::new(holds);
        about
    }
}

/// What this version reads and doesn't act on yet.
pub(super) fn not_yet(mut policy: Policy) -> Policy {
    let purges = policy.spec.failover.as_ref().is_some_and(|failover| {
        let cluster = failover.cluster.as_ref().and_then(|rule| rule.purge_mode);
        let application = failover.application.as_ref().and_then(|rule| rule.purge_mode);
        cluster == Some(PurgeMode::Directly) || application == Some(PurgeMode::Directly)
    });
    if purges {
        let message =
            "a copy that is left goes when as many are ready elsewhere, as with Gracefully; never at once";
        policy.problems.push(PolicyProblem {
            severity: Severity::Warning,
            reason: "NotActedOn".to_owned(),
            path: "spec.failover.*.purgeMode".to_owned(),
            message: message.to_owned(),
        });
    }
    cannot_be_staged(&mut policy);
    policy
}

/// What can't roll out by a Workflow is refused: it would move otherwise than it says.
fn cannot_be_staged(policy: &mut Policy) {
    let moves = policy.spec.failover.as_ref().is_some_and(|failover| failover.application.is_some());
    if policy.spec.workflow.is_none() || !moves {
        return;
    }
    policy.acts = false;
    policy.problems.push(PolicyProblem {
        severity: Severity::Error,
        reason: CANNOT_BE_STAGED.to_owned(),
        path: "spec.failover.application".to_owned(),
        message: "a workload that is unhealthy would move without being asked; take out spec.workflow, or failover.application (a step's maxFailures and onFailure say what a run does)".to_owned(),
    });
}

/// An override policy with everything that can be told to be wrong with it, whatever the object.
pub(super) fn checked(mut policy: OverridePolicy) -> OverridePolicy {
    let found = fleet_render::check_overrides(&policy.spec);
    if found.iter().any(|problem| problem.severity == Severity::Error) {
        policy.acts = false;
    }
    policy.problems.extend(found);
    policy
}
