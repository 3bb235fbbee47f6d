//! Reviews: questions that are asked by creating an object which nobody keeps.

use http::Response;
use serde_json::{Map, Value, json};

use crate::dispatch::Call;
use crate::encode::{Body, json};
use crate::identity::{Attributes, Identity, authorize};
use crate::object::{ObjectExt, time};
use crate::registry::Kind;
use crate::status::ApiError;
use crate::verbs::write::read_object;

/// Whether objects of the kind are answered instead of kept.
pub(crate) fn is_review(kind: &Kind) -> bool {
    kind.custom.is_none()
        && matches!(kind.gvk.group.as_str(), "authentication.k8s.io" | "authorization.k8s.io")
        && kind.gvk.kind.ends_with("Review")
}

pub(crate) fn answer(call: &mut Call<'_>) -> Result<Response<Body>, ApiError> {
    let mut object = if call.body.is_empty() { json!({}) } else { read_object(call)? };
    let status = match call.kind.gvk.kind.as_str() {
        "SelfSubjectReview" => json!({"userInfo": user(&call.identity)}),
        "SelfSubjectAccessReview" => access(&call.identity, &object),
        "SubjectAccessReview" | "LocalSubjectAccessReview" => access(&subject(&object), &object),
        "SelfSubjectRulesReview" => rules(&call.identity),
        "TokenReview" => json!({"authenticated": false, "error": "this server issues no tokens"}),
        _ => return Err(ApiError::method_not_allowed(call.kind.group(), &call.kind.plural)),
    };
    object.set_meta("creationTimestamp", time(call.server.now()));
    if let Some(fields) = object.as_object_mut() {
        fields.insert("status".into(), status);
        fields.insert("kind".into(), json!(call.kind.gvk.kind));
        fields.insert("apiVersion".into(), json!(call.kind.api_version));
    }
    Ok(json(201, &object))
}

fn user(identity: &Identity) -> Value {
    json!({"username": identity.user, "groups": identity.groups})
}

/// The user that a review asks about.
fn subject(object: &Value) -> Identity {
    let user = object.pointer("/spec/user").and_then(Value::as_str).unwrap_or_default();
    let groups =
        object.pointer("/spec/groups").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Identity::new(user, groups.iter().filter_map(Value::as_str).map(str::to_owned))
}

fn access(identity: &Identity, object: &Value) -> Value {
    let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let wanted = Attributes {
        verb: match text("/spec/resourceAttributes/verb") {
            "" => text("/spec/nonResourceAttributes/verb"),
            verb => verb,
        },
        group: text("/spec/resourceAttributes/group"),
        resource: text("/spec/resourceAttributes/resource"),
        subresource: text("/spec/resourceAttributes/subresource"),
        namespace: text("/spec/resourceAttributes/namespace"),
        name: text("/spec/resourceAttributes/name"),
        path: text("/spec/nonResourceAttributes/path"),
    };
    let mut status = Map::new();
    match authorize(identity, &wanted) {
        Ok(()) => status.insert("allowed".into(), json!(true)),
        Err(error) => {
            status.insert("reason".into(), json!(error.message()));
            status.insert("allowed".into(), json!(false))
        }
    };
    Value::Object(status)
}

fn rules(identity: &Identity) -> Value {
    let all =
        authorize(identity, &Attributes { verb: "*", resource: "*", group: "*", ..Attributes::default() });
    let (resources, others) = match all {
        Ok(()) => (
            json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]),
            json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]),
        ),
        Err(_) => (
            json!([]),
            json!([{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version"]}]),
        ),
    };
    json!({"resourceRules": resources, "nonResourceRules": others, "incomplete": false})
}
