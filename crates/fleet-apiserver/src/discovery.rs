//! Which groups, versions and resources there are, in the old form and the aggregated one.

use std::cmp::{Ordering, Reverse};
use std::sync::OnceLock;

use bytes::Bytes;
use fleet_json::ContentHash;
use http::{HeaderMap, HeaderValue, Response, header};
use serde_json::{Map, Value, json};

use crate::encode::{self, Body, to_bytes};
use crate::registry::{Document, GroupView, Kind, Registry};
use crate::request::accept::DiscoveryForm;
use crate::status::ApiError;

/// The group that `kubectl top` looks for. It is named, without resources, so that the question is asked and gets a
/// plain answer.
pub(crate) const METRICS: &str = "metrics.k8s.io";

/// The Kubernetes version that the API follows.
const MAJOR: &str = "1";
const MINOR: &str = "35";

/// `/version`
pub(crate) fn version(program: &str) -> Value {
    let build = if program.is_empty() { String::new() } else { format!(".{program}") };
    json!({
        "major": MAJOR,
        "minor": MINOR,
        "emulationMajor": MAJOR,
        "emulationMinor": MINOR,
        "gitVersion": format!("v{MAJOR}.{MINOR}.0+fleetctl{build}"),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// `/`
pub(crate) fn paths(registry: &Registry) -> Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for group in registry.groups().iter().filter(|group| !group.name.is_empty()) {
        paths.push(format!("/apis/{}", group.name));
        paths.extend(group.versions.iter().map(|(version, _)| format!("/apis/{}/{version}", group.name)));
    }
    paths.extend(
        ["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(str::to_owned),
    );
    json!({"paths": paths})
}

/// `/api`
pub(crate) fn core(registry: &Registry, form: DiscoveryForm, headers: &HeaderMap) -> Response<Body> {
    let document = cached(&registry.documents.core, form, || match form {
        DiscoveryForm::Plain => json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}],
        }),
        _ => aggregated(registry, form, |group| group.name.is_empty()),
    });
    tagged(document, form.content_type(), headers)
}

/// `/apis`
pub(crate) fn groups(registry: &Registry, form: DiscoveryForm, headers: &HeaderMap) -> Response<Body> {
    let document = cached(&registry.documents.groups, form, || match form {
        DiscoveryForm::Plain => {
            let groups = registry.groups();
            let named = groups.iter().filter(|group| !group.name.is_empty());
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": named.map(api_group).collect::<Vec<_>>()})
        }
        _ => aggregated(registry, form, |group| !group.name.is_empty()),
    });
    tagged(document, form.content_type(), headers)
}

/// `/apis/GROUP`
pub(crate) fn group(registry: &Registry, name: &str) -> Result<Response<Body>, ApiError> {
    let groups = registry.groups();
    let group = groups.iter().find(|group| group.name == name && !name.is_empty());
    let mut answer = group.map(api_group).ok_or_else(ApiError::no_such_path)?;
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("kind".into(), json!("APIGroup"));
        fields.insert("apiVersion".into(), json!("v1"));
    }
    Ok(encode::json(200, &answer))
}

/// `/api/v1`, `/apis/GROUP/VERSION`
pub(crate) fn resources(registry: &Registry, group: &str, version: &str) -> Result<Response<Body>, ApiError> {
    let groups = registry.groups();
    let kinds = groups
        .iter()
        .find(|view| view.name == group)
        .and_then(|view| view.versions.iter().find(|(name, _)| *name == version))
        .map(|(_, kinds)| kinds)
        .ok_or_else(ApiError::no_such_path)?;
    let mut resources = Vec::new();
    for kind in kinds {
        resources.push(api_resource(kind));
        for sub in &kind.subresources {
            let mut entry = Map::new();
            entry.insert("name".into(), json!(format!("{}/{}", kind.plural, sub.name)));
            entry.insert("singularName".into(), json!(""));
            entry.insert("namespaced".into(), json!(kind.namespaced));
            entry.insert("kind".into(), json!(sub.kind.kind));
            entry.insert("verbs".into(), json!(sub.verbs));
            if sub.kind.group != kind.gvk.group || sub.kind.version != kind.gvk.version {
                entry.insert("group".into(), json!(sub.kind.group));
                entry.insert("version".into(), json!(sub.kind.version));
            }
            resources.push(Value::Object(entry));
        }
    }
    Ok(encode::json(
        200,
        &json!({
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": fleet_schema::api_version(group, version),
            "resources": resources,
        }),
    ))
}

fn api_resource(kind: &Kind) -> Value {
    let mut entry = Map::new();
    entry.insert("name".into(), json!(kind.plural));
    entry.insert("singularName".into(), json!(kind.singular));
    entry.insert("namespaced".into(), json!(kind.namespaced));
    entry.insert("kind".into(), json!(kind.gvk.kind));
    entry.insert("verbs".into(), json!(kind.verbs));
    if !kind.short_names.is_empty() {
        entry.insert("shortNames".into(), json!(kind.short_names));
    }
    if !kind.categories.is_empty() {
        entry.insert("categories".into(), json!(kind.categories));
    }
    let hash = ContentHash::of_bytes(kind.store_name.as_bytes());
    entry.insert("storageVersionHash".into(), json!(hash.short()));
    Value::Object(entry)
}

fn api_group(group: &GroupView<'_>) -> Value {
    let version =
        |name: &str| json!({"groupVersion": fleet_schema::api_version(group.name, name), "version": name});
    let versions: Vec<Value> = group.versions.iter().map(|(name, _)| version(name)).collect();
    json!({
        "name": group.name,
        "preferredVersion": versions.first().cloned().unwrap_or(Value::Null),
        "versions": versions,
    })
}

fn aggregated(registry: &Registry, form: DiscoveryForm, wanted: impl Fn(&GroupView<'_>) -> bool) -> Value {
    let version = if form == DiscoveryForm::V2Beta1 { "v2beta1" } else { "v2" };
    let groups = registry.groups();
    let items: Vec<Value> = groups.iter().filter(|group| wanted(group)).map(aggregated_group).collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    })
}

fn aggregated_group(group: &GroupView<'_>) -> Value {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|(version, kinds)| {
            let resources: Vec<Value> = kinds.iter().map(|kind| aggregated_resource(kind)).collect();
            json!({"version": version, "freshness": "Current", "resources": resources})
        })
        .collect();
    let metadata = if group.name.is_empty() { json!({}) } else { json!({"name": group.name}) };
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(kind: &Kind) -> Value {
    // A group and version that are those of the document are left out, as Kubernetes does for built-in kinds.
    let response_kind = |gvk: &fleet_schema::GroupVersionKind| json!({"group": gvk.group, "version": gvk.version, "kind": gvk.kind});
    let mut entry = Map::new();
    entry.insert("resource".into(), json!(kind.plural));
    entry.insert("responseKind".into(), response_kind(&kind.gvk));
    entry.insert("scope".into(), json!(if kind.namespaced { "Namespaced" } else { "Cluster" }));
    entry.insert("singularResource".into(), json!(kind.singular));
    entry.insert("verbs".into(), json!(kind.verbs));
    if !kind.short_names.is_empty() {
        entry.insert("shortNames".into(), json!(kind.short_names));
    }
    if !kind.categories.is_empty() {
        entry.insert("categories".into(), json!(kind.categories));
    }
    if !kind.subresources.is_empty() {
        let subresources: Vec<Value> = kind
            .subresources
            .iter()
            .map(|sub| {
                json!({"subresource": sub.name, "responseKind": response_kind(&sub.kind), "verbs": sub.verbs})
            })
            .collect();
        entry.insert("subresources".into(), Value::Array(subresources));
    }
    Value::Object(entry)
}

fn cached(slots: &[OnceLock<Document>; 3], form: DiscoveryForm, make: impl FnOnce() -> Value) -> Document {
    let [v2, v2beta1, plain] = slots;
    let slot = match form {
        DiscoveryForm::V2 => v2,
        DiscoveryForm::V2Beta1 => v2beta1,
        DiscoveryForm::Plain => plain,
    };
    slot.get_or_init(|| document(to_bytes(&make()))).clone()
}

/// A document with its tag.
pub(crate) fn document(bytes: Bytes) -> Document {
    let tag = ContentHash::of_bytes(&bytes).hex().to_ascii_uppercase();
    Document { bytes, tag }
}

/// A document with its `ETag`; 304 where the client has it already.
pub(crate) fn tagged(document: Document, content_type: &'static str, headers: &HeaderMap) -> Response<Body> {
    let tag = format!("\"{}\"", document.tag);
    let known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|part| part.trim() == tag || part.trim() == "*"));
    let mut answer = if known {
        encode::response(304, content_type, Body::empty())
    } else {
        encode::response(200, content_type, Body::whole(document.bytes))
    };
    if let Ok(value) = HeaderValue::from_str(&tag) {
        answer.headers_mut().insert(header::ETAG, value);
    }
    answer.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    answer
}

/// The order of versions: `v2`, `v1`, `v2beta1`, `v1beta2`, `v1alpha1`, then others by name.
pub(crate) fn version_order(a: &str, b: &str) -> Ordering {
    let rank = |text: &str| -> Option<(Reverse<u8>, Reverse<u64>, Reverse<u64>)> {
        let rest = text.strip_prefix('v')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (major, tail) = rest.split_at_checked(end)?;
        let (stage, minor) = match tail {
            "" => (2, 0),
            tail => match (tail.strip_prefix("beta"), tail.strip_prefix("alpha")) {
                (Some(minor), _) => (1, minor.parse().ok()?),
                (_, Some(minor)) => (0, minor.parse().ok()?),
                _ => return None,
            },
        };
        Some((Reverse(stage), Reverse(major.parse().ok()?), Reverse(minor)))
    };
    match (rank(a), rank(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_versions_come_before_younger_ones() {
        let mut versions = ["foo", "v1alpha1", "v1", "v10beta3", "v2", "v1beta1", "v12alpha1", "v10"];
        versions.sort_by(|a, b| version_order(a, b));
        assert_eq!(versions, ["v10", "v2", "v1", "v10beta3", "v1beta1", "v12alpha1", "v1alpha1", "foo"]);
    }
}
