//! OpenAPI documents, made from the registry when first asked for.

use std::sync::Arc;

use bytes::Bytes;
use fleet_json::ContentHash;
use fleet_schema::{KindInfo, openapi};
use http::{HeaderMap, HeaderValue, Response, header};
use serde_json::{Map, Value, json};

use crate::discovery::{document as with_tag, tagged};
use crate::encode::{Body, to_bytes};
use crate::registry::{Document, Kind, Registry};
use crate::request::Query;
use crate::status::ApiError;

/// Changes with every change of how documents are made, so that no client keeps an old one.
const EDITION: &str = concat!("fleet-apiserver ", env!("CARGO_PKG_VERSION"), " 1");

/// `/openapi/v3`
pub(crate) fn index(registry: &Registry, headers: &HeaderMap) -> Response<Body> {
    let document = registry.documents.openapi_index.get_or_init(|| {
        let entries = group_versions(registry);
        let hashed = entries.iter().map(|(path, kinds)| (path.clone(), hash(path, kinds)));
        with_tag(to_bytes(&openapi::v3_index(hashed)))
    });
    tagged(document.clone(), "application/json", headers)
}

/// `/openapi/v3/…`
pub(crate) fn document(
    registry: &Arc<Registry>,
    path: &str,
    query: Option<&str>,
    accept: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response<Body>, ApiError> {
    if !accepts(accept, "application/json") {
        return Err(ApiError::not_acceptable("application/json"));
    }
    let path = path.trim_end_matches('/');
    let entries = group_versions(registry);
    let (_, kinds) = entries.iter().find(|(name, _)| name == path).ok_or_else(ApiError::no_such_path)?;
    let tag = hash(path, kinds);
    let known = registry.documents(kinds).openapi.lock().get(path).cloned();
    let document = match known {
        Some(document) => document,
        None => {
            let bytes = to_bytes(&make(kinds));
            let document = Document { bytes, tag: tag.clone() };
            registry.documents(kinds).openapi.lock().insert(path.to_owned(), document.clone());
            document
        }
    };
    let mut answer = tagged(document, "application/json", headers);
    if Query::parse(query).get("hash") == Some(tag.as_str()) {
        let forever = HeaderValue::from_static("public, immutable, max-age=31536000");
        answer.headers_mut().insert(header::CACHE_CONTROL, forever);
    }
    Ok(answer)
}

/// `/openapi/v2`: kubectl asks for it in protobuf only, and is content with a document that defines nothing, since it
/// knows the built-in kinds by itself and finds the rest in v3.
pub(crate) fn v2(
    registry: &Registry,
    accept: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response<Body>, ApiError> {
    const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    // What clients ask for; as the type of an answer Go refuses to read it, for the `@`.
    const ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    if accepts(accept, "application/json") {
        let document = registry.documents.openapi_v2.get_or_init(|| with_tag(swagger(registry)));
        return Ok(tagged(document.clone(), "application/json", headers));
    }
    if accepts(accept, ASKED) || accepts(accept, PROTOBUF) {
        let document = registry.documents.openapi_v2_protobuf.get_or_init(|| with_tag(bare_protobuf()));
        return Ok(tagged(document.clone(), PROTOBUF, headers));
    }
    Err(ApiError::not_acceptable("application/json"))
}

fn accepts(accept: Option<&str>, wanted: &str) -> bool {
    let header = accept.unwrap_or_default();
    header.trim().is_empty()
        || header.split(',').any(|part| {
            let media = part.split(';').next().unwrap_or_default().trim();
            media == wanted || media == "*/*" || media == "application/*"
        })
}

/// Each document's path with the kinds in it.
fn group_versions(registry: &Registry) -> Vec<(String, Vec<&Arc<Kind>>)> {
    let mut entries = Vec::new();
    for group in registry.groups() {
        for (version, kinds) in group.versions.into_iter().filter(|(_, kinds)| !kinds.is_empty()) {
            entries.push((openapi::group_path(group.name, version), kinds));
        }
    }
    entries
}

/// What a document's content follows from: how it is made, and the custom kinds in it.
fn hash(path: &str, kinds: &[&Arc<Kind>]) -> String {
    let customs: Vec<Value> =
        kinds.iter().filter_map(|kind| kind.custom.as_ref()).map(|custom| json!(custom.hash.hex())).collect();
    let kubernetes = &fleet_schema::builtin().kubernetes;
    ContentHash::of_value(&json!([EDITION, kubernetes, path, customs])).hex().to_ascii_uppercase()
}

fn make(kinds: &[&Arc<Kind>]) -> Value {
    let infos: Vec<&KindInfo> = kinds.iter().map(|kind| kind.info()).collect();
    match kinds.first() {
        Some(first) => openapi::v3_document(&first.gvk.group, &first.gvk.version, &infos),
        None => json!({}),
    }
}

/// All schemas in one document of the old form.
fn swagger(registry: &Registry) -> Bytes {
    let mut definitions = Map::new();
    for (_, kinds) in group_versions(registry) {
        let mut document = make(&kinds);
        let schemas = document.pointer_mut("/components/schemas").map(Value::take);
        if let Some(Value::Object(schemas)) = schemas {
            definitions.extend(schemas);
        }
    }
    let swagger = json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": fleet_schema::builtin().kubernetes},
        "paths": {},
        "definitions": definitions,
    });
    Bytes::from(swagger.to_string().replace("#/components/schemas/", "#/definitions/"))
}

/// `openapi.v2.Document { swagger: "2.0", info { title, version }, paths {}, definitions {} }`
fn bare_protobuf() -> Bytes {
    fn field(out: &mut Vec<u8>, number: u8, content: &[u8]) {
        // Every content here is short: one byte holds its length.
        out.push((number << 3) | 2);
        out.push(u8::try_from(content.len()).unwrap_or(0));
        out.extend_from_slice(content);
    }
    let mut info = Vec::new();
    field(&mut info, 1, b"Kubernetes");
    field(&mut info, 2, b"v1.35.0");
    let mut document = Vec::new();
    field(&mut document, 1, b"2.0");
    field(&mut document, 2, &info);
    field(&mut document, 8, b"");
    field(&mut document, 9, b"");
    Bytes::from(document)
}
