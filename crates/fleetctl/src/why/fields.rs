//! Every field of a live object, with who set it.

use std::collections::BTreeMap;

use fleet_api::{ObjectId, Provenance, Source, names};
use fleet_controller::{Delivered, Distributed};
use fleet_json::FieldPath;
use fleet_plan::{drift, managed, redact};
use fleet_ssa::{Operation, decode_managed_fields};
use serde::Serialize;
use serde_json::Value;

use crate::exit::{Failure, Outcome};

/// Who set a field.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(super) enum SetBy {
    /// The namespace that targets of a topology policy have.
    Topology {
        /// The policy; nothing where it is the Application's namespace.
        #[serde(skip_serializing_if = "Option::is_none")]
        policy: Option<String>,
    },
    /// The engine: labels that say whose it is.
    Fleetctl,
    /// The replicas that a propagation policy divides among clusters.
    Division {
        /// The policy.
        policy: String,
    },
    /// The revision, which was recorded without more.
    Application,
    /// Somebody else on the member.
    Manager {
        /// The field manager.
        manager: String,
        /// How it wrote: `Apply` or `Update`.
        operation: &'static str,
        /// When, as far as known.
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<String>,
    },
    /// The member's API server: a default, or what it allocated.
    Server,
    /// The revision.
    #[serde(untagged)]
    Revision(Source),
}

/// One field.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Field {
    pub(super) path: FieldPath,
    /// What is there; nothing where it was delivered and is gone. Of Secrets never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<Value>,
    pub(super) set_by: SetBy,
    /// What was delivered, where it is another one: drift.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delivered: Option<Value>,
    /// Who set what was delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delivered_by: Option<SetBy>,
}

/// A field as it is typed: `spec.replicas`, `.data["config.json"]`.
pub(super) fn parse(text: &str) -> Outcome<FieldPath> {
    FieldPath::parse(text).map_err(|error| {
        Failure::usage(format!(
            "{text:?} is no field: {error}; write it as spec.replicas or data[\"config.json\"]"
        ))
    })
}

/// What every object has and nobody asks for.
fn is_bookkeeping(path: &FieldPath) -> bool {
    const METADATA: [&str; 7] = [
        "managedFields",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "selfLink",
        "ownerReferences",
    ];
    path.starts_with(&FieldPath::of_fields(["status"]))
        || METADATA.iter().any(|field| path.starts_with(&FieldPath::of_fields(["metadata", field])))
}

/// What was sent: the object, by which field manager, and who said what in it.
pub(super) struct Sent<'a> {
    pub(super) object: &'a Value,
    pub(super) manager: &'a str,
    pub(super) author: &'a dyn Fn(&FieldPath) -> SetBy,
}

/// All fields, in the order of their paths.
pub(super) fn explain(id: &ObjectId, live: &Value, sent: &Sent<'_>) -> Vec<Field> {
    let owners = Owners::of(live, sent.manager);
    let drifted: BTreeMap<FieldPath, Option<Value>> =
        drift(id, sent.object, live).into_iter().map(|drift| (drift.path, drift.delivered)).collect();
    let leaves = Provenance::new(Source::Engine);
    let leaves = leaves.leaves(live).into_iter().map(|(path, _)| path).filter(|path| !is_bookkeeping(path));
    let mut fields: Vec<Field> = Vec::new();
    for path in leaves {
        let changed = drifted.iter().find(|(known, _)| path.starts_with(known)).map(|(_, from)| from.clone());
        let ours = path.get(sent.object).is_some();
        let (set_by, was, was_by) = match (ours, changed) {
            (true, Some(from)) => {
                let by = owners.of_field(&path, live).unwrap_or(SetBy::Server);
                (by, from, Some((sent.author)(&path)))
            }
            (true, None) => ((sent.author)(&path), None, None),
            (false, _) if is_our_label(&path) => (SetBy::Fleetctl, None, None),
            (false, _) => (owners.of_field(&path, live).unwrap_or(SetBy::Server), None, None),
        };
        let value = redact(id, &path, path.get(live).cloned());
        fields.push(Field { path, value, set_by, delivered: was, delivered_by: was_by });
    }
    // What was delivered and is gone.
    for (path, from) in drifted.into_iter().filter(|(path, _)| path.get(live).is_none()) {
        let by = (sent.author)(&path);
        fields.push(Field {
            path,
            value: None,
            set_by: SetBy::Server,
            delivered: from,
            delivered_by: Some(by),
        });
    }
    fields
}

/// Those in one field.
///
/// # Errors
/// Where there is no such field.
pub(super) fn within(
    fields: Vec<Field>,
    wanted: &FieldPath,
    live: &Value,
    id: &ObjectId,
) -> Outcome<Vec<Field>> {
    let place = |path: &FieldPath| path.resolve(live).unwrap_or_else(|| path.clone());
    let meant = place(wanted);
    let known: Vec<String> = fields.iter().map(|field| field.path.to_dotted()).collect();
    let found: Vec<Field> =
        fields.into_iter().filter(|field| place(&field.path).starts_with(&meant)).collect();
    if found.is_empty() {
        let wanted = wanted.to_dotted();
        let advice = crate::nearest::advice(&wanted, &known, "fields");
        return Err(Failure::not_found(format!("{id} has no field {wanted}{advice}")));
    }
    Ok(found)
}

/// Who set a field of what an Application delivers.
pub(super) fn in_revision(path: &FieldPath, delivered: &Delivered) -> SetBy {
    if *path == FieldPath::of_fields(["metadata", "namespace"]) {
        return SetBy::Topology { policy: delivered.topology.clone() };
    }
    match &delivered.provenance {
        _ if is_our_label(path) => SetBy::Fleetctl,
        Some(provenance) => SetBy::Revision(provenance.source_of(path).clone()),
        None => SetBy::Application,
    }
}

/// Who set a field of what policies distribute.
pub(super) fn by_policies(path: &FieldPath, distributed: &Distributed) -> SetBy {
    let source = distributed.provenance.source_of(path);
    let replicas = *path == FieldPath::of_fields(["spec", "replicas"]) && *source == Source::Referenced;
    match (&distributed.replicas, &distributed.winner) {
        _ if is_our_label(path) => SetBy::Fleetctl,
        (Some(_), Some(policy)) if replicas => SetBy::Division { policy: policy.clone() },
        _ => SetBy::Revision(source.clone()),
    }
}

fn is_our_label(path: &FieldPath) -> bool {
    let Some(fleet_json::Segment::Field(label)) = path.last() else { return false };
    let ours = [names::APP_NAME, names::APP_NAMESPACE, names::APP_COMPONENT, names::OWNER, names::CONTENT];
    path.starts_with(&FieldPath::of_fields(["metadata", "labels"]))
        && (ours.contains(&label.as_str()) || names::sharer(label).is_some())
}

/// Who owns which fields by the member's records, less ourselves.
struct Owners(BTreeMap<FieldPath, SetBy>);

impl Owners {
    fn of(live: &Value, ourselves: &str) -> Self {
        let mut owners = BTreeMap::new();
        // Records that can't be read say nothing.
        let entries = decode_managed_fields(live).unwrap_or_default();
        for entry in entries.into_iter().filter(|entry| entry.manager != ourselves) {
            let by = SetBy::Manager {
                manager: entry.manager.clone(),
                operation: match entry.operation {
                    Operation::Apply => "Apply",
                    Operation::Update => "Update",
                },
                time: entry.time.clone(),
            };
            for path in entry.fields.leaves().paths() {
                if let Some(path) = managed::path(&path).resolve(live) {
                    owners.insert(path, by.clone());
                }
            }
        }
        Self(owners)
    }

    /// Who owns a field, or the nearest thing around it that is owned whole.
    fn of_field(&self, path: &FieldPath, live: &Value) -> Option<SetBy> {
        let mut path = path.resolve(live)?;
        loop {
            if let Some(by) = self.0.get(&path) {
                return Some(by.clone());
            }
            path.pop()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fleet_api::Target;
    use serde_json::json;

    use super::*;

    fn id(kind: &str) -> ObjectId {
        ObjectId::new("v1", kind, "demo", "web")
    }

    fn sent(object: Value) -> Delivered {
        Delivered {
            target: Target::new("m1", "demo"),
            revision: "web-1".into(),
            step: "ship".into(),
            component: "web".into(),
            component_type: "ref-objects".into(),
            object: Arc::new(object),
            provenance: Some(Provenance::new(Source::Referenced)),
            topology: None,
            owner: "0123456789".into(),
            manager: "fleetctl:0123456789".into(),
        }
    }

    fn told(kind: &str, live: &Value, delivered: &Delivered) -> Vec<Field> {
        let author = |path: &FieldPath| in_revision(path, delivered);
        let sent = Sent { object: &delivered.object, manager: &delivered.manager, author: &author };
        explain(&id(kind), live, &sent)
    }

    /// Each kind of author is told from the others: what we sent, what somebody changed, added or took away, what the
    /// server filled in.
    #[test]
    fn everybody_is_named() {
        let delivered = sent(json!({ "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "web", "namespace": "demo", "labels": { "a": "b", "fleetctl.dev/owner": "0123456789" } },
            "spec": { "type": "ClusterIP", "ports": [{ "name": "http", "port": 80 }], "externalName": "x" } }));
        let live = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web", "namespace": "demo", "uid": "1",
            "labels": { "a": "b", "fleetctl.dev/owner": "0123456789" }, "annotations": { "note": "x" },
            "managedFields": [
                { "manager": "fleetctl:0123456789", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": { "f:type": {} } } },
                { "manager": "kubectl-edit", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
                    "fieldsV1": { "f:metadata": { "f:annotations": { "f:note": {} } }, "f:spec": { "f:ports": { "k:{\"port\":81,\"protocol\":\"TCP\"}": { ".": {}, "f:port": {} } } } } }] },
            "spec": { "type": "ClusterIP", "clusterIP": "10.0.0.1", "ports": [{ "name": "http", "port": 81, "protocol": "TCP" }] } });
        let fields = told("Service", &live, &delivered);
        let by = |path: &str| {
            let found = fields.iter().find(|field| field.path.to_dotted() == path);
            found.unwrap_or_else(|| panic!("{path}: {fields:?}")).clone()
        };
        assert_eq!(by("spec.type").set_by, SetBy::Revision(Source::Referenced));
        assert_eq!(by("metadata.namespace").set_by, SetBy::Topology { policy: None });
        assert!(fields.iter().any(|field| field.set_by == SetBy::Fleetctl));
        assert_eq!(by("spec.clusterIP").set_by, SetBy::Server);
        let port = fields.iter().find(|field| field.value == Some(json!(81))).unwrap();
        assert!(
            matches!(&port.set_by, SetBy::Manager { manager, .. } if manager == "kubectl-edit"),
            "{port:?}"
        );
        assert_eq!(
            (port.delivered.clone(), port.delivered_by.clone()),
            (Some(json!(80)), Some(SetBy::Revision(Source::Referenced)))
        );
        assert!(matches!(by("metadata.annotations.note").set_by, SetBy::Manager { .. }));
        let gone = by("spec.externalName");
        assert_eq!((gone.value, gone.delivered), (None, Some(json!("x"))));
        assert!(!fields.iter().any(|field| field.path.to_dotted().starts_with("metadata.managedFields")));
        let json = serde_json::to_value(by("spec.type")).unwrap();
        assert_eq!(json["setBy"], json!({ "kind": "referenced" }));
    }

    /// Broken: whoever may ask why reads what only the Secret should hold (design invariant 11).
    #[test]
    fn a_secrets_values_are_left_out() {
        let delivered = sent(
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "web", "namespace": "demo" }, "data": { "password": "aGlkZGVu" } }),
        );
        let live = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "web", "namespace": "demo",
            "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{\"data\":{\"password\":\"aGlkZGVu\"}}" } }, "data": { "password": "b3RoZXI=", "token": "c2VjcmV0" } });
        let fields = told("Secret", &live, &delivered);
        let said = serde_json::to_string(&fields).unwrap();
        assert!(said.contains("password") && said.contains("token"), "{said}");
        for value in ["aGlkZGVu", "b3RoZXI=", "c2VjcmV0"] {
            assert!(!said.contains(value), "{said}");
        }
    }
}
