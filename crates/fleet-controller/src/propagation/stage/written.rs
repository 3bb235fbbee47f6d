//! The Application that carries what a policy distributes in a namespace, as it is to be written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet_api::propagation::{ClusterAffinity, ConflictResolution, OverridePolicySpec};
use fleet_api::staged::STAGED;
use fleet_api::{
    Application, ApplicationSpec, Component, InlinePolicy, ObjectId, StagedOverride, StagedPlacement,
    WorkflowSource, names,
};
use fleet_json::ContentHash;
use fleet_placement::{Affinity, Fleet, Problems};
use fleet_propagation::{OverridePolicy, Policy};
use fleet_render::REFERENCE_TYPE;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::{Value, json};

use super::Doing;
use crate::context::AppKey;
use crate::propagation::dispatch::Done;
use crate::propagation::distributor::Distributor;
use crate::propagation::render::kind_of;
use crate::propagation::rooms::MEASURING;

/// What an Application is to say.
struct Wanted {
    spec: ApplicationSpec,
    annotations: BTreeMap<String, String>,
}

/// What an Application is to say of itself beside its spec.
const ANNOTATIONS: [&str; 2] = [names::HELD_CLUSTERS, names::HELD_BACK];

/// Whether a component is about an object.
pub(super) fn names(component: &Component, id: &ObjectId) -> bool {
    component.properties.as_ref() == Some(&reference(id))
}

fn reference(id: &ObjectId) -> Value {
    json!({"objects": [{"apiVersion": id.api_version, "kind": id.kind, "name": id.name}]})
}

impl Distributor {
    /// What the Application of a policy is to say; nothing as long as that can't be told.
    fn to_be_written(
        &self,
        key: &AppKey,
        policy: &Policy,
        application: Option<&Application>,
    ) -> Option<Wanted> {
        // What isn't listed yet isn't gone.
        if !self.is_listed_for(&policy.id) {
            return None;
        }
        let holds = &self.policies.get(&policy.id)?.holds;
        let mut placement = StagedPlacement {
            policy: policy.id.to_string(),
            workflow_namespace: match policy.spec.workflow.as_ref()?.namespace.as_str() {
                "" => policy.id.namespace.clone(),
                named => named.to_owned(),
            },
            keeps: !policy.spec.prunes(),
            ..StagedPlacement::default()
        };
        let mut components: BTreeMap<String, (&ObjectId, BTreeSet<String>)> = BTreeMap::new();
        let mut overrides: BTreeMap<String, (Arc<OverridePolicy>, StagedOverride)> = BTreeMap::new();
        let mut clusters: BTreeSet<String> = BTreeSet::new();
        let mut touched: BTreeSet<&String> = BTreeSet::new();
        let mut annotations = BTreeMap::new();
        // Who takes what isn't the policy's any more is read first.
        let mut carried =
            self.items.iter().filter(|(_, item)| item.remembered.stage.as_ref() == Some(&key.1));
        if carried.any(|(id, _)| id.namespace == key.0 && self.confirmations.waits(id)) {
            return None;
        }
        let claimed = self.claims.claimed(&policy.id).filter(|id| id.namespace == key.0);
        for id in claimed.chain(self.carried_along(key)) {
            let item = self.items.get(id)?;
            let on_record = item.recorded_stage.as_ref() == Some(&key.1) && item.is_recorded();
            // What the distribution itself has under way ends first, clusters that are asked for room answer, and what
            // workloads need is found.
            let measuring = item.shortfall.as_ref().is_some_and(|(reason, _)| reason == MEASURING);
            if !on_record
                || measuring
                || item.places.values().any(|place| place.under_way.is_some())
                || self.confirmations.waits(id)
                || !self.knows_needs(id)
            {
                return None;
            }
            touched.extend(item.at());
            if let Some(kept) = item.places.values().find_map(|place| place.kept.as_ref()) {
                let why = format!("{}: {}", kept.reason, kept.message);
                annotations.insert(names::HELD_BACK.to_owned(), why);
            }
            let at: BTreeSet<String> = item.remembered.shares.keys().cloned().collect();
            if at.is_empty() {
                continue;
            }
            let source = self.sources.get(id)?;
            let mut name = format!("{}-{}", id.kind.to_lowercase(), id.name);
            if components.contains_key(&name) {
                name = format!("{name}-{}", ContentHash::of_value(&json!(id.group())).short());
            }
            for (about, precision) in self.overrides.about(&source.facts) {
                let (_, staged) = overrides.entry(about.id.to_string()).or_insert_with(|| {
                    let staged = StagedOverride {
                        kind: kind_of(&about),
                        namespace: about.id.namespace.clone(),
                        name: about.id.name.clone(),
                        ..StagedOverride::default()
                    };
                    (about, staged)
                });
                staged.about.insert(name.clone(), precision);
            }
            let shares = &item.remembered.shares;
            let divided: BTreeMap<String, u64> =
                shares.iter().filter_map(|(cluster, share)| Some((cluster.clone(), (*share)?))).collect();
            if !divided.is_empty() {
                placement.replicas.insert(name.clone(), divided);
            }
            placement.contents.insert(name.clone(), ContentHash::of_value(&source.tree()).short());
            clusters.extend(at.iter().cloned());
            components.insert(name, (id, at));
        }
        let carried = self.stages.carried.get(key).into_iter().flatten();
        touched.extend(carried.filter_map(|id| self.items.get(id)).flat_map(|item| item.at()));
        let held = touched.into_iter().chain(&clusters);
        let held: BTreeMap<&String, &str> =
            held.filter_map(|cluster| Some((cluster, holds.holds(cluster)?.reason()))).collect();
        if !held.is_empty() {
            annotations.insert(names::HELD_CLUSTERS.to_owned(), serde_json::to_string(&held).ok()?);
        }
        for (name, (_, at)) in components.iter().filter(|(_, (_, at))| *at != clusters) {
            placement.only.insert(name.clone(), at.iter().cloned().collect());
        }
        placement.overrides = overrides
            .into_values()
            .map(|(policy, staged)| StagedOverride {
                spec: named(&policy.spec, &clusters, &self.fleet),
                ..staged
            })
            .collect();
        placement.clusters = clusters.into_iter().collect();
        placement.leaves = self.leaving(key)?;
        if let Some(before) =
            application.and_then(|application| StagedPlacement::read(&application.spec).ok().flatten())
        {
            stay_said(&mut placement.leaves, before.leaves);
        }
        let inline = |name: &str, properties: Value| InlinePolicy {
            name: name.to_owned(),
            type_: name.to_owned(),
            properties: Some(properties),
        };
        let mut policies = vec![inline(STAGED, serde_json::to_value(&placement).ok()?)];
        if policy.spec.conflict_resolution == Some(ConflictResolution::Overwrite) && !components.is_empty() {
            let all: Vec<&String> = components.keys().collect();
            policies.push(inline("take-over", json!({"rules": [{"selector": {"componentNames": all}}]})));
        }
        let components = components.into_iter().map(|(name, (id, _))| Component {
            name,
            type_: REFERENCE_TYPE.to_owned(),
            properties: Some(reference(id)),
            ..Component::default()
        });
        let workflow = WorkflowSource {
            reference: Some(policy.spec.workflow.as_ref()?.reference.clone()),
            ..Default::default()
        };
        let spec = ApplicationSpec { components: components.collect(), policies, workflow: Some(workflow) };
        Some(Wanted { spec, annotations })
    }

    /// What an Application carries and what may be on clusters where it isn't to be any more; nothing as long as that isn't on
    /// record, or the distribution has something under way there.
    fn leaving(&self, key: &AppKey) -> Option<BTreeMap<String, Vec<ObjectId>>> {
        let mut leaving: BTreeMap<String, Vec<ObjectId>> = BTreeMap::new();
        for id in self.stages.carried.get(key).into_iter().flatten() {
            let Some(item) = self.items.get(id) else { continue };
            let stays = &item.remembered.shares;
            for cluster in item.at().filter(|cluster| !stays.contains_key(*cluster)) {
                let busy = item.places.get(cluster).is_some_and(|place| place.under_way.is_some());
                if busy || item.recorded_stage.as_ref() != Some(&key.1) {
                    return None;
                }
                leaving.entry(cluster.clone()).or_default().push(id.clone());
            }
        }
        Some(leaving)
    }

    /// Writes an Application where it says something else than it is to.
    pub(super) fn write_stage(&mut self, key: &AppKey, policy: &Policy, application: Option<&Application>) {
        let wanted = if policy.acts {
            self.to_be_written(key, policy, application)
        } else {
            // What runs goes on; nothing new begins.
            application.map(|application| {
                let why = format!("PolicyInvalid: {} has errors; see its problems", policy.id);
                let mut annotations = ours(application);
                annotations.insert(names::HELD_BACK.to_owned(), why);
                Wanted { spec: application.spec.clone(), annotations }
            })
        };
        let Some(wanted) = wanted else { return };
        let nothing = wanted.spec.components.is_empty();
        let carries = self.stages.carried.get(key).is_some_and(|carried| !carried.is_empty());
        match application {
            None if nothing && !carries => {
                self.stages.policies.remove(key);
            }
            Some(application) if nothing && !carries => {
                self.stages.back.insert(key.clone());
                self.delete_stage(key, application);
            }
            None => self.create_stage(key, policy, wanted),
            Some(application) => self.change_stage(key, application, wanted),
        }
    }

    fn create_stage(&mut self, key: &AppKey, policy: &Policy, wanted: Wanted) {
        let uid = self.policies.get(&policy.id).and_then(|followed| followed.uid());
        let Some(uid) = uid.map(str::to_owned) else { return };
        let resource = policy.id.kind.resource(&policy.id.group);
        let mut application = Application::new(&key.1, wanted.spec);
        application.metadata.namespace = Some(key.0.clone());
        application.metadata.annotations = Some(wanted.annotations);
        application.metadata.finalizers = Some(vec![names::STAGED_FINALIZER.to_owned()]);
        application.labels_mut().insert(names::STAGES.to_owned(), names::short_label(&policy.id.name));
        application.metadata.owner_references = Some(vec![OwnerReference {
            api_version: resource.api_version,
            kind: resource.kind,
            name: policy.id.name.clone(),
            uid,
            controller: Some(true),
            block_owner_deletion: None,
        }]);
        self.stages.doing.insert(key.clone(), Doing::Writing);
        let (client, key) = (self.ctx.hub.client.clone(), key.clone());
        self.jobs.spawn(async move {
            let api: Api<Application> = Api::namespaced(client, &key.0);
            let outcome = api.create(&PostParams::default(), &application).await;
            Done::Staged { key, over: None, outcome: outcome.map(|made| Some(Box::new(made))) }
        });
    }

    fn change_stage(&mut self, key: &AppKey, application: &Application, wanted: Wanted) {
        let value = |spec: &ApplicationSpec| serde_json::to_value(spec).unwrap_or_default();
        let (before, after) = (value(&application.spec), value(&wanted.spec));
        let kept = application.finalizers().iter().any(|finalizer| finalizer == names::STAGED_FINALIZER);
        if before == after && ours(application) == wanted.annotations && kept {
            return;
        }
        let annotations: BTreeMap<&str, Option<&String>> =
            ANNOTATIONS.into_iter().map(|name| (name, wanted.annotations.get(name))).collect();
        let mut finalizers = application.finalizers().to_vec();
        if !kept {
            finalizers.push(names::STAGED_FINALIZER.to_owned());
        }
        let patch = json!({
            "metadata": {
                "annotations": annotations,
                "finalizers": finalizers,
                "resourceVersion": application.resource_version(),
            },
            "spec": fleet_json::patch::merge_patch_between(&before, &after),
        });
        let over = self.cached_version(key);
        self.stages.doing.insert(key.clone(), Doing::Writing);
        let (client, key) = (self.ctx.hub.client.clone(), key.clone());
        self.jobs.spawn(async move {
            let api: Api<Application> = Api::namespaced(client, &key.0);
            let outcome = api.patch(&key.1, &PatchParams::default(), &Patch::Merge(&patch)).await;
            Done::Staged { key, over, outcome: outcome.map(|made| Some(Box::new(made))) }
        });
    }

    /// Deletes an Application; what it has on members stays, and is taken back.
    pub(super) fn delete_stage(&mut self, key: &AppKey, application: &Application) {
        let preconditions = Preconditions { uid: application.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let over = self.cached_version(key);
        self.stages.doing.insert(key.clone(), Doing::Writing);
        let (client, key) = (self.ctx.hub.client.clone(), key.clone());
        self.jobs.spawn(async move {
            let api: Api<Application> = Api::namespaced(client, &key.0);
            let outcome = match api.delete(&key.1, &params).await {
                Ok(either) => Ok(either.left().map(Box::new)),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
                Err(error) => Err(error),
            };
            Done::Staged { key, over, outcome }
        });
    }

    fn cached_version(&self, key: &AppKey) -> Option<String> {
        let cached = kube::runtime::reflector::ObjectRef::new(&key.1).within(&key.0);
        self.ctx.hub.applications.get(&cached)?.resource_version()
    }

    /// An Application was written, or wasn't.
    pub(in crate::propagation) fn staged(
        &mut self,
        key: &AppKey,
        over: Option<String>,
        outcome: Result<Option<Box<Application>>, kube::Error>,
    ) {
        self.stages.doing.remove(key);
        match outcome {
            Ok(Some(written)) => {
                self.stages.last.insert(key.clone(), (over, Arc::from(written)));
                self.stages.touch(key);
                if let Some(policy) = self.stages.policies.get(key) {
                    self.said.touch(&policy.clone());
                }
            }
            Ok(None) => self.stages.touch_later(key),
            Err(error) => {
                tracing::debug!(namespace = key.0, application = key.1, %error, "an Application that carries a policy can't be written; tried again");
                self.stages.last.remove(key);
                self.stages.touch_later(key);
            }
        }
    }
}

/// What an Application says of itself that is ours to say.
fn ours(application: &Application) -> BTreeMap<String, String> {
    let said = application.annotations().iter().filter(|(name, _)| ANNOTATIONS.contains(&name.as_str()));
    said.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// What has left meanwhile goes on being said: that it did is no new revision.
fn stay_said(leaves: &mut BTreeMap<String, Vec<ObjectId>>, before: BTreeMap<String, Vec<ObjectId>>) {
    let said = |(cluster, ids): (&String, &Vec<ObjectId>)| {
        before.get(cluster).is_some_and(|said| ids.iter().all(|id| said.contains(id)))
    };
    if leaves.iter().all(said) {
        *leaves = before;
    }
}

/// An override policy whose rules name clusters, of these ones.
fn named(spec: &OverridePolicySpec, clusters: &BTreeSet<String>, fleet: &Fleet) -> OverridePolicySpec {
    let named = |affinity: &ClusterAffinity| {
        let read = Affinity::read(affinity, "", &mut Problems::default());
        let members = read.members(fleet).into_iter().filter_map(|at| Some(fleet.members().get(at)?.name()));
        let here = members.filter(|name| clusters.contains(*name)).map(str::to_owned);
        ClusterAffinity { cluster_names: here.collect(), ..ClusterAffinity::default() }
    };
    let mut spec = spec.clone();
    spec.resource_selectors.clear();
    spec.target_cluster = spec.target_cluster.as_ref().map(named);
    for rule in &mut spec.override_rules {
        rule.target_cluster = rule.target_cluster.as_ref().map(named);
    }
    spec
}
