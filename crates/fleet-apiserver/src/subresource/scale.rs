//! How many replicas, for every kind that has such a number.

use fleet_store::Entry;
use http::Response;
use serde_json::{Map, Value, json};

use crate::dispatch::Call;
use crate::encode::{Body, json};
use crate::object::ObjectExt;
use crate::policy::{self, Review};
use crate::registry::Kind;
use crate::request::Form;
use crate::request::body::{self, BodySyntax};
use crate::status::{ApiError, Cause};
use crate::table;
use crate::verbs::get::stored;
use crate::verbs::patch::{PatchKind, run};
use crate::verbs::write::{Owners, commit_change};

/// Where a kind keeps its numbers, as JSON pointers.
struct Places {
    wanted: String,
    actual: String,
    /// A selector in text form, or an object to be written as text.
    selector: Option<String>,
}

fn places(kind: &Kind) -> Places {
    let pointer = |path: &str| path.replace('.', "/");
    match &kind.scale {
        Some(paths) => Places {
            wanted: pointer(&paths.spec_replicas),
            actual: pointer(&paths.status_replicas),
            selector: paths.label_selector.as_deref().map(pointer),
        },
        None => Places {
            wanted: "/spec/replicas".into(),
            actual: "/status/replicas".into(),
            selector: Some("/spec/selector".into()),
        },
    }
}

pub(super) async fn answer(call: &mut Call<'_>, verb: &str) -> Result<Response<Body>, ApiError> {
    let mut tries = 0;
    loop {
        let entry = stored(call)?;
        let old: Value = serde_json::from_slice(&entry.value).map_err(ApiError::internal)?;
        let before = scale_of(call, &old)?;
        if verb == "get" {
            return Ok(json(200, &shown(call, before)));
        }
        let wanted = wanted(call, verb, &before)?;
        match write(call, &entry, &old, &wanted).await {
            Err(error) if error.is_conflict() && verb == "patch" && tries < 5 => tries += 1,
            Err(error) => return Err(error),
            Ok(new) => return Ok(json(200, &shown(call, scale_of(call, &new)?))),
        }
    }
}

/// The Scale in the form that the client takes.
fn shown(call: &Call<'_>, scale: Value) -> Value {
    match call.accept.form {
        Form::Table => table::scale(&scale, call.accept.meta_version, call.server.now()),
        _ => scale,
    }
}

/// The Scale that the client wants.
fn wanted(call: &Call<'_>, verb: &str, before: &Value) -> Result<Value, ApiError> {
    if verb == "update" {
        return Ok(body::decode(&call.body, body::syntax(&call.headers)?)?.value);
    }
    let kind = PatchKind::of(call, true)?;
    let syntax = if kind == PatchKind::Apply { BodySyntax::Yaml } else { BodySyntax::Json };
    let document = body::decode(&call.body, syntax)?.value;
    // A Scale has no lists: strategic merge is the plain one.
    let kind = if kind == PatchKind::Strategic { PatchKind::Merge } else { kind };
    let mut scale = before.clone();
    run(&call.kind, &mut scale, &(kind, document), &call.path.name)?;
    Ok(scale)
}

async fn write(call: &mut Call<'_>, entry: &Entry, old: &Value, scale: &Value) -> Result<Value, ApiError> {
    let version = scale.meta_str("resourceVersion");
    if !version.is_empty() && version != old.meta_str("resourceVersion") {
        return Err(call.modified(&entry.key.name));
    }
    let replicas = match scale.pointer("/spec/replicas") {
        None | Some(Value::Null) => 0,
        Some(value) => {
            value.as_i64().filter(|count| (0..=i64::from(i32::MAX)).contains(count)).ok_or_else(|| {
                let why = format!("Invalid value: {value}: must be an integer of 0 or more");
                ApiError::invalid(
                    "autoscaling",
                    "Scale",
                    &entry.key.name,
                    vec![Cause::field("FieldValueInvalid", "spec.replicas", why)],
                )
            })?
        }
    };
    let before = scale_of(call, old)?;
    let mut after = before.clone();
    set(&mut after, "/spec/replicas", json!(replicas));
    let form = Some(("autoscaling/v1", "Scale"));
    policy::admit(call, &Review { form, ..Review::update(&before, &after) })?;
    let mut new = old.clone();
    set(&mut new, &places(&call.kind).wanted, json!(replicas));
    let bytes = commit_change(call, entry, old, new, "scale", Owners::Recorded).await?;
    serde_json::from_slice(&bytes).map_err(ApiError::internal)
}

fn scale_of(call: &Call<'_>, object: &Value) -> Result<Value, ApiError> {
    let places = places(&call.kind);
    let number = |at: &str| object.pointer(at).and_then(Value::as_i64);
    let Some(replicas) = number(&places.wanted).or(if call.kind.custom.is_none() { Some(1) } else { None })
    else {
        let why = format!("the spec replicas field {:?} does not exist", places.wanted.replace('/', "."));
        return Err(ApiError::internal(why));
    };
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.meta(field) {
            metadata.insert(field.into(), value.clone());
        }
    }
    let mut status = Map::new();
    status.insert("replicas".into(), json!(number(&places.actual).unwrap_or(0)));
    if let Some(text) = places.selector.as_deref().and_then(|at| object.pointer(at)).and_then(selector_text) {
        status.insert("selector".into(), json!(text));
    }
    Ok(json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": replicas},
        "status": status,
    }))
}

fn selector_text(selector: &Value) -> Option<String> {
    match selector {
        Value::String(text) => Some(text.clone()),
        other => fleet_json::LabelSelector::from_json(other).ok().map(|selector| selector.to_string()),
    }
}

/// Sets the value at a pointer, making the maps on the way.
fn set(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for step in pointer.trim_start_matches('/').split('/') {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Some(fields) = at.as_object_mut() else { return };
        at = fields.entry(step).or_insert(Value::Null);
    }
    *at = value;
}
