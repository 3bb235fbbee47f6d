//! Which objects of a resource a request is about: namespace, name, labels and fields.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use fleet_json::{FieldSelector, LabelSelector};
use fleet_store::Range;
use serde::Deserialize;
use serde_json::Value;

use crate::dispatch::Call;
use crate::registry::{Kind, StoredAs};
use crate::status::ApiError;

/// A request's selectors.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    name: Option<Arc<str>>,
    namespace: Option<Arc<str>>,
}

#[derive(Deserialize)]
struct Labelled {
    #[serde(default)]
    metadata: Labels,
}

#[derive(Default, Deserialize)]
struct Labels {
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

impl Selection {
    /// Reads the selectors of a request.
    ///
    /// # Errors
    /// 400 where a selector can't be read, or names a field that the kind can't be selected by.
    pub(crate) fn of(call: &Call<'_>) -> Result<Self, ApiError> {
        let labels = match call.query.get("labelSelector") {
            Some(text) => LabelSelector::parse(text)
                .map_err(|error| ApiError::bad_request(format!("unable to parse requirement: {error}")))?,
            None => LabelSelector::everything(),
        };
        let mut fields = match call.query.get("fieldSelector") {
            Some(text) => {
                FieldSelector::parse(text).map_err(|error| ApiError::bad_request(error.to_string()))?
            }
            None => FieldSelector::default(),
        };
        for term in &fields.terms {
            if !is_selectable(&call.kind, &term.field) {
                let (api_version, kind) = (&call.kind.api_version, &call.kind.gvk.kind);
                return Err(ApiError::bad_request(format!(
                    "Unable to find {:?} that match label selector \"{labels}\", field selector \"{fields}\": field label not supported: {} ({api_version}, Kind={kind})",
                    call.kind.plural, term.field
                )));
            }
        }
        let mut required = |field: &str| {
            let value = fields.required_value(field).map(str::to_owned)?;
            fields.terms.retain(|term| !(term.field == field && !term.negated && term.value == value));
            Some(Arc::from(value))
        };
        let mut name = required("metadata.name");
        let mut namespace = required("metadata.namespace");
        if !call.path.name.is_empty() {
            name = Some(call.path.name.as_str().into());
        }
        if !call.path.namespace.is_empty() {
            let asked: Arc<str> = call.path.namespace.as_str().into();
            if let Some(other) = namespace.replace(Arc::clone(&asked)).filter(|other| *other != asked) {
                // Two namespaces at once: nothing matches, as a term that is compared says.
                fields.terms.push(fleet_json::FieldTerm {
                    field: "metadata.namespace".into(),
                    value: other.as_ref().to_owned(),
                    negated: false,
                });
            }
        }
        for term in &mut fields.terms {
            term.field = stored_field(&call.kind, &term.field);
        }
        Ok(Self { labels, fields, name, namespace })
    }

    /// What to ask the store for.
    pub(crate) fn range(&self, call: &Call<'_>) -> Range {
        Range {
            cluster: call.cluster.map(|cluster| cluster.name.clone()),
            resource: call.kind.store_name.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    /// Whether the range alone decides.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.terms.is_empty()
    }

    /// Whether a stored object is selected.
    pub(crate) fn matches(&self, bytes: &Bytes) -> bool {
        if self.is_everything() {
            return true;
        }
        if self.fields.terms.is_empty() {
            let labels =
                serde_json::from_slice::<Labelled>(bytes).ok().and_then(|object| object.metadata.labels);
            return self.labels.matches(&labels.unwrap_or_default());
        }
        let Ok(object) = serde_json::from_slice::<Value>(bytes) else { return false };
        self.labels.matches_value(object.pointer("/metadata/labels")) && self.fields.matches_value(&object)
    }
}

fn is_selectable(kind: &Kind, field: &str) -> bool {
    if matches!(field, "metadata.name" | "metadata.namespace") {
        return true;
    }
    if kind.custom.is_some() {
        return kind.selectable_fields.iter().any(|path| path.source().trim_start_matches('.') == field);
    }
    let names: &[&str] = match (kind.gvk.group.as_str(), kind.gvk.kind.as_str()) {
        ("", "Pod") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "Event") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "Event") => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        ("", "Secret") => &["type"],
        ("", "Namespace") => &["status.phase"],
        ("", "Node") => &["spec.unschedulable"],
        ("", "Service") => &["spec.clusterIP", "spec.type"],
        ("", "ReplicationController") | ("apps", "ReplicaSet") => &["status.replicas"],
        ("batch", "Job") => &["status.successful"],
        ("certificates.k8s.io", "CertificateSigningRequest") => &["spec.signerName"],
        _ => &[],
    };
    names.contains(&field)
}

/// The field's name in the stored version.
fn stored_field(kind: &Kind, field: &str) -> String {
    if kind.stored_as == Some(StoredAs::Event) {
        if let Some(rest) = field.strip_prefix("regarding.") {
            return format!("involvedObject.{rest}");
        }
        if field == "reportingController" {
            return "reportingComponent".to_owned();
        }
    }
    match field {
        "source" => "source.component".to_owned(),
        "status.successful" => "status.succeeded".to_owned(),
        other => other.to_owned(),
    }
}
