//! What the objects of a plan say, read from the run's revision.

use fleet_api::{Application, ApplicationRevision, ObjectId, RevisionContent, Run, Target, names};
use fleet_controller::Loaded;
use fleet_plan::Delivery;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::Api;
use serde_json::Value;

use super::super::Place;
use super::shown;

/// The objects of a revision.
pub(crate) struct Contents {
    revision: Loaded,
    application: String,
    namespace: String,
    owner: String,
}

impl Contents {
    /// Reads the revision of a run; nothing where it can't be read, since the plan says what matters without it.
    pub(crate) async fn load(place: &Place, app: &Application, run: &Run) -> Option<Self> {
        let api: Api<ApplicationRevision> = Api::namespaced(place.hub.client.clone(), &place.namespace);
        let name = run.spec.revision.as_str();
        let first = place.hub.ask(name, api.get(name)).await.ok()?;
        let mut packed = first.spec.content.clone();
        for part in 2..=first.spec.parts {
            let part = format!("{name}-part-{part}");
            packed.data.push_str(&place.hub.ask(&part, api.get(&part)).await.ok()?.spec.content.data);
        }
        let content: RevisionContent = packed.unpack().ok()?;
        let revision = Loaded::new(name, &first.spec.hash, content).ok()?;
        let system: Api<Namespace> = Api::all(place.hub.client.clone());
        let hub = place.hub.ask("kube-system", system.get("kube-system")).await.ok()?;
        let hub = names::hub_identity(&hub.metadata).unwrap_or_default();
        let owner = names::owner_hash(hub, &place.namespace, &app.name_any());
        Some(Self { revision, application: app.name_any(), namespace: place.namespace.clone(), owner })
    }

    /// What an object will say, a field a line, without what every object has.
    pub(crate) fn of(&self, step: &str, target: &Target, id: &ObjectId) -> Vec<String> {
        let by = Delivery { application: &self.application, namespace: &self.namespace, owner: &self.owner };
        let objects = self.revision.desired(step, &target.namespace, &by);
        let Some(found) = objects.iter().find(|desired| desired.id == *id) else { return Vec::new() };
        let mut object = Value::clone(&found.object);
        if let Some(fields) = object.as_object_mut() {
            for known in ["apiVersion", "kind", "metadata"] {
                fields.remove(known);
            }
            if id.kind == "Secret" {
                // Keys may be seen, values never.
                for holder in ["data", "stringData"] {
                    let values = fields.get_mut(holder).and_then(Value::as_object_mut).into_iter().flatten();
                    values.for_each(|(_, value)| *value = Value::from("<hidden>"));
                }
            }
        }
        let mut lines = Vec::new();
        leaves(&object, &mut String::new(), &mut lines);
        lines
    }
}

/// Each leaf with its path, as `.spec.replicas: 5`.
fn leaves(value: &Value, path: &mut String, lines: &mut Vec<String>) {
    let length = path.len();
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
                path.push_str(&if plain { format!(".{key}") } else { format!("[{key:?}]") });
                leaves(value, path, lines);
                path.truncate(length);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                let name = item.get("name").and_then(Value::as_str);
                path.push_str(&name.map_or_else(|| format!("[{index}]"), |name| format!("[{name}]")));
                match item.as_object().filter(|fields| name.is_some() && fields.len() > 1) {
                    // The path says the name already.
                    Some(fields) => {
                        let mut rest = fields.clone();
                        rest.remove("name");
                        leaves(&Value::Object(rest), path, lines);
                    }
                    None => leaves(item, path, lines),
                }
                path.truncate(length);
            }
        }
        leaf => lines.push(format!("{}: {}", shown::visible(path), shown::short(leaf))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn leaves_have_paths() {
        let object = json!({ "spec": { "replicas": 5, "containers": [{ "name": "web", "image": "a" }], "empty": {} },
            "data": { "config.json": "{\n  x\n}\n" } });
        let mut lines = Vec::new();
        leaves(&object, &mut String::new(), &mut lines);
        lines.sort();
        let expected = [
            ".data[\"config.json\"]: \"{\\n  x\\n}\\n\"",
            ".spec.containers[web].image: a",
            ".spec.empty: {}",
            ".spec.replicas: 5",
        ];
        assert_eq!(lines, expected);
    }
}
