//! Names in documents: of components and of operations.

use crate::kind::GroupVersionKind;

/// The component of a custom kind: `com.example.stable.v1.CronTab`.
pub(super) fn component(gvk: &GroupVersionKind, kind: &str) -> String {
    let mut parts: Vec<&str> = gvk.group.split('.').collect();
    parts.reverse();
    format!("{}.{}.{kind}", parts.join("."), gvk.version)
}

/// The group and version inside an operation's id: `AppsV1`, `CoreV1`, `StableExampleComV1`.
pub(super) fn operation_group(group: &str, version: &str) -> String {
    let group = match group {
        "" => "core",
        "policy" | "apps" | "batch" => group,
        other => other.strip_suffix(".k8s.io").unwrap_or(other),
    };
    group.split('.').chain([version]).map(capitalised).collect()
}

/// The tag of a group's operations: `apps_v1`, `core_v1`.
pub(super) fn tag(group: &str, version: &str) -> String {
    let mut group = operation_group(group, "");
    if let Some(first) = group.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    format!("{group}_{version}")
}

pub(super) fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
