//! OpenAPI v3 documents, generated from the same rows that the API server serves.

mod components;
mod names;
mod operations;
mod paths;

use fleet_json::hash::canonical_json;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::kind::KindInfo;

/// The document of one group and version: paths of `kinds`, and every schema that they lead to.
///
/// `kinds` are rows of that group and version, built-in or custom; the order doesn't matter.
pub fn v3_document(group: &str, version: &str, kinds: &[&KindInfo]) -> Value {
    let mut components = components::Components::default();
    let mut paths = Map::new();
    paths::group_index(group, version, &mut components, &mut paths);
    for kind in kinds {
        paths::of_kind(kind, &mut components, &mut paths);
    }
    json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes", "version": crate::builtin().kubernetes },
        "paths": paths,
        "components": {
            "schemas": components.close(),
            "securitySchemes": {
                "BearerToken": { "in": "header", "name": "authorization", "type": "apiKey" },
            },
        },
    })
}

/// The hash of a document's content, the same on every machine; clients cache by it.
pub fn content_hash(document: &Value) -> String {
    let digest = Sha256::digest(canonical_json(document).as_bytes());
    digest.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Where a group and version stands in the index: `apis/apps/v1`, or `api/v1` for the core group.
pub fn group_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// The answer of `/openapi/v3`: each document with its URL, which names the content by `hash`.
pub fn v3_index<P, H>(documents: impl IntoIterator<Item = (P, H)>) -> Value
where
    P: AsRef<str>,
    H: AsRef<str>,
{
    let paths = documents.into_iter().map(|(path, hash)| {
        let (path, hash) = (path.as_ref(), hash.as_ref());
        let url = format!("/openapi/v3/{path}?hash={hash}");
        (path.to_owned(), json!({ "serverRelativeURL": url }))
    });
    json!({ "paths": paths.collect::<Map<String, Value>>() })
}

#[cfg(test)]
mod tests;
