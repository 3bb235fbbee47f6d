//! What concerns running containers: there are none in a simulated member.

use http::Response;
use serde_json::{Value, json};

use crate::dispatch::Call;
use crate::encode::{Body, json};
use crate::object::ObjectExt;
use crate::policy::{self, Review};
use crate::request::body;
use crate::status::ApiError;
use crate::verbs::delete::{DeleteOptions, delete_named};
use crate::verbs::get::stored;
use crate::verbs::write::{Owners, commit_change};

/// Why a subresource that needs a process can't be served; `None` for others.
pub(crate) fn no_process(call: &Call<'_>, name: &str) -> Option<ApiError> {
    let word = match name {
        "log" => "logs",
        "exec" => "exec",
        "attach" => "attach",
        "portforward" => "port-forward",
        "proxy" => "proxy",
        _ => return None,
    };
    if let (Some(_), Err(missing)) = (call.cluster, stored(call)) {
        return Some(missing);
    }
    let message = format!(
        "{word} isn't possible: {} {:?} is simulated, no process runs behind it",
        call.kind.singular, call.path.name
    );
    Some(ApiError::new(501, "NotImplemented", message).about("", &call.kind.plural, &call.path.name))
}

/// Why there is nothing to measure.
pub(crate) fn no_metrics() -> ApiError {
    ApiError::new(
        501,
        "NotImplemented",
        "there are no metrics: pods and nodes are simulated, no process runs behind them",
    )
}

/// An eviction deletes the Pod: there is no disruption that a simulated one would have to be spared.
pub(crate) async fn evict(call: &mut Call<'_>) -> Result<Response<Body>, ApiError> {
    let decoded = body::decode(&call.body, body::syntax(&call.headers)?)?;
    let options = decoded.value.get("deleteOptions").filter(|options| !options.is_null());
    let options = options.map(DeleteOptions::read).transpose()?.unwrap_or_default();
    judge(call, &decoded.value, ("policy/v1", "Eviction"))?;
    delete_named(call, &options).await?;
    Ok(json(
        201,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    ))
}

/// A binding names the Pod's node.
pub(crate) async fn bind(call: &mut Call<'_>) -> Result<Response<Body>, ApiError> {
    let decoded = body::decode(&call.body, body::syntax(&call.headers)?)?;
    let node = decoded.value.pointer("/target/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if node.is_empty() {
        return Err(ApiError::bad_request("a binding needs the name of its node in target.name"));
    }
    if call.path.name.is_empty() {
        call.path.name = decoded.value.name().to_owned();
    }
    if let Some(pods) = call.registry.find("", "v1", "pods") {
        call.kind = pods.clone();
    }
    let entry = stored(call)?;
    let old: Value = serde_json::from_slice(&entry.value).map_err(ApiError::internal)?;
    if let Some(other) = old.pointer("/spec/nodeName").and_then(Value::as_str).filter(|name| !name.is_empty())
    {
        let why = format!("pod {} is already assigned to node {other:?}", call.path.name);
        return Err(ApiError::conflict("", "pods/binding", &call.path.name, &why));
    }
    judge(call, &decoded.value, ("v1", "Binding"))?;
    let mut new = old.clone();
    if let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("nodeName".into(), json!(node));
    }
    schedule(&mut new, &crate::object::time(call.server.now()));
    commit_change(call, &entry, &old, new, "binding", Owners::Recorded).await?;
    Ok(json(
        201,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    ))
}

/// Asks the cluster's policies about what is written beside a Pod.
fn judge(call: &mut Call<'_>, object: &Value, form: (&str, &str)) -> Result<(), ApiError> {
    let name = call.path.name.clone();
    policy::admit(call, &Review { form: Some(form), name: &name, ..Review::create(object) })
}

/// The condition that says that a node was found.
fn schedule(pod: &mut Value, now: &str) {
    let Some(fields) = pod.as_object_mut() else { return };
    let status = fields.entry("status").or_insert_with(|| json!({}));
    let Some(status) = status.as_object_mut() else { return };
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(conditions) = conditions.as_array_mut() else { return };
    conditions.retain(|condition| condition.get("type") != Some(&json!("PodScheduled")));
    conditions.push(json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": Value::Null, "lastTransitionTime": now,
    }));
}
