//! One operation: parameters, body, responses and the marks that clients look for.

use serde_json::{Map, Value, json};

use crate::kind::GroupVersionKind;

/// A query or path parameter and its type.
pub(super) type Parameter = (&'static str, &'static str);

pub(super) const LIST: [Parameter; 10] = [
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
pub(super) const WRITE: [Parameter; 3] =
    [("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
pub(super) const PATCH: [Parameter; 4] =
    [("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean")];
pub(super) const DELETE: [Parameter; 5] = [
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];
pub(super) const DELETE_COLLECTION: [Parameter; 13] = [
    ("continue", "string"),
    ("dryRun", "string"),
    ("fieldSelector", "string"),
    ("gracePeriodSeconds", "integer"),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
];

pub(super) const PATCHES: [&str; 3] =
    ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];
pub(super) const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// What an operation does to which kind.
pub(super) struct Operation<'o> {
    pub(super) id: String,
    pub(super) tag: &'o str,
    pub(super) action: &'o str,
    pub(super) gvk: &'o GroupVersionKind,
}

/// The request's body.
pub(super) enum Body {
    None,
    /// Any encoding of this schema; `true` if it must be there.
    Of(Value, bool),
    /// A patch in one of these media types.
    Patch(Vec<&'static str>, Value),
}

impl Operation<'_> {
    /// Writes the operation; `codes` are the statuses that carry `response`.
    pub(super) fn write(
        self,
        parameters: &[Parameter],
        body: Body,
        codes: &[&str],
        response: &Value,
        media: &[&str],
    ) -> Value {
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| {
            out.insert(key.to_owned(), value);
        };
        put("operationId", json!(self.id));
        put("tags", json!([self.tag]));
        put("x-kubernetes-action", json!(self.action));
        put("x-kubernetes-group-version-kind", json!(self.gvk));
        if !parameters.is_empty() {
            put("parameters", parameters.iter().map(|parameter| query(*parameter)).collect());
        }
        match body {
            Body::None => {}
            Body::Of(schema, required) => {
                let mut body = json!({ "content": { "*/*": { "schema": schema } } });
                if required && let Value::Object(body) = &mut body {
                    body.insert("required".to_owned(), Value::Bool(true));
                }
                put("requestBody", body);
            }
            Body::Patch(types, schema) => {
                let content: Map<String, Value> =
                    types.into_iter().map(|media| (media.to_owned(), json!({ "schema": schema }))).collect();
                put("requestBody", json!({ "content": content, "required": true }));
            }
        }
        let content: Map<String, Value> =
            media.iter().map(|media| ((*media).to_owned(), json!({ "schema": response }))).collect();
        let mut responses: Map<String, Value> =
            codes.iter().map(|code| ((*code).to_owned(), answer(code, &content))).collect();
        responses.insert("401".to_owned(), json!({ "description": "Unauthorized" }));
        put("responses", Value::Object(responses));
        Value::Object(out)
    }
}

fn answer(code: &str, content: &Map<String, Value>) -> Value {
    let words = match code {
        "201" => "Created",
        "202" => "Accepted",
        _ => "OK",
    };
    json!({ "description": words, "content": content })
}

pub(super) fn query((name, kind): Parameter) -> Value {
    json!({ "in": "query", "name": name, "schema": { "type": kind, "uniqueItems": true } })
}

pub(super) fn in_path(name: &str) -> Value {
    json!({ "in": "path", "name": name, "required": true, "schema": { "type": "string", "uniqueItems": true } })
}
