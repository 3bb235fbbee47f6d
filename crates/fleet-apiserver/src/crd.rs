//! Kinds that come and go at run time, by custom resource definitions.

mod cleanup;
mod known;
mod names;
mod rules;

use std::sync::Arc;

use fleet_json::ContentHash;
use fleet_schema::crd::{self, CustomKinds};
use serde_json::{Value, json};

pub(crate) use cleanup::clean_up;
pub(crate) use known::{Definitions, KnownDefinitions};
pub(crate) use rules::Rules;

use crate::cluster::Cluster;
use crate::object::{ObjectExt, time};
use crate::registry::Kind;
use crate::server::Inner;
use crate::status::Cause;
use crate::verbs::write::cause;

/// Holds a definition back until its objects are gone.
pub(crate) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The store's name of definitions.
pub(crate) const STORE_NAME: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// What all versions of a custom kind share.
#[derive(Debug)]
pub(crate) struct Custom {
    /// How many versions are served.
    pub(crate) served: usize,
    /// The compiled rules of all versions.
    pub(crate) rules: Rules,
    /// The hash of the definition's spec.
    pub(crate) hash: ContentHash,
}

/// One definition, ready to be served; shared by all clusters that have an equal one.
#[derive(Debug)]
pub(crate) struct CustomResource {
    pub(crate) group: String,
    pub(crate) kinds: Vec<Arc<Kind>>,
    pub(crate) hash: ContentHash,
}

impl CustomResource {
    fn new(kinds: CustomKinds, rules: Rules, hash: ContentHash) -> Self {
        let custom = Arc::new(Custom { served: kinds.kinds.len(), rules, hash });
        Self {
            group: kinds.group,
            kinds: kinds
                .kinds
                .into_iter()
                .map(|info| Arc::new(Kind::custom(info, Arc::clone(&custom))))
                .collect(),
            hash,
        }
    }
}

/// Completes a definition: defaults, the finalizer, and what its status says of it.
pub(crate) fn complete(server: &Inner, cluster: &Arc<Cluster>, old: Option<&Value>, definition: &mut Value) {
    crd::set_defaults(definition);
    let now = time(server.now());
    if old.is_none() {
        let mut finalizers = definition.finalizers();
        if !finalizers.iter().any(|name| name == FINALIZER) {
            finalizers.push(FINALIZER.to_owned());
            definition.set_meta("finalizers", finalizers);
        }
    }
    // What others write into the status (`storedVersions` after a migration) stays until the spec changes.
    let unchanged = old.is_some_and(|old| old.get("spec") == definition.get("spec"));
    if unchanged && definition.pointer("/status/conditions").is_some() {
        return;
    }
    let status = match names::clash(&cluster.registry(), definition) {
        None => crd::accepted_status(definition, &now),
        Some(clash) => names::refused_status(&clash, &now),
    };
    if let Some(fields) = definition.as_object_mut() {
        fields.insert("status".into(), status);
    }
}

/// What is wrong with a definition; nothing for other kinds.
pub(crate) fn check(kind: &Kind, old: Option<&Value>, object: &Value) -> Vec<Cause> {
    if !kind.is("apiextensions.k8s.io", "customresourcedefinitions") {
        return Vec::new();
    }
    let mut causes: Vec<Cause> = match crd::parse(object) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(cause).collect(),
    };
    if causes.is_empty() {
        causes.extend(Rules::compile(object).1);
    }
    if let Some(old) = old {
        for field in ["/spec/group", "/spec/scope", "/spec/names/plural"] {
            if old.pointer(field) != object.pointer(field) {
                let path = field.trim_start_matches('/').replace('/', ".");
                let shown = object.pointer(field).unwrap_or(&Value::Null);
                let why = format!("Invalid value: {shown}: field is immutable");
                causes.push(Cause::field("FieldValueInvalid", path, why));
            }
        }
        causes.extend(lost_versions(object));
    }
    causes
}

/// Versions that objects are stored in but that are no longer defined.
fn lost_versions(definition: &Value) -> Vec<Cause> {
    let list = |at: &str| definition.pointer(at).and_then(Value::as_array).cloned().unwrap_or_default();
    let defined: Vec<Value> =
        list("/spec/versions").iter().filter_map(|version| version.get("name").cloned()).collect();
    list("/status/storedVersions")
        .iter()
        .enumerate()
        .filter(|(_, version)| !defined.contains(version))
        .map(|(at, version)| {
            let why = format!("Invalid value: {version}: missing from spec.versions; {version} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {version} and removes {version} from status.storedVersions");
            Cause::field("FieldValueInvalid", format!("status.storedVersions[{at}]"), why)
        })
        .collect()
}

/// Whether a stored definition may be served.
fn is_accepted(definition: &Value) -> bool {
    let conditions = definition.pointer("/status/conditions").and_then(Value::as_array);
    !conditions.into_iter().flatten().any(|condition| {
        condition.get("type") == Some(&json!("NamesAccepted"))
            && condition.get("status") == Some(&json!("False"))
    })
}
