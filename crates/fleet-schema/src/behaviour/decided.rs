//! Which fields of an object somebody decided, and who wrote the others.

use serde_json::Value;

use super::tree::{MAX_DEPTH, Object, Step, items, some, text};

/// One step from a value to a value inside it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PathStep<'a> {
    /// Entry of a map.
    Field(&'a str),
    /// Item of a list: where it stands, and the item, by whose keys it is recognised elsewhere.
    Item(usize, &'a Value),
}

/// Managers whose updates are no decision of a person, but a controller's work on the hub.
const CONTROLLERS: [&str; 6] = [
    "kube-controller-manager",
    "cloud-controller-manager",
    "kube-scheduler",
    "kubelet",
    "vpa-updater",
    "fleet-sim",
];

/// What an object's own records say about who wrote which field.
#[derive(Debug, Clone, Default)]
pub struct Decided {
    /// Client-side apply's annotation.
    last_applied: Option<Value>,
    /// `fieldsV1` of managers that applied.
    applied: Vec<Value>,
    /// `fieldsV1` of people's (and their tools') updates.
    updated: Vec<Value>,
    /// `fieldsV1` of controllers' updates.
    controllers: Vec<Value>,
}

/// Reads who decided what from the last-applied annotation and managedFields. What can't be read counts as
/// absent: then a default counts as a default.
pub fn decided_fields(object: &Value) -> Decided {
    let annotation =
        text(object, &["metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"]);
    let mut decided = Decided { last_applied: serde_json::from_str(annotation).ok(), ..Decided::default() };
    for entry in items(object, &["metadata", "managedFields"]) {
        let Some(fields) = some(entry, &["fieldsV1"]) else { continue };
        if text(entry, &["subresource"]) == "status" {
            continue;
        }
        let list = if text(entry, &["operation"]) == "Apply" {
            &mut decided.applied
        } else if CONTROLLERS.contains(&text(entry, &["manager"])) {
            &mut decided.controllers
        } else {
            &mut decided.updated
        };
        list.push(fields.clone());
    }
    decided
}

impl Decided {
    /// Whether somebody decided the field at `path`, or one below it: it stands in the last-applied
    /// annotation, or in the set of a manager that applied.
    pub fn contains(&self, path: &[PathStep<'_>]) -> bool {
        self.last_applied.as_ref().is_some_and(|applied| applied_value(applied, path).is_some())
            || self.applied.iter().any(|fields| owns(fields, path))
    }

    /// Whether any writer named the field at `path`, a controller's update included. What the API server
    /// allocates itself (node ports) is in nobody's set.
    pub fn named_by_anyone(&self, path: &[PathStep<'_>]) -> bool {
        self.contains(path) || self.updated.iter().chain(&self.controllers).any(|fields| owns(fields, path))
    }

    /// The fields that only controllers wrote, each with the value that the last-applied annotation
    /// decided for it, if it did.
    pub(crate) fn written_by_controllers(&self, object: &Value) -> Vec<(Vec<Step>, Option<Value>)> {
        let mut found = Vec::new();
        for fields in &self.controllers {
            self.walk(fields, object, &mut Vec::new(), &mut found);
        }
        found
    }

    fn walk<'v>(
        &self,
        fields: &Value,
        value: &'v Value,
        path: &mut Vec<PathStep<'v>>,
        found: &mut Vec<(Vec<Step>, Option<Value>)>,
    ) {
        let Some(fields) = fields.as_object().filter(|_| path.len() < MAX_DEPTH) else { return };
        for (key, below) in fields {
            if let Some(name) = key.strip_prefix("f:") {
                let Some((name, child)) = value.as_object().and_then(|map| map.get_key_value(name)) else {
                    continue;
                };
                path.push(PathStep::Field(name));
                if below.as_object().is_some_and(Object::is_empty) {
                    let others = self.applied.iter().chain(&self.updated);
                    if !others.clone().any(|fields| owns(fields, path)) {
                        let decided =
                            self.last_applied.as_ref().and_then(|applied| applied_value(applied, path));
                        found.push((path.iter().map(owned).collect(), decided.cloned()));
                    }
                } else {
                    self.walk(below, child, path, found);
                }
                path.pop();
            } else if key.starts_with("k:") {
                let Some(list) = value.as_array() else { continue };
                for (index, item) in list.iter().enumerate() {
                    if selects(key, index, item) {
                        path.push(PathStep::Item(index, item));
                        self.walk(below, item, path, found);
                        path.pop();
                    }
                }
            }
        }
    }
}

fn owned(step: &PathStep<'_>) -> Step {
    match step {
        PathStep::Field(name) => Step::Field((*name).to_owned()),
        PathStep::Item(index, _) => Step::Index(*index),
    }
}

/// Whether a set of FieldsV1 form holds the field at `path`, one below it, or (as one value) one above it.
fn owns(fields: &Value, path: &[PathStep<'_>]) -> bool {
    let mut set = fields;
    for (depth, step) in path.iter().enumerate() {
        let Some(map) = set.as_object() else { return false };
        if map.is_empty() {
            return depth > 0;
        }
        let next = match step {
            PathStep::Field(name) => map.get(&format!("f:{name}")),
            PathStep::Item(index, item) => {
                map.iter().find(|(key, _)| selects(key, *index, item)).map(|(_, below)| below)
            }
        };
        let Some(next) = next else { return false };
        set = next;
    }
    true
}

/// Whether a key of a set (`k:{…}`, `v:…`, `i:…`) means this item.
fn selects(key: &str, index: usize, item: &Value) -> bool {
    if let Some(keys) = key.strip_prefix("k:") {
        let keys: Option<Object> = serde_json::from_str(keys).ok();
        keys.is_some_and(|keys| keys.iter().all(|(name, value)| item.get(name) == Some(value)))
    } else if let Some(value) = key.strip_prefix("v:") {
        serde_json::from_str::<Value>(value).is_ok_and(|value| &value == item)
    } else {
        key.strip_prefix("i:").and_then(|text| text.parse().ok()) == Some(index)
    }
}

/// The value at `path` in the last-applied configuration; its lists may be in another order.
fn applied_value<'a>(applied: &'a Value, path: &[PathStep<'_>]) -> Option<&'a Value> {
    let mut value = applied;
    let mut list_name = "";
    for step in path {
        value = match step {
            PathStep::Field(name) => {
                list_name = name;
                value.get(name)?
            }
            PathStep::Item(index, item) => {
                let list = value.as_array()?;
                match list_keys(list_name, item) {
                    [] => list.get(*index)?,
                    keys => list.iter().find(|candidate| same_item(keys, candidate, item))?,
                }
            }
        };
    }
    Some(value).filter(|value| !value.is_null())
}

fn same_item(keys: &[&str], candidate: &Value, item: &Value) -> bool {
    keys.iter().all(|key| {
        let value = |item: &Value| match (item.get(key), *key) {
            (None, "protocol") => Some(Value::from("TCP")),
            (value, _) => value.cloned(),
        };
        value(candidate) == value(item)
    })
}

/// The keys that identify an item of a built-in kind's list; none for lists that are one value.
fn list_keys(list: &str, item: &Value) -> &'static [&'static str] {
    match list {
        "ports" if item.get("containerPort").is_some() => &["containerPort", "protocol"],
        "ports" if item.get("port").is_some() => &["port", "protocol"],
        "volumeMounts" => &["mountPath"],
        "volumeDevices" => &["devicePath"],
        "hostAliases" => &["ip"],
        "topologySpreadConstraints" => &["topologyKey", "whenUnsatisfiable"],
        "conditions" => &["type"],
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "volumes"
        | "imagePullSecrets"
        | "webhooks"
        | "readinessGates"
        | "schedulingGates"
        | "resourceClaims"
        | "secrets" => {
            if item.get("name").is_some() {
                &["name"]
            } else {
                &[]
            }
        }
        _ => &[],
    }
}
