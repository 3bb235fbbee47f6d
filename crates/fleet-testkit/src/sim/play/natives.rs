//! Users of native objects and policies: what they do, and how everything must be at the end.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::propagation::PropagationPolicyStatus;
use fleet_api::{ManagedCluster, names};
use fleet_apiserver::ApiServer;
use fleet_store::{Page, Range};
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::users::Users;
use crate::sim::native::{
    Act, Inputs, OBJECTS, Policy, STRANGER, TAKEN, TAKEN_ON, api_of, is_deployment, object_name, object_of,
    overridden, override_kind, policy_kind, resource_of, value_of,
};
use crate::sim::wanted::{NAMESPACE, member_name};
use crate::sim::world::World;

/// What the users of policies know.
pub(super) struct Natives {
    pub(super) inputs: Inputs,
    /// Whether anybody ever did anything.
    active: bool,
    /// Clusters that left at some time: nobody took what was there along.
    left: BTreeSet<usize>,
    /// What somebody changed, and on which member.
    changed: BTreeSet<(usize, usize)>,
    /// What of that was there as its member left.
    unknown: BTreeSet<(usize, usize)>,
}

impl Natives {
    pub(super) fn new() -> Self {
        Self {
            inputs: Inputs { there: (0..3).collect(), ..Inputs::default() },
            active: false,
            left: BTreeSet::new(),
            changed: BTreeSet::new(),
            unknown: BTreeSet::new(),
        }
    }
}

fn resource(group: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1alpha1", kind))
}

fn object_resource(object: usize) -> ApiResource {
    let (api_version, kind) = api_of(object);
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// Whether policies own it.
fn owned(object: &Value) -> bool {
    object.pointer("/metadata/labels").and_then(|labels| labels.get(names::OWNER)).is_some()
}

/// What others made on members before anything is distributed.
pub(super) async fn strangers(world: &World) -> anyhow::Result<()> {
    let client = world.client(&member_name(TAKEN_ON));
    let params = PatchParams::apply("stranger").force();
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    namespaces.patch(NAMESPACE, &params, &Patch::Apply(&namespace)).await?;
    let configs: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(client, NAMESPACE);
    for name in [object_name(TAKEN), STRANGER.to_owned()] {
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"value": "1000000"}});
        configs.patch(&name, &params, &Patch::Apply(&config)).await?;
    }
    Ok(())
}

impl Users {
    pub(super) async fn native(&mut self, act: &Act) -> anyhow::Result<()> {
        self.natives.active = true;
        match act {
            Act::Object(object, wanted) => {
                let api = self.objects(ApiServer::HUB, *object);
                let manifest = wanted.as_ref().map(|wanted| wanted.manifest(*object));
                say(&api, &object_name(*object), manifest).await?;
                set(&mut self.natives.inputs.objects, *object, wanted.clone());
            }
            Act::Policy(policy, wanted) => {
                let (group, kind, namespaced) = policy_kind(*policy);
                let api = self.policies(group, kind, namespaced);
                let manifest = wanted.as_ref().map(|wanted| wanted.manifest(*policy));
                say(&api, &format!("pol{policy}"), manifest).await?;
                set(&mut self.natives.inputs.policies, *policy, wanted.clone());
            }
            Act::Override(policy, wanted) => {
                let (group, kind, namespaced) = override_kind(*policy);
                let api = self.policies(group, kind, namespaced);
                let manifest = wanted.as_ref().map(|wanted| wanted.manifest(*policy));
                say(&api, &format!("ov{policy}"), manifest).await?;
                set(&mut self.natives.inputs.overrides, *policy, wanted.clone());
            }
            Act::Label(member, near) => {
                if !self.left.contains_key(member) {
                    let patch = json!({"metadata": {"labels": {"tier": if *near { "near" } else { "far" }}}});
                    let api: Api<ManagedCluster> = self.clusters();
                    let name = member_name(*member);
                    api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
                    let near_ones = &mut self.natives.inputs.near;
                    if *near {
                        near_ones.insert(*member)
                    } else {
                        near_ones.remove(member)
                    };
                }
            }
            Act::Change { object, member, deletes } => self.change(*object, *member, *deletes).await?,
        }
        Ok(())
    }

    /// Takes note of what was said until now.
    pub(super) fn note_inputs(&mut self) {
        let there = (0..self.members).filter(|member| !self.left.contains_key(member)).collect();
        self.natives.inputs.there = there;
        self.natives.left.extend(self.left.keys().copied());
        let out = self.natives.changed.iter().filter(|(_, member)| self.left.contains_key(member));
        self.natives.unknown.extend(out);
        let inputs = self.natives.inputs.clone();
        let said = &mut self.record_mut().inputs;
        if said.last().is_none_or(|(_, before)| *before != inputs) {
            said.push((Instant::now(), inputs));
        }
    }

    fn objects(&self, cluster: &str, object: usize) -> Api<DynamicObject> {
        Api::namespaced_with(self.world.client(cluster), NAMESPACE, &object_resource(object))
    }

    fn policies(&self, group: &str, kind: &str, namespaced: bool) -> Api<DynamicObject> {
        let client = self.world.client(ApiServer::HUB);
        let resource = resource(group, kind);
        if namespaced {
            Api::namespaced_with(client, NAMESPACE, &resource)
        } else {
            Api::all_with(client, &resource)
        }
    }

    /// The distributed objects that stand on a cluster.
    fn natives_on(&self, cluster: &str) -> anyhow::Result<BTreeMap<usize, Value>> {
        let store = self.world.api.store();
        let mut there = BTreeMap::new();
        for resource in [resource_of(0), resource_of(OBJECTS)] {
            let range = Range::cluster(cluster, resource).namespace(NAMESPACE);
            for entry in store.list(&range, Page::default())?.entries {
                if let Some(object) = object_of(&entry.key.name) {
                    there.insert(object, serde_json::from_slice(&entry.value)?);
                }
            }
        }
        Ok(there)
    }

    async fn change(&mut self, object: usize, member: usize, deletes: bool) -> anyhow::Result<()> {
        let place = member_name(member);
        let there = self.natives_on(&place)?;
        if !there.get(&object).is_some_and(owned) {
            return Ok(());
        }
        let api = self.objects(&place, object);
        let name = object_name(object);
        let before = self.world.api.store().revision();
        if deletes {
            let _ = api.delete(&name, &DeleteParams::default()).await;
        } else {
            let patch = if is_deployment(object) {
                json!({"spec": {"replicas": 9}})
            } else {
                json!({"data": {"value": "999999"}})
            };
            let _ = api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
            self.natives.changed.insert((object, member));
        }
        let after = self.world.api.store().revision();
        self.record_mut().by_users.extend(before + 1..=after);
        Ok(())
    }

    /// Everything may move.
    pub(super) async fn unmask(&mut self) -> anyhow::Result<()> {
        let masked: Vec<(usize, Policy)> = self
            .natives
            .inputs
            .policies
            .iter()
            .filter(|(_, policy)| policy.mask.is_some())
            .map(|(index, policy)| (*index, Policy { mask: None, ..policy.clone() }))
            .collect();
        for (index, policy) in masked {
            self.native(&Act::Policy(index, Some(policy))).await?;
        }
        Ok(())
    }

    /// What differs between what policies say and what is.
    pub(super) async fn undistributed(&self) -> anyhow::Result<Vec<String>> {
        let mut differences = Vec::new();
        if !self.natives.active {
            return Ok(differences);
        }
        let inputs = &self.natives.inputs;
        let mut there = BTreeMap::new();
        for member in 0..self.members {
            there.insert(member, self.natives_on(&member_name(member))?);
        }
        let told = self.conflicts().await?;
        for object in 0..OBJECTS {
            let of = |member: usize| there.get(&member).and_then(|objects| objects.get(&object));
            let holders = inputs.holders(object);
            if holders.is_empty() {
                for member in 0..self.members {
                    if of(member).is_some_and(owned) && !self.natives.left.contains(&member) {
                        let name = object_name(object);
                        differences.push(format!("{name} on {} should be gone", member_name(member)));
                    }
                }
                continue;
            }
            let by_each = holders.iter().map(|policy| self.differs(object, policy, &of, &told));
            let fewest = by_each.min_by_key(Vec::len);
            differences.extend(fewest.into_iter().flatten());
        }
        differences.extend(self.namespaces_left(&there)?);
        // What the hub shows is what members show together.
        let hub = self.natives_on(ApiServer::HUB)?;
        for (object, shown) in hub.iter().filter(|(object, _)| is_deployment(**object)) {
            let holders = inputs.holders(*object);
            if holders.is_empty() || holders.iter().any(|policy| inputs.places(policy).is_empty()) {
                continue;
            }
            let ready =
                |object: &Value| object.pointer("/status/readyReplicas").and_then(Value::as_u64).unwrap_or(0);
            let on_members = there.values().filter_map(|objects| objects.get(object));
            let sum: u64 = on_members.filter(|found| owned(found)).map(ready).sum();
            if ready(shown) != sum && self.natives.left.is_empty() {
                let name = object_name(*object);
                differences.push(format!("{name} on the hub says {} ready, of {sum}", ready(shown)));
            }
        }
        self.policies_say(&mut differences).await?;
        Ok(differences)
    }

    /// The objects and clusters of which a policy tells that others own fields.
    async fn conflicts(&self) -> anyhow::Result<BTreeSet<(String, String)>> {
        let mut told = BTreeSet::new();
        for index in self.natives.inputs.policies.keys() {
            let (group, kind, namespaced) = policy_kind(*index);
            let found = self.policies(group, kind, namespaced).get_opt(&format!("pol{index}")).await?;
            let Some(status) = found.and_then(|found| found.data.get("status").cloned()) else { continue };
            let status: PropagationPolicyStatus = serde_json::from_value(status)?;
            for object in status.claimed {
                let conflicts = object.places.into_iter().filter(|place| place.reason == "FieldConflict");
                told.extend(conflicts.map(|place| (object.object.name.clone(), place.cluster)));
            }
        }
        Ok(told)
    }

    /// Namespaces that policies made and that nothing is in.
    fn namespaces_left(
        &self,
        there: &BTreeMap<usize, BTreeMap<usize, Value>>,
    ) -> anyhow::Result<Vec<String>> {
        let mut left = Vec::new();
        for (member, objects) in there {
            let place = member_name(*member);
            if !objects.is_empty() || *member == TAKEN_ON || self.natives.left.contains(member) {
                continue;
            }
            // As long as nothing fits, what was on its way there waits on record, and its namespace with it.
            let inputs = &self.natives.inputs;
            let mut holders = (0..OBJECTS).flat_map(|object| inputs.holders(object));
            if holders.any(|policy| inputs.places(policy).is_empty()) {
                continue;
            }
            let range = Range::cluster(place.as_str(), "namespaces");
            for entry in self.world.api.store().list(&range, Page::default())?.entries {
                let namespace: Value = serde_json::from_slice(&entry.value)?;
                if &*entry.key.name == NAMESPACE && owned(&namespace) {
                    left.push(format!("namespace {NAMESPACE} on {place} should be gone"));
                }
            }
        }
        Ok(left)
    }

    /// Whoever isn't done says why.
    async fn policies_say(&self, differences: &mut Vec<String>) -> anyhow::Result<()> {
        for index in self.natives.inputs.policies.keys() {
            let (group, kind, namespaced) = policy_kind(*index);
            let found = self.policies(group, kind, namespaced).get_opt(&format!("pol{index}")).await?;
            let Some(found) = found else {
                differences.push(format!("pol{index} is gone"));
                continue;
            };
            let status = found.data.get("status").cloned().unwrap_or_default();
            let text =
                |path: &str| status.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
            if status.get("observedGeneration").and_then(Value::as_i64) != found.metadata.generation {
                differences.push(format!("pol{index} wasn't looked at"));
            } else if text("/conditions/0/status") != "True" && text("/conditions/0/message").is_empty() {
                differences.push(format!("pol{index} isn't ready and doesn't say why"));
            }
        }
        Ok(())
    }

    /// What of an object isn't as one policy says.
    fn differs<'o>(
        &self,
        object: usize,
        policy: &Policy,
        of: &impl Fn(usize) -> Option<&'o Value>,
        told: &BTreeSet<(String, String)>,
    ) -> Vec<String> {
        let mut differences = Vec::new();
        let inputs = &self.natives.inputs;
        let name = object_name(object);
        let Some(source) = inputs.objects.get(&object) else { return differences };
        let mut places = inputs.places(policy);
        // Where nothing fits, nothing goes.
        if places.is_empty() {
            return differences;
        }
        let replicas = |member: usize| {
            of(member)
                .filter(|found| owned(found))
                .and_then(|found| found.pointer("/spec/replicas")?.as_u64())
        };
        // What is somebody else's there isn't taken over, so what it would replace isn't given up for it.
        let barred =
            !policy.overwrites && places.iter().any(|member| of(*member).is_some_and(|found| !owned(found)));
        let divided = policy.weights.filter(|_| is_deployment(object));
        // A cluster takes along what is on record of it: what was changed there is somebody else's when it is back.
        let theirs = |member: usize| {
            let unknown = self.natives.unknown.contains(&(object, member));
            unknown && told.contains(&(name.clone(), member_name(member)))
        };
        if divided.is_some() && (barred || places.iter().any(|member| theirs(*member))) {
            return differences;
        }
        if let Some(weights) = divided {
            let has = |member: &usize| (*member, replicas(*member).unwrap_or(0));
            let all: BTreeMap<usize, u64> = places.iter().map(has).collect();
            // What was on a cluster when it left is there yet when it returns, and counts only where that gets a share.
            let mut some = vec![all.clone()];
            for member in places.intersection(&self.natives.left) {
                let mut without = some.clone();
                for shares in &mut without {
                    shares.insert(*member, 0);
                }
                some.extend(without);
            }
            let shares = some.into_iter().find(|shares| is_divided(shares, source.replicas, weights));
            let shares = shares.unwrap_or_else(|| {
                let told = format!("{name} is divided {all:?} of {} by {weights:?}", source.replicas);
                differences.push(told);
                all
            });
            places.retain(|member| shares.get(member).is_some_and(|share| *share > 0));
        }
        for member in 0..self.members {
            let place = member_name(member);
            let found = of(member);
            if !places.contains(&member) {
                if found.is_some_and(owned) && !self.natives.left.contains(&member) && !barred {
                    differences.push(format!("{name} on {place} should be gone"));
                }
                continue;
            }
            let Some(found) = found else {
                differences.push(format!("{name} is missing on {place}"));
                continue;
            };
            if !owned(found) {
                // It is somebody else's, and stays so.
                if policy.overwrites {
                    differences.push(format!("{name} on {place} isn't taken over"));
                }
                continue;
            }
            if theirs(member) {
                continue;
            }
            if value_of(object, found) != Some(source.value) {
                let is = value_of(object, found);
                differences.push(format!("{name} on {place} is {is:?}, not {}", source.value));
            }
            let labels = inputs.labels(object, member);
            if overridden(found) != labels {
                let has = overridden(found);
                differences.push(format!("{name} on {place} has labels {has:?}, not {labels:?}"));
            }
            if is_deployment(object) && divided.is_none() && replicas(member) != Some(source.replicas) {
                let has = replicas(member);
                differences.push(format!("{name} on {place} has {has:?} replicas, not {}", source.replicas));
            }
        }
        differences
    }
}

/// Whether shares are as many as are asked for, and divided by weights as Webster says: nobody's next half comes before
/// anybody's last.
fn is_divided(shares: &BTreeMap<usize, u64>, asked: u64, weights: [u64; 3]) -> bool {
    let weight = |member: &usize| weights.get(*member).copied().unwrap_or(0);
    let fair = |one: &usize, has: u64| {
        shares
            .iter()
            .all(|(other, more)| has == 0 || (2 * has - 1) * weight(other) <= (2 * more + 1) * weight(one))
    };
    shares.values().sum::<u64>() == asked && shares.iter().all(|(one, has)| fair(one, *has))
}

fn set<T>(all: &mut BTreeMap<usize, T>, index: usize, wanted: Option<T>) {
    match wanted {
        Some(wanted) => drop(all.insert(index, wanted)),
        None => drop(all.remove(&index)),
    }
}

/// Applies a manifest, or deletes the object.
async fn say(api: &Api<DynamicObject>, name: &str, manifest: Option<Value>) -> anyhow::Result<()> {
    match manifest {
        Some(manifest) => {
            api.patch(name, &PatchParams::apply("user").force(), &Patch::Apply(&manifest)).await?;
        }
        None => match api.delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => drop(other?),
        },
    }
    Ok(())
}
