//! How a stored object is shown: in the asked-for version and form, with the wildcard's annotation.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::dispatch::Call;
use crate::encode::to_bytes;
use crate::object::ObjectExt;
use crate::registry::{Kind, StoredAs};
use crate::request::query::IncludeObject;
use crate::request::{Accept, Form};
use crate::{convert, table};

/// Names the cluster that an object of the wildcard cluster comes from.
pub const CLUSTER_ANNOTATION: &str = "fleetctl.dev/cluster";

/// How objects are shown to one request.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) kind: Arc<Kind>,
    pub(crate) accept: Accept,
    pub(crate) include: IncludeObject,
    pub(crate) wildcard: bool,
    /// Where each object begins if nothing need be done to it.
    unchanged: Option<String>,
    pub(crate) now: jiff::Timestamp,
}

impl View {
    pub(crate) fn of(call: &Call<'_>) -> Self {
        let unchanged = (call.kind.stored_as == Some(StoredAs::SameShape))
            .then(|| format!("{{\"apiVersion\":\"{}\"", call.kind.api_version));
        Self {
            kind: Arc::clone(&call.kind),
            accept: call.accept,
            include: call.query.include_object(),
            wildcard: call.cluster.is_none(),
            unchanged,
            now: call.server.now(),
        }
    }

    /// One object, or its metadata, as JSON. A table's rows come from [`View::rows`].
    pub(crate) fn object(&self, cluster: &str, bytes: &Bytes) -> Bytes {
        let as_stored = match self.kind.stored_as {
            None => true,
            Some(_) => self.unchanged.as_ref().is_some_and(|prefix| bytes.starts_with(prefix.as_bytes())),
        };
        if as_stored && !self.wildcard && self.accept.form != Form::Partial {
            return bytes.clone();
        }
        match self.value(cluster, bytes) {
            Some(value) if self.accept.form == Form::Partial => to_bytes(&self.partial(&value)),
            Some(value) => to_bytes(&value),
            None => bytes.clone(),
        }
    }

    /// One object as a tree, in the asked-for version.
    pub(crate) fn value(&self, cluster: &str, bytes: &[u8]) -> Option<Value> {
        let mut value: Value = serde_json::from_slice(bytes).ok()?;
        convert::from_stored(&self.kind, &mut value);
        if self.wildcard {
            annotate(&mut value, cluster);
        }
        Some(value)
    }

    /// A table of these objects.
    pub(crate) fn table(&self, objects: &[Value], list_meta: Value) -> Value {
        table::table(&self.kind, objects, list_meta, self.include, self.accept.meta_version, self.now)
    }

    /// What the answer to a request for one object is.
    pub(crate) fn single(&self, cluster: &str, bytes: &Bytes) -> Bytes {
        if self.accept.form != Form::Table {
            return self.object(cluster, bytes);
        }
        match self.value(cluster, bytes) {
            Some(value) => {
                let meta = json!({"resourceVersion": value.meta_str("resourceVersion")});
                to_bytes(&self.table(std::slice::from_ref(&value), meta))
            }
            None => bytes.clone(),
        }
    }

    fn partial(&self, object: &Value) -> Value {
        partial(object, self.accept.meta_version)
    }
}

/// An object's metadata alone.
pub(crate) fn partial(object: &Value, meta_version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": format!("meta.k8s.io/{meta_version}"),
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| Value::Object(Map::new())),
    })
}

fn annotate(object: &mut Value, cluster: &str) {
    let Some(metadata) = object.meta_mut() else { return };
    let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(CLUSTER_ANNOTATION.to_owned(), json!(cluster));
    }
}
