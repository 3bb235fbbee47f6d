//! Names that two definitions can't have at once.

use serde_json::{Value, json};

use crate::registry::Registry;

/// Why a definition's names aren't accepted.
#[derive(Debug)]
pub(super) struct Clash {
    reason: &'static str,
    message: String,
}

/// The first name that another kind of the group has already.
pub(super) fn clash(registry: &Registry, definition: &Value) -> Option<Clash> {
    let text = |at: &str| definition.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let (group, plural, kind) = (text("/spec/group"), text("/spec/names/plural"), text("/spec/names/kind"));
    let (singular, list_kind) = (text("/spec/names/singular"), text("/spec/names/listKind"));
    let short: Vec<&str> = definition
        .pointer("/spec/names/shortNames")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let used = |reason, name: &str| Some(Clash { reason, message: format!("{name:?} is already in use") });
    let groups = registry.groups();
    let others = groups
        .iter()
        .filter(|view| view.name == group)
        .flat_map(|view| &view.versions)
        .flat_map(|(_, kinds)| kinds)
        .filter(|other| other.plural != plural);
    for other in others {
        if other.gvk.kind == kind {
            return used("KindConflict", kind);
        }
        if other.list_kind == list_kind {
            return used("ListKindConflict", list_kind);
        }
        let taken = |name: &str| {
            !name.is_empty()
                && (other.plural == name
                    || other.singular == name
                    || other.short_names.iter().any(|one| one == name))
        };
        if taken(plural) {
            return used("PluralConflict", plural);
        }
        if taken(singular) {
            return used("SingularConflict", singular);
        }
        if let Some(name) = short.iter().find(|name| taken(name)) {
            return used("ShortNamesConflict", name);
        }
    }
    None
}

/// The status of a definition that isn't served because of its names.
pub(super) fn refused_status(clash: &Clash, now: &str) -> Value {
    let condition = |name: &str, reason: &str, message: &str| json!({"type": name, "status": "False", "reason": reason, "message": message, "lastTransitionTime": now});
    json!({
        "conditions": [
            condition("NamesAccepted", clash.reason, &clash.message),
            condition("Established", "NotAccepted", "not all names are accepted"),
        ],
        "acceptedNames": {"plural": "", "kind": ""},
        "storedVersions": [],
    })
}
