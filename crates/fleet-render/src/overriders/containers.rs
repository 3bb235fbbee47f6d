//! Where an object's containers are.

use serde_json::Value;

/// The lists that hold containers, in the order in which they are looked through.
const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// The spec of the pods that an object is or makes: a Pod, a CronJob, or anything with a pod template where the built-in
/// workloads have theirs.
fn pod_spec(object: &Value) -> Option<&'static str> {
    let is_pod = object.get("kind").and_then(Value::as_str) == Some("Pod");
    let places = ["/spec/jobTemplate/spec/template/spec", "/spec/template/spec", "/template/spec"];
    let has = |place: &&str| {
        LISTS.iter().any(|list| object.pointer(&format!("{place}/{list}")).is_some_and(Value::is_array))
    };
    if is_pod { Some("/spec") } else { places.into_iter().find(has) }
}

/// JSON pointers to all containers of an object, with their names; init and ephemeral containers included.
pub(super) fn pointers(object: &Value) -> Vec<(String, String)> {
    let Some(spec) = pod_spec(object) else { return Vec::new() };
    let mut all = Vec::new();
    for list in LISTS {
        let pointer = format!("{spec}/{list}");
        let items = object.pointer(&pointer).and_then(Value::as_array).into_iter().flatten().enumerate();
        all.extend(items.filter(|(_, item)| item.is_object()).map(|(at, item)| {
            let name = item.get("name").and_then(Value::as_str).unwrap_or_default();
            (format!("{pointer}/{at}"), name.to_owned())
        }));
    }
    all
}
