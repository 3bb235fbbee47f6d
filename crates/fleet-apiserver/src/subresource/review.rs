//! Reviews: questions that are asked by creating an object which nobody keeps.

use std::collections::BTreeMap;

use http::Response;
use serde_json::{Map, Value, json};

use crate::authentication::token;
use crate::authorization::{Attributes, Rule, authorize, rules_of};
use crate::cluster::Cluster;
use crate::dispatch::Call;
use crate::encode::{Body, json};
use crate::identity::Identity;
use crate::object::{ObjectExt, time};
use crate::registry::Kind;
use crate::status::{ApiError, Cause};
use crate::verbs::write::{check_place, read_object};

/// Whether objects of the kind are answered instead of kept.
pub(crate) fn is_review(kind: &Kind) -> bool {
    kind.custom.is_none()
        && matches!(kind.gvk.group.as_str(), "authentication.k8s.io" | "authorization.k8s.io")
        && kind.gvk.kind.ends_with("Review")
}

pub(crate) fn answer(call: &mut Call<'_>) -> Result<Response<Body>, ApiError> {
    let mut object = if call.body.is_empty() { json!({}) } else { read_object(call)? };
    let cluster = call.one_cluster()?.clone();
    let status = match call.kind.gvk.kind.as_str() {
        "SelfSubjectReview" => json!({"userInfo": user_info(&call.identity)}),
        "SelfSubjectAccessReview" => access(call, &cluster, &call.identity, &object)?,
        "SubjectAccessReview" => access(call, &cluster, &subject(call, &object)?, &object)?,
        "LocalSubjectAccessReview" => {
            check_place(call, &mut object)?;
            let asked = object.pointer("/spec/resourceAttributes/namespace").and_then(Value::as_str);
            if asked.unwrap_or_default() != call.path.namespace {
                let why =
                    "must match metadata.namespace: a LocalSubjectAccessReview asks about its own namespace";
                return Err(invalid(call, "spec.resourceAttributes.namespace", why));
            }
            access(call, &cluster, &subject(call, &object)?, &object)?
        }
        "SelfSubjectRulesReview" => {
            let namespace = object.pointer("/spec/namespace").and_then(Value::as_str).unwrap_or_default();
            if namespace.is_empty() {
                return Err(ApiError::bad_request("no namespace on request: set spec.namespace"));
            }
            rules(call, &cluster, namespace)
        }
        "TokenReview" => token::review(call, &cluster, &object)?,
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

/// `userInfo` as reviews and admission show it.
pub(crate) fn user_info(identity: &Identity) -> Value {
    let mut user = Map::new();
    user.insert("username".into(), json!(identity.user));
    if !identity.uid.is_empty() {
        user.insert("uid".into(), json!(identity.uid));
    }
    user.insert("groups".into(), json!(identity.groups));
    if !identity.extra.is_empty() {
        user.insert("extra".into(), json!(identity.extra));
    }
    Value::Object(user)
}

fn invalid(call: &Call<'_>, field: &str, why: &str) -> ApiError {
    let cause = Cause::field("FieldValueInvalid", field, format!("Invalid value: {why}"));
    ApiError::invalid(call.kind.group(), call.kind.kind(), "", vec![cause])
}

/// The user that a review asks about: exactly as it is told, without the groups that a real one would be in.
fn subject(call: &Call<'_>, object: &Value) -> Result<Identity, ApiError> {
    let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    let words = |value: Option<&Value>| -> Vec<String> {
        let list = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let extra: BTreeMap<String, Vec<String>> = object
        .pointer("/spec/extra")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, values)| (key.clone(), words(Some(values))))
        .collect();
    let identity = Identity {
        user: text("/spec/user"),
        groups: words(object.pointer("/spec/groups")),
        uid: text("/spec/uid"),
        extra,
    };
    if identity.user.is_empty() && identity.groups.is_empty() {
        return Err(invalid(call, "spec.user", "at least one of user or group must be specified"));
    }
    Ok(identity)
}

fn access(
    call: &Call<'_>,
    cluster: &Cluster,
    identity: &Identity,
    object: &Value,
) -> Result<Value, ApiError> {
    let part = |at: &str| object.pointer(at).filter(|value| !value.is_null());
    let (resource, other) = (part("/spec/resourceAttributes"), part("/spec/nonResourceAttributes"));
    if resource.is_some() == other.is_some() {
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        return Err(invalid(call, "spec.resourceAttributes", why));
    }
    let text = |name: &str| {
        resource.or(other).and_then(|part| part.get(name)).and_then(Value::as_str).unwrap_or_default()
    };
    let wanted = Attributes {
        verb: text("verb"),
        group: text("group"),
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
        path: match other {
            None => "",
            Some(_) if text("path").is_empty() => "/",
            Some(_) => text("path"),
        },
    };
    let decision = authorize(call.server, Some(cluster), identity, &wanted);
    let mut status = Map::new();
    status.insert("allowed".into(), json!(decision.allowed));
    if !decision.reason.is_empty() {
        status.insert("reason".into(), json!(decision.reason));
    }
    Ok(Value::Object(status))
}

fn rules(call: &Call<'_>, cluster: &Cluster, namespace: &str) -> Value {
    let (all, missing) = rules_of(call.server, cluster, &call.identity, namespace);
    let (mut resources, mut others): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    let mut seen: Vec<&Rule> = Vec::new();
    for rule in all.iter().flat_map(|rules| rules.iter()) {
        if seen.contains(&rule) {
            continue;
        }
        seen.push(rule);
        if !rule.resources.is_empty() {
            let mut shown = json!({
                "verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources,
            });
            if !rule.resource_names.is_empty()
                && let Some(fields) = shown.as_object_mut()
            {
                fields.insert("resourceNames".into(), json!(rule.resource_names));
            }
            resources.push(shown);
        }
        if !rule.non_resource_urls.is_empty() {
            others.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
        }
    }
    let mut status = json!({
        "resourceRules": resources, "nonResourceRules": others, "incomplete": !missing.is_empty(),
    });
    if let (false, Some(fields)) = (missing.is_empty(), status.as_object_mut()) {
        fields.insert("evaluationError".into(), json!(missing.join(", ")));
    }
    status
}
