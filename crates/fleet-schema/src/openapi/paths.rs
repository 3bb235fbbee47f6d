//! The paths of a kind and the operations behind them.

use serde_json::{Map, Value, json};

use super::components::Components;
use super::operations::{
    Body, DELETE, DELETE_COLLECTION, LIST, Operation, PATCH, PATCHES, STRATEGIC, WRITE, in_path, query,
};
use super::{group_path, names};
use crate::kind::{GroupVersionKind, KindInfo, Subresource};

const MEDIA: [&str; 2] = ["application/json", "application/yaml"];
const LIST_MEDIA: [&str; 3] = ["application/json", "application/json;stream=watch", "application/yaml"];

/// `/apis/apps/v1/`: what resources there are.
pub(super) fn group_index(
    group: &str,
    version: &str,
    components: &mut Components,
    out: &mut Map<String, Value>,
) {
    let path = format!("/{}/", group_path(group, version));
    let content = json!({ "application/json": { "schema": components.meta("APIResourceList") } });
    let id = format!("get{}APIResources", names::operation_group(group, version));
    out.insert(
        path,
        json!({ "get": {
            "operationId": id,
            "tags": [names::tag(group, version)],
            "responses": {
                "200": { "description": "OK", "content": content },
                "401": { "description": "Unauthorized" },
            },
        }}),
    );
}

pub(super) fn of_kind(kind: &KindInfo, components: &mut Components, out: &mut Map<String, Value>) {
    let base = format!("/{}", group_path(&kind.gvk.group, &kind.gvk.version));
    let tag = names::tag(&kind.gvk.group, &kind.gvk.version);
    let writer = Writer { kind, tag, group: names::operation_group(&kind.gvk.group, &kind.gvk.version) };
    let plural = &kind.plural;
    let collection = if kind.namespaced {
        if kind.allows("list") {
            let mut item = Map::new();
            item.insert("get".to_owned(), writer.list(components, "list", "ForAllNamespaces", ""));
            put(out, format!("{base}/{plural}"), item, &[]);
        }
        format!("{base}/namespaces/{{namespace}}/{plural}")
    } else {
        format!("{base}/{plural}")
    };
    let scope: &[&str] = if kind.namespaced { &["namespace"] } else { &[] };
    put(out, collection.clone(), writer.collection(components), scope);
    let named: Vec<&str> = std::iter::once("name").chain(scope.iter().copied()).collect();
    put(out, format!("{collection}/{{name}}"), writer.object(components), &named);
    for sub in kind.subresources.iter().filter(|sub| sub.name != "proxy") {
        let item = writer.subresource(sub, components);
        put(out, format!("{collection}/{{name}}/{}", sub.name), item, &named);
    }
}

fn put(out: &mut Map<String, Value>, path: String, mut item: Map<String, Value>, in_paths: &[&str]) {
    if item.is_empty() {
        return;
    }
    let parameters = in_paths.iter().map(|name| in_path(name)).chain([query(("pretty", "string"))]);
    item.insert("parameters".to_owned(), parameters.collect());
    out.insert(path, Value::Object(item));
}

struct Writer<'k> {
    kind: &'k KindInfo,
    tag: String,
    group: String,
}

impl Writer<'_> {
    /// `readAppsV1NamespacedDeploymentStatus`
    fn operation<'o>(
        &'o self,
        verb: &str,
        action: &'o str,
        infix: &str,
        suffix: &str,
        gvk: &'o GroupVersionKind,
    ) -> Operation<'o> {
        let scope = if self.kind.namespaced && suffix != "ForAllNamespaces" { "Namespaced" } else { "" };
        let id = format!("{verb}{}{infix}{scope}{}{suffix}", self.group, self.kind.gvk.kind);
        Operation { id, tag: &self.tag, action, gvk }
    }

    fn list(&self, components: &mut Components, verb: &str, suffix: &str, infix: &str) -> Value {
        let schema = components.list(self.kind);
        let operation = self.operation(verb, "list", infix, suffix, &self.kind.gvk);
        operation.write(&LIST, Body::None, &["200"], &schema, &LIST_MEDIA)
    }

    fn collection(&self, components: &mut Components) -> Map<String, Value> {
        let mut item = Map::new();
        let gvk = &self.kind.gvk;
        if self.kind.allows("list") {
            item.insert("get".to_owned(), self.list(components, "list", "", ""));
        }
        if self.kind.allows("create") {
            let schema = components.kind(self.kind);
            let codes = ["200", "201", "202"];
            let operation = self.operation("create", "post", "", "", gvk);
            let body = Body::Of(schema.clone(), true);
            item.insert("post".to_owned(), operation.write(&WRITE, body, &codes, &schema, &MEDIA));
        }
        if self.kind.allows("deletecollection") {
            let body = Body::Of(components.meta("DeleteOptions"), false);
            let status = components.meta("Status");
            let operation = self.operation("delete", "deletecollection", "Collection", "", gvk);
            let operation = operation.write(&DELETE_COLLECTION, body, &["200"], &status, &MEDIA);
            item.insert("delete".to_owned(), operation);
        }
        item
    }

    fn object(&self, components: &mut Components) -> Map<String, Value> {
        let mut item = Map::new();
        let gvk = &self.kind.gvk;
        let schema = components.kind(self.kind);
        self.read_and_write(&mut item, components, &self.kind.verbs, "", gvk, &schema);
        if self.kind.allows("delete") {
            let body = Body::Of(components.meta("DeleteOptions"), false);
            let status = components.meta("Status");
            let operation = self.operation("delete", "delete", "", "", gvk);
            let operation = operation.write(&DELETE, body, &["200", "202"], &status, &MEDIA);
            item.insert("delete".to_owned(), operation);
        }
        item
    }

    fn read_and_write(
        &self,
        item: &mut Map<String, Value>,
        components: &mut Components,
        verbs: &[String],
        suffix: &str,
        gvk: &GroupVersionKind,
        schema: &Value,
    ) {
        let has = |verb: &str| verbs.iter().any(|have| have == verb);
        if has("get") {
            let operation = self.operation("read", "get", "", suffix, gvk);
            item.insert("get".to_owned(), operation.write(&[], Body::None, &["200"], schema, &MEDIA));
        }
        if has("update") {
            let operation = self.operation("replace", "put", "", suffix, gvk);
            let body = Body::Of(schema.clone(), true);
            let operation = operation.write(&WRITE, body, &["200", "201"], schema, &MEDIA);
            item.insert("put".to_owned(), operation);
        }
        if has("patch") {
            let mut types = PATCHES.to_vec();
            if !self.kind.custom {
                types.push(STRATEGIC);
            }
            let body = Body::Patch(types, components.meta("Patch"));
            let operation = self.operation("patch", "patch", "", suffix, gvk);
            let operation = operation.write(&PATCH, body, &["200", "201"], schema, &MEDIA);
            item.insert("patch".to_owned(), operation);
        }
    }

    fn subresource(&self, sub: &Subresource, components: &mut Components) -> Map<String, Value> {
        let mut item = Map::new();
        let suffix = names::capitalised(&sub.name);
        let schema = match sub.schema {
            Some(id) => components.definition(id),
            None if sub.kind == self.kind.gvk => components.kind(self.kind),
            None => json!({ "type": "string" }),
        };
        let streams = matches!(sub.name.as_str(), "attach" | "exec" | "portforward");
        if streams {
            for (method, word, verb) in [("get", "Get", "get"), ("post", "Post", "create")] {
                if sub.verbs.iter().any(|have| have == verb) {
                    let infix = word.to_owned();
                    let operation = self.operation("connect", "connect", &infix, &suffix, &sub.kind);
                    let answer = json!({ "type": "string" });
                    item.insert(
                        method.to_owned(),
                        operation.write(&[], Body::None, &["200"], &answer, &["*/*"]),
                    );
                }
            }
            return item;
        }
        self.read_and_write(&mut item, components, &sub.verbs, &suffix, &sub.kind, &schema);
        if sub.verbs.iter().any(|verb| verb == "create") {
            let operation = self.operation("create", "post", "", &suffix, &sub.kind);
            let codes = ["200", "201", "202"];
            let body = Body::Of(schema.clone(), true);
            item.insert("post".to_owned(), operation.write(&WRITE, body, &codes, &schema, &MEDIA));
        }
        item
    }
}
