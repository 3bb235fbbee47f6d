//! What a referenced object says.

use serde_json::Value;

use super::decided::{Decided, PathStep, decided_fields};
use super::sanitise::sanitise;
use super::tree::{each, group_version, map_mut, remove_at, step_mut, text};
use super::undefault::undefault;

/// The content of an object on the hub as it travels to members: live, sanitised by kind, less defaults
/// that nobody decided, less what only hub controllers wrote.
///
/// The same decisions give the same content, whatever status, versions, allocated addresses and ports or
/// controller notes the object carries.
pub fn referenced_content(object: &Value) -> Value {
    let (group, version) = group_version(object);
    let kind = text(object, &["kind"]);
    let decided = decided_fields(object);
    let mut content = object.clone();
    for (path, value) in decided.written_by_controllers(object) {
        match (value, step_mut(&mut content, &path)) {
            (Some(value), Some(place)) => *place = value,
            _ => {
                remove_at(&mut content, &path);
            }
        }
    }
    sanitise(group, kind, &mut content);
    if (group, kind) == ("", "Service") {
        drop_allocated_ports(&decided, &mut content);
    }
    undefault(group, version, kind, &mut content, &|path| decided.contains(path));
    content
}

/// Takes out the node ports that nobody named.
fn drop_allocated_ports(decided: &Decided, service: &mut Value) {
    let before = service.clone();
    let named = |port: &Value, index: usize, name: &str| {
        let path = [
            PathStep::Field("spec"),
            PathStep::Field("ports"),
            PathStep::Item(index, port),
            PathStep::Field(name),
        ];
        decided.named_by_anyone(&path)
    };
    let Some(spec) = map_mut(service, &["spec"]) else { return };
    if !decided.named_by_anyone(&[PathStep::Field("spec"), PathStep::Field("healthCheckNodePort")]) {
        spec.remove("healthCheckNodePort");
    }
    let mut index = 0;
    each(spec, "ports", |port| {
        let live = before.pointer(&format!("/spec/ports/{index}")).unwrap_or(&Value::Null);
        if !named(live, index, "nodePort") {
            port.remove("nodePort");
        }
        index += 1;
    });
}

