//! Manifests of policies, read strictly: from the hub, or from a file before it gets there.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use fleet_api::propagation::{
    OverridePolicySpec, PolicyKind, PolicyProblem, PropagationPolicySpec, groups::GROUPS,
};
use fleet_json::{FieldPath, Segment};
use fleet_placement::{Problems, nearest};
use fleet_schema::SchemaRef;
use fleet_schema::crd::CustomKinds;
use fleet_schema::prune::unknown_fields;
use fleet_schema::validate::{Context, place, validate};
use serde_json::Value;

use crate::kinds::{KindTable, meant};
use crate::overrides::OverridePolicy;
use crate::policy::{Policy, PolicyId};

/// Reads policies of every kind and group. Make one and keep it: it holds their schemas.
#[derive(Debug)]
pub struct Reader {
    schemas: &'static BTreeMap<PolicyKind, CustomKinds>,
    kinds: KindTable,
}

/// The schemas of all kinds, the same in every group: made once in a process, which takes milliseconds.
static SCHEMAS: LazyLock<BTreeMap<PolicyKind, CustomKinds>> = LazyLock::new(|| {
    // A definition that can't be read is ruled out by a test; without it nothing is known to be wrong.
    let schema = |kind: PolicyKind| {
        let mut definition = kind.definition(GROUPS.first()?).ok()?;
        fleet_schema::crd::set_defaults(&mut definition);
        Some((kind, fleet_schema::crd::parse(&definition).ok()?))
    };
    PolicyKind::ALL.into_iter().filter_map(schema).collect()
});

/// Why a manifest is no policy.
pub type NoPolicy = PolicyProblem;

impl Reader {
    /// A reader for a hub with these kinds.
    #[must_use]
    pub fn new(kinds: KindTable) -> Self {
        Self { schemas: &SCHEMAS, kinds }
    }

    /// The kinds that it knows.
    #[must_use]
    pub fn kinds(&self) -> &KindTable {
        &self.kinds
    }

    /// Reads a PropagationPolicy or ClusterPropagationPolicy.
    ///
    /// # Errors
    /// Where the manifest isn't one at all. Everything else is among the policy's problems.
    pub fn propagation(&self, manifest: &Value) -> Result<Policy, NoPolicy> {
        let id = id(manifest)?;
        if id.kind.overrides() {
            return Err(wrong(
                "kind",
                "UnknownKind",
                format!("{} says how objects differ, not where they go", id.kind),
            ));
        }
        let mut problems = self.check(id.kind, manifest);
        Ok(match spec::<PropagationPolicySpec>(manifest, &mut problems) {
            Some(spec) => Policy::read(id, spec, &self.kinds, problems),
            None => Policy::unreadable(id, problems),
        })
    }

    /// Reads an OverridePolicy or ClusterOverridePolicy.
    ///
    /// # Errors
    /// Where the manifest isn't one at all. Everything else is among the policy's problems.
    pub fn overrides(&self, manifest: &Value) -> Result<OverridePolicy, NoPolicy> {
        let id = id(manifest)?;
        if !id.kind.overrides() {
            return Err(wrong(
                "kind",
                "UnknownKind",
                format!("{} says where objects go, not how they differ", id.kind),
            ));
        }
        let mut problems = self.check(id.kind, manifest);
        let spec = spec::<OverridePolicySpec>(manifest, &mut problems).unwrap_or_default();
        Ok(OverridePolicy::read(id, spec, &self.kinds, problems))
    }

    /// Judges a manifest by the schema of its kind. Unknown fields don't hinder the rest.
    fn check(&self, kind: PolicyKind, manifest: &Value) -> Problems {
        let mut problems = Problems::default();
        let Some(parsed) = self.schemas.get(&kind) else { return problems };
        let Some(schema) = parsed.kinds.first().and_then(|kind| kind.schema()) else { return problems };
        for path in unknown_fields(schema, manifest).iter().filter(|path| in_spec(path)) {
            let name = path.segments().last().map(ToString::to_string).unwrap_or_default();
            let name = name.trim_start_matches('.');
            let advice = match nearest(name, siblings(schema, path)) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "take it out".to_owned(),
            };
            problems.error(place(path), "UnknownField", format!("there is no field {name:?} here; {advice}"));
        }

        for error in
            validate(schema, manifest, Context::default()).iter().filter(|error| in_spec(&error.path))
        {
            // Left out is allowed, too, but nobody writes it as a word.
            let message = error.body().replace(", \"null\"", "");
            problems.error(error.field(), "FieldInvalid", message);
        }
        problems
    }
}

fn in_spec(path: &FieldPath) -> bool {
    matches!(path.segments().first(), Some(Segment::Field(first)) if first == "spec")
}

/// The fields that there are beside the last one of a path.
fn siblings<'a>(schema: SchemaRef<'a>, path: &FieldPath) -> impl Iterator<Item = &'a str> {
    let parents = path.segments().split_last().map(|(_, parents)| parents).unwrap_or_default();
    let parent = parents.iter().try_fold(schema, |at, segment| match segment {
        Segment::Field(name) => at.property(name),
        _ => at.item(),
    });
    parent.into_iter().flat_map(|parent| parent.node().properties.iter().map(|(name, _)| name.as_ref()))
}

/// The spec; nothing where it can't be read, which is told then.
fn spec<T: serde::de::DeserializeOwned + Default>(manifest: &Value, problems: &mut Problems) -> Option<T> {
    let Some(spec) = manifest.get("spec") else { return Some(T::default()) };
    match T::deserialize(spec) {
        Ok(spec) => Some(spec),
        Err(error) => {
            // The schema says the same with a place, if it says anything.
            if !problems.any_error() {
                problems.error("spec", "FieldInvalid", error.to_string());
            }
            None
        }
    }
}

fn id(manifest: &Value) -> Result<PolicyId, NoPolicy> {
    let text = |at: &str| manifest.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    let Some(known) = PolicyKind::of(api_version, kind) else {
        let message = meant(api_version, kind)
            .unwrap_or_else(|| format!("{kind:?} of {api_version:?} is no policy about native objects"));
        return Err(wrong("kind", "UnknownKind", message));
    };
    if name.is_empty() {
        return Err(wrong(
            "metadata.name",
            "FieldInvalid",
            "it is missing; each policy has a name".to_owned(),
        ));
    }
    let group = api_version.split_once('/').map(|(group, _)| group).unwrap_or_default();
    let namespace = if known.namespaced() { text("/metadata/namespace") } else { "" };
    Ok(PolicyId::of_group(known, group, namespace, name))
}

fn wrong(path: &str, reason: &str, message: String) -> NoPolicy {
    let mut problems = Problems::default();
    problems.error(path, reason, message.clone());
    problems.into_vec().pop().unwrap_or(PolicyProblem {
        severity: fleet_api::propagation::Severity::Error,
        reason: reason.to_owned(),
        path: path.to_owned(),
        message,
    })
}
