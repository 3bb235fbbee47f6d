//! Override policies of native objects: how one object differs on one cluster.
//!
//! ```text
//!  object, policies that match it ─► in order ─► rules whose clusters match ─► image, command, args, labels, annotations,
//!                                                                              field, plaintext ─► Overridden
//! ```
//!
//! The order decides who has the last word: cluster-scoped policies before namespaced ones; of these, those that select
//! a whole kind before those that select by labels, and these before those that name the object; then by name. Within a
//! policy its rules in order; within a rule the overriders as above, each list in its order. It is all or nothing: where
//! one change can't be made, none is.

mod check;
mod containers;
mod document;
mod error;
mod image;
mod lists;
mod maps;
mod patch;
mod reference;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use fleet_api::propagation::{ClusterAffinity, OverridePolicySpec, Overriders};
use fleet_api::{Provenance, Source};
use fleet_json::{ChangeKind, FieldPath, diff_by_name};
use fleet_schema::{GroupVersionKind, builtin, place, unknown_fields};
use serde_json::{Value, json};

pub use check::check_overrides;
pub use error::{OverriderError, OverriderProblem};
pub use fleet_api::propagation::Precision;
pub use reference::{ImageReference, ReferenceError};

use crate::clusters_own;
use crate::render::record;
use error::Fault;

/// An override policy that matches an object.
#[derive(Debug, Clone, Copy)]
pub struct MatchingOverride<'p> {
    /// Its kind: `ClusterOverridePolicy`, with the group (`OverridePolicy.policy.karmada.io`) where several are in use.
    pub kind: &'p str,
    /// Its namespace; empty for a cluster-scoped one.
    pub namespace: &'p str,
    /// Its name.
    pub name: &'p str,
    /// How exactly it selects this object.
    pub precision: Precision,
    /// What it says.
    pub spec: &'p OverridePolicySpec,
}

impl MatchingOverride<'_> {
    /// `OverridePolicy demo/example`
    fn shown(&self) -> String {
        match self.namespace {
            "" => format!("{} {}", self.kind, self.name),
            namespace => format!("{} {namespace}/{}", self.kind, self.name),
        }
    }
}

/// An object as it goes to one cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Overridden {
    /// The object.
    pub object: Value,
    /// Where its fields come from.
    pub provenance: Provenance,
    /// Every override that was applied, in order.
    pub steps: Vec<OverrideStep>,
    /// What didn't do what it seems to say.
    pub warnings: Vec<OverriderProblem>,
}

/// One override that was applied.
#[derive(Debug, Clone, PartialEq)]
pub struct OverrideStep {
    /// The policy: `OverridePolicy demo/example`.
    pub policy: String,
    /// Where in it: `spec.overrideRules[0].overriders.imageOverrider[0]`.
    pub place: String,
    /// What it changed; empty where everything was so before.
    pub changes: Vec<OverrideChange>,
}

/// A field before and after an override. Values of Secrets are hidden.
#[derive(Debug, Clone, PartialEq)]
pub struct OverrideChange {
    /// The field.
    pub path: FieldPath,
    /// What it was; none where it wasn't.
    pub before: Option<Value>,
    /// What it is; none where it is gone.
    pub after: Option<Value>,
}

/// Sorts policies into the order in which they are applied.
pub fn sort_overrides(policies: &mut [MatchingOverride<'_>]) {
    // The same name in two API groups: some order, but always the same.
    policies.sort_by_key(|policy| (!policy.namespace.is_empty(), policy.precision, policy.name, policy.kind));
}

/// The object as it goes to one cluster: every rule of `policies`, in whatever order they are given, that `on_cluster` says
/// is about it. `base` is where the object comes from.
///
/// # Errors
/// The first override that can't be made, with the policy and its place; nothing is changed then.
pub fn apply_overriders(
    object: &Value,
    base: Provenance,
    policies: &[MatchingOverride<'_>],
    on_cluster: impl Fn(&ClusterAffinity) -> bool,
) -> Result<Overridden, OverriderError> {
    let mut sorted = policies.to_vec();
    sort_overrides(&mut sorted);
    let mut state = State {
        original: object,
        made: Overridden {
            object: object.clone(),
            provenance: base,
            steps: Vec::new(),
            warnings: Vec::new(),
        },
    };
    for policy in &sorted {
        for (place, affinity, overriders) in rules(policy.spec) {
            if affinity.is_none_or(&on_cluster) {
                state.rule(policy, &place, overriders)?;
            }
        }
    }
    Ok(state.made)
}

/// The rules of a policy with their places, the earlier form of a single one included.
fn rules(spec: &OverridePolicySpec) -> Vec<(String, Option<&ClusterAffinity>, &Overriders)> {
    let earlier = spec.overriders.iter();
    let earlier = earlier.map(|own| ("spec.overriders".to_owned(), spec.target_cluster.as_ref(), own));
    let listed = spec.override_rules.iter().enumerate().map(|(at, rule)| {
        (format!("spec.overrideRules[{at}].overriders"), rule.target_cluster.as_ref(), &rule.overriders)
    });
    earlier.chain(listed).collect()
}

struct State<'o> {
    original: &'o Value,
    made: Overridden,
}

/// What an overrider says of its own work, besides changing the object.
type Notes = Vec<(&'static str, String)>;

impl State<'_> {
    fn rule(
        &mut self,
        policy: &MatchingOverride<'_>,
        rule: &str,
        own: &Overriders,
    ) -> Result<(), OverriderError> {
        check::size(own).map_err(|fault| self.failed(policy, rule, fault))?;
        for (at, one) in own.image_overrider.iter().enumerate() {
            self.step(policy, format!("{rule}.imageOverrider[{at}]"), |object, notes| {
                image::apply(object, one, notes)
            })?;
        }
        for (list, field, of) in [
            (&own.command_overrider, "command", "commandOverrider"),
            (&own.args_overrider, "args", "argsOverrider"),
        ] {
            for (at, one) in list.iter().enumerate() {
                self.step(policy, format!("{rule}.{of}[{at}]"), |object, notes| {
                    lists::apply(object, field, one, notes)
                })?;
            }
        }
        for (list, field, of) in [
            (&own.labels_overrider, "labels", "labelsOverrider"),
            (&own.annotations_overrider, "annotations", "annotationsOverrider"),
        ] {
            for (at, one) in list.iter().enumerate() {
                self.step(policy, format!("{rule}.{of}[{at}]"), |object, notes| {
                    maps::apply(object, field, one, notes)
                })?;
            }
        }
        for (at, one) in own.field_overrider.iter().enumerate() {
            self.step(policy, format!("{rule}.fieldOverrider[{at}]"), |object, _| {
                document::apply(object, one)
            })?;
        }
        if !own.plaintext.is_empty() {
            self.step(policy, format!("{rule}.plaintext"), |object, _| patch::apply(object, &own.plaintext))?;
        }
        Ok(())
    }

    fn step(
        &mut self,
        policy: &MatchingOverride<'_>,
        place: String,
        change: impl FnOnce(&mut Value, &mut Notes) -> Result<(), Fault>,
    ) -> Result<(), OverriderError> {
        let mut after = self.made.object.clone();
        let mut notes = Notes::new();
        change(&mut after, &mut notes)
            .and_then(|()| same_identity(self.original, &after))
            .map_err(|fault| self.failed(policy, &place, fault))?;
        // The others make no fields of their own.
        if place.ends_with(".plaintext") {
            notes.extend(dropped(&self.made.object, &after).into_iter().map(|told| ("UnknownField", told)));
        }
        let source = Source::Override {
            policy: policy.shown(),
            rule: place.strip_prefix("spec.").unwrap_or(&place).to_owned(),
            trait_type: None,
        };
        record(&mut self.made.provenance, &self.made.object, &after, &source);
        let changes = changes(&self.made.object, &after);
        // A policy about everything isn't wrong where something has no containers.
        let broad = policy.spec.resource_selectors.is_empty();
        self.made.warnings.extend(
            notes.into_iter().filter(|(code, _)| !(broad && *code == "NoContainers")).map(
                |(code, message)| OverriderProblem {
                    policy: policy.shown(),
                    place: place.clone(),
                    object: error::object(self.original),
                    code,
                    message,
                },
            ),
        );
        self.made.steps.push(OverrideStep { policy: policy.shown(), place, changes });
        self.made.object = after;
        Ok(())
    }

    fn failed(&self, policy: &MatchingOverride<'_>, place: &str, fault: Fault) -> OverriderError {
        fault.at(policy.shown(), place, error::object(self.original))
    }
}

/// Fields that the kind of an object doesn't have, as far as its schema is known.
fn unknown(object: &Value) -> BTreeSet<String> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let kind = builtin().by_kind(&GroupVersionKind::new(group, version, text("kind")));
    let Some(schema) = kind.and_then(|kind| kind.schema()) else { return BTreeSet::new() };
    unknown_fields(schema, object).iter().map(place).collect()
}

/// What is told of fields that an override makes and that clusters drop.
fn dropped(before: &Value, after: &Value) -> Vec<String> {
    let made = unknown(after);
    if made.is_empty() {
        return Vec::new();
    }
    let version = &builtin().kubernetes;
    let told = |field: &String| {
        format!(
            "{field}: there is no such field in Kubernetes {version}, and clusters drop it; mend the path"
        )
    };
    made.difference(&unknown(before)).map(told).collect()
}

/// An override makes no other object of an object, and says nothing that a cluster decides.
fn same_identity(before: &Value, after: &Value) -> Result<(), Fault> {
    if let Some((field, why)) = clusters_own::changed(before, after) {
        return Err(Fault::new("ClustersOwn", format!("it would change {field}: {why}")));
    }
    for field in ["/apiVersion", "/kind", "/metadata/name", "/metadata/namespace"] {
        if before.pointer(field) != after.pointer(field) {
            let path = field.trim_start_matches('/').replace('/', ".");
            return Err(Fault::new(
                "IdentityChanged",
                format!("it would change {path}, and so make another object; distribute that one by itself"),
            ));
        }
    }
    for field in ["labels", "annotations"] {
        let ours = |object: &Value| -> Vec<(String, Value)> {
            let entries = object.pointer(&format!("/metadata/{field}")).and_then(Value::as_object);
            let entries = entries.into_iter().flatten();
            let ours = entries.filter(|(key, _)| key.starts_with(RESERVED));
            ours.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        if ours(before) != ours(after) {
            let message =
                format!("it would change metadata.{field} of {RESERVED}…, which are the engine's own");
            return Err(Fault::new("IdentityChanged", message));
        }
    }
    Ok(())
}

/// Labels and annotations by which the engine knows what is its own.
const RESERVED: &str = "fleetctl.dev/";

/// What differs, without values of a Secret.
fn changes(before: &Value, after: &Value) -> Vec<OverrideChange> {
    let secret = error::is_secret(after);
    let shown = |path: &FieldPath, value: Value| match secret && !is_harmless(path) {
        true => json!("<hidden>"),
        false => value,
    };
    let made = diff_by_name(before, after).into_iter().map(|change| {
        let (from, to) = match change.change {
            ChangeKind::Added(value) => (None, Some(value)),
            ChangeKind::Removed(value) => (Some(value), None),
            ChangeKind::Changed { from, to } => (Some(from), Some(to)),
            ChangeKind::Reordered { to } => (None, Some(json!(to))),
        };
        let path = change.path;
        OverrideChange {
            before: from.map(|value| shown(&path, value)),
            after: to.map(|value| shown(&path, value)),
            path,
        }
    });
    made.collect()
}

/// Fields of a Secret that hold no value of it. Annotations may: client-side apply keeps a copy there.
fn is_harmless(path: &FieldPath) -> bool {
    [&["type"][..], &["immutable"], &["metadata", "labels"]]
        .iter()
        .any(|names| path.starts_with(&FieldPath::of_fields(names.iter().copied())))
}
