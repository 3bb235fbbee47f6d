//! Applications that carry what a policy distributes: what they may be, and what differs on single clusters.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use fleet_api::propagation::ClusterAffinity;
use fleet_api::staged::{self, STAGED};
use fleet_api::{Application, ObjectId, Provenance, Source, StagedPlacement, Variant, names};
use fleet_json::ContentHash;
use fleet_placement::{Topology, pieces};
use fleet_render::{Component, KeyRules, MatchingOverride, REFERENCE_TYPE, apply_overriders};
use serde_json::{Value, json};

use super::{Policies, references};
use crate::Problem;
use crate::hub::kinds;

/// What the Application says of a policy that it carries.
///
/// # Errors
/// Where nothing new may begin, it can't be read, or no policy owns the Application.
pub(super) fn read(app: &Application) -> Result<Option<StagedPlacement>, Problem> {
    let wrong = |message: String| Problem::wrong("InvalidStaging", message);
    let read = StagedPlacement::read(&app.spec)
        .map_err(|error| wrong(format!("spec.policies[{STAGED}]: {error}; {}", restored())))?;
    match (read, staged::policy_of(app)) {
        (None, None) => Ok(None),
        (None, Some(policy)) => Err(wrong(format!(
            "{} {} carries it, and its policy of type {STAGED} is missing; {}",
            policy.kind,
            policy.name,
            restored()
        ))),
        (Some(_), None) => Err(Problem::wrong(
            "UnknownPolicyType",
            format!(
                "policy of type {STAGED:?}: only Applications that a PropagationPolicy with a workflow keeps have it; say where it goes with a policy of type topology"
            ),
        )),
        (Some(staged), Some(_)) => {
            match app.metadata.annotations.as_ref().and_then(|all| all.get(names::HELD_BACK)) {
                Some(why) => {
                    let (reason, message) = why.split_once(": ").unwrap_or(("PolicyInvalid", why));
                    Err(Problem::wrong(reason, message.to_owned()))
                }
                None => Ok(Some(staged)),
            }
        }
    }
}

fn restored() -> &'static str {
    "the controller puts right what others change of it, as long as the policy is there"
}

/// Refuses what would reach beyond the namespace: what is distributed has one owner, whichever policy it is.
///
/// # Errors
/// The first component or topology that does.
pub(super) fn refuse_foreign(
    components: &[Component],
    policies: &Policies,
    namespace: &str,
) -> Result<(), Problem> {
    let refuse = |message: String| Err(Problem::wrong("ForeignNamespace", message));
    for component in components {
        if component.type_ != REFERENCE_TYPE {
            let name = &component.name;
            return refuse(format!(
                "component {name:?}: what carries a policy refers to objects of the hub only ({REFERENCE_TYPE})"
            ));
        }
        let elsewhere = references(&component.name, &component.properties, namespace)?;
        if let Some(reference) = elsewhere.iter().find(|reference| reference.namespace != namespace) {
            return refuse(format!("component {:?}: {reference} isn't in {namespace}", component.name));
        }
    }
    for (name, (_, properties)) in policies.iter().filter(|(_, (type_, _))| type_ == "topology") {
        let topology = Topology::parse(name, properties)?;
        if let Some(other) = topology.namespace.filter(|other| other != namespace) {
            return refuse(format!(
                "policy {name:?}: what a PropagationPolicy distributes keeps its namespace ({namespace}), and this topology says {other:?}; take `namespace` out of it, or name another topology in the Workflow"
            ));
        }
    }
    Ok(())
}

/// Makes objects what the distribution would send, as far as that is the same everywhere.
///
/// # Errors
/// Where one of them has no namespace, or says something that the distribution hasn't taken up yet.
pub(super) fn as_distributed(
    staged: &StagedPlacement,
    objects: &mut [(String, Value)],
    namespace: &str,
) -> Result<(), Problem> {
    for (component, object) in objects {
        if let Some(id) =
            ObjectId::of(object).filter(|id| kinds::is_cluster_scoped(&id.api_version, &id.kind))
        {
            let message = format!("{id} has no namespace, so it can't roll out by a Workflow; {WITHOUT}");
            return Err(Problem::wrong(CANNOT_BE_STAGED, message));
        }
        KeyRules::builtin().leave(object);
        if staged.contents.get(component) != Some(&ContentHash::of_value(&placed(object, namespace)).short())
        {
            let message = format!(
                "component {component:?} says something else than the policy's controller has seen; it is about to"
            );
            return Err(Problem::awaited(BEHIND, message));
        }
    }
    Ok(())
}

/// The code of what a policy with a Workflow can't do.
pub(crate) const CANNOT_BE_STAGED: &str = "CannotBeStaged";
/// The code of what the distribution hasn't taken up yet. It writes the Application once it has.
pub(crate) const BEHIND: &str = "StagedBehind";
/// The way out.
pub(crate) const WITHOUT: &str = "give it a policy of its own without spec.workflow";

/// What differs on single clusters.
///
/// # Errors
/// The first override that can't be made: nothing new is delivered anywhere then.
pub(super) fn variants(
    staged: &StagedPlacement,
    objects: &[(String, Value)],
    namespace: &str,
) -> Result<BTreeMap<String, Variant>, Problem> {
    let mut variants = BTreeMap::new();
    for cluster in staged.clusters.iter().collect::<BTreeSet<_>>() {
        let mut variant = Variant::default();
        for (index, (component, object)) in objects.iter().enumerate() {
            if !staged.reaches(component, cluster) {
                variant.without.push(index);
                continue;
            }
            let share = staged.replicas.get(component).and_then(|shares| shares.get(cluster));
            let divided = share.map_or(Cow::Borrowed(object), |share| Cow::Owned(divided(object, *share)));
            let made = overridden(staged, component, &divided, namespace, cluster)?;
            let made = made.unwrap_or_else(|| divided.into_owned());
            if made != *object {
                variant.objects.push((index, made));
            }
        }
        if variant != Variant::default() {
            variants.insert(cluster.clone(), variant);
        }
    }
    Ok(variants)
}

/// An object with its share of what it asks for.
fn divided(object: &Value, share: u64) -> Value {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let all = pieces::count(text("apiVersion"), text("kind"), object).unwrap_or(share);
    let mut object = object.clone();
    pieces::set(&mut object, share, all);
    object
}

fn overridden(
    staged: &StagedPlacement,
    component: &str,
    object: &Value,
    namespace: &str,
    cluster: &str,
) -> Result<Option<Value>, Problem> {
    let about = staged.overrides.iter().filter_map(|policy| {
        let precision = *policy.about.get(component)?;
        Some(MatchingOverride {
            kind: &policy.kind,
            namespace: &policy.namespace,
            name: &policy.name,
            precision,
            spec: &policy.spec,
        })
    });
    let about: Vec<_> = about.collect();
    if about.is_empty() {
        return Ok(None);
    }
    // An override sees the object as it stands on the hub.
    let whole = placed(object, namespace);
    let here = |affinity: &ClusterAffinity| affinity.cluster_names.iter().any(|name| name == cluster);
    let made = apply_overriders(&whole, Provenance::new(Source::Referenced), &about, here)
        .map_err(|error| Problem::wrong(error.0.code, error.to_string()))?;
    let mut made = made.object;
    if let Some(metadata) = made.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("namespace");
    }
    Ok(Some(made))
}

/// An object with its namespace, as it stands on the hub.
fn placed(object: &Value, namespace: &str) -> Value {
    let mut whole = object.clone();
    if let Some(metadata) = whole.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
    whole
}
