//! The lines of a watch.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::encode::to_bytes;
use crate::request::Form;
use crate::status::ApiError;
use crate::view::View;

/// Writes events in the form that the client asked for.
#[derive(Debug)]
pub(super) struct Frames {
    view: View,
}

impl Frames {
    pub(super) fn new(view: View) -> Self {
        Self { view }
    }

    /// An event about an object. The stored bytes go out as they are unless another form was asked for.
    pub(super) fn object(&mut self, frame: &mut Vec<u8>, kind: &str, cluster: &str, bytes: &Bytes) {
        let object = match self.view.accept.form {
            Form::Table => self.view.single(cluster, bytes),
            _ => self.view.object(cluster, bytes),
        };
        line(frame, kind, &object);
    }

    pub(super) fn error(&self, frame: &mut Vec<u8>, error: &ApiError) {
        line(frame, "ERROR", &to_bytes(&error.to_status()));
    }

    /// How far the watch is; `initial` closes the initial events.
    pub(super) fn bookmark(&self, revision: u64, initial: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": Value::Null});
        if let Some(fields) = metadata.as_object_mut().filter(|_| initial) {
            fields.insert("annotations".into(), json!({"k8s.io/initial-events-end": "true"}));
        }
        let view = &self.view;
        let (kind, api_version) = match view.accept.form {
            Form::Object => (view.kind.gvk.kind.clone(), view.kind.api_version.clone()),
            Form::Partial => {
                ("PartialObjectMetadata".to_owned(), format!("meta.k8s.io/{}", view.accept.meta_version))
            }
            Form::Table => ("Table".to_owned(), format!("meta.k8s.io/{}", view.accept.meta_version)),
        };
        let mut object = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        if let (Form::Table, Some(fields)) = (view.accept.form, object.as_object_mut()) {
            fields.insert("columnDefinitions".into(), json!([]));
            fields.insert("rows".into(), json!([]));
        }
        let mut frame = Vec::new();
        line(&mut frame, "BOOKMARK", &to_bytes(&object));
        Bytes::from(frame)
    }
}

fn line(frame: &mut Vec<u8>, kind: &str, object: &[u8]) {
    frame.reserve(object.len() + 40);
    frame.extend_from_slice(b"{\"type\":\"");
    frame.extend_from_slice(kind.as_bytes());
    frame.extend_from_slice(b"\",\"object\":");
    frame.extend_from_slice(object);
    frame.extend_from_slice(b"}\n");
}
