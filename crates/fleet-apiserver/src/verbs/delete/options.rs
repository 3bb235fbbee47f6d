//! What a client says about a delete, in the body or the query.

use fleet_store::Entry;
use serde_json::Value;

use crate::dispatch::Call;
use crate::object::ObjectExt;
use crate::request::body;
use crate::status::{ApiError, Cause};

/// What becomes of the objects that the deleted one owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    Orphan,
    Background,
    Foreground,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) propagation: Option<Propagation>,
    uid: Option<String>,
    resource_version: Option<String>,
}

impl DeleteOptions {
    pub(crate) fn of(call: &mut Call<'_>) -> Result<Self, ApiError> {
        let mut options = Self::default();
        if !call.body.is_empty() {
            let decoded = body::decode(&call.body, body::syntax(&call.headers)?)?;
            options = Self::read(&decoded.value)?;
            // Dry run may stand in the body as well; every other verb reads it from the query.
            if decoded.value.get("dryRun").and_then(Value::as_array).is_some_and(|list| !list.is_empty()) {
                call.query.set("dryRun", "All");
            }
        }
        if let Some(text) = call.query.get("propagationPolicy") {
            options.propagation = Some(propagation(text)?);
        }
        if call.query.get("orphanDependents") == Some("true") {
            options.propagation = Some(Propagation::Orphan);
        }
        Ok(options)
    }

    /// From a `DeleteOptions` object.
    pub(crate) fn read(value: &Value) -> Result<Self, ApiError> {
        if let Some(kind) = value.get("kind").and_then(Value::as_str).filter(|kind| *kind != "DeleteOptions")
        {
            return Err(ApiError::bad_request(format!(
                "a delete takes DeleteOptions in its body, not {kind}"
            )));
        }
        let text = |at: &str| value.pointer(at).and_then(Value::as_str).filter(|text| !text.is_empty());
        let mut options = Self {
            propagation: text("/propagationPolicy").map(propagation).transpose()?,
            uid: text("/preconditions/uid").map(str::to_owned),
            resource_version: text("/preconditions/resourceVersion").map(str::to_owned),
        };
        match value.get("orphanDependents").and_then(Value::as_bool) {
            Some(true) => options.propagation = Some(Propagation::Orphan),
            Some(false) if options.propagation.is_none() => {
                options.propagation = Some(Propagation::Background)
            }
            _ => {}
        }
        Ok(options)
    }

    /// Whether the client named the version it means.
    pub(crate) fn is_conditional(&self) -> bool {
        self.resource_version.is_some()
    }

    /// Whether the object is the one that the client means.
    pub(crate) fn check(&self, call: &Call<'_>, entry: &Entry, object: &Value) -> Result<(), ApiError> {
        let conflict = |why: String| {
            Err(ApiError::conflict(call.kind.group(), &call.kind.plural, &entry.key.name, &why))
        };
        match &self.uid {
            Some(uid) if uid != object.uid() => {
                return conflict(format!(
                    "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                    object.uid()
                ));
            }
            _ => {}
        }
        match &self.resource_version {
            Some(version) if *version != entry.revision.to_string() => conflict(format!(
                "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {}",
                entry.revision
            )),
            _ => Ok(()),
        }
    }
}

fn propagation(text: &str) -> Result<Propagation, ApiError> {
    match text {
        "Orphan" => Ok(Propagation::Orphan),
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        other => {
            let why = format!(
                "Unsupported value: {other:?}: supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
            );
            Err(ApiError::invalid(
                "meta.k8s.io",
                "DeleteOptions",
                "",
                vec![Cause::field("FieldValueNotSupported", "propagationPolicy", why)],
            ))
        }
    }
}
