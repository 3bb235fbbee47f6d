//! What each cluster writes itself of an object on it: nobody else says it.

use serde_json::Value;

/// Fields, as they are called and where they are.
const FIELDS: [(&str, &str); 11] = [
    ("status", "/status"),
    ("metadata.uid", "/metadata/uid"),
    ("metadata.resourceVersion", "/metadata/resourceVersion"),
    ("metadata.generation", "/metadata/generation"),
    ("metadata.creationTimestamp", "/metadata/creationTimestamp"),
    ("metadata.deletionTimestamp", "/metadata/deletionTimestamp"),
    ("metadata.deletionGracePeriodSeconds", "/metadata/deletionGracePeriodSeconds"),
    ("metadata.managedFields", "/metadata/managedFields"),
    ("metadata.selfLink", "/metadata/selfLink"),
    ("metadata.generateName", "/metadata/generateName"),
    (OWNERS, "/metadata/ownerReferences"),
];
const OWNERS: &str = "metadata.ownerReferences";

/// The first of these fields that differs, and why it can't.
pub(crate) fn changed(before: &Value, after: &Value) -> Option<(&'static str, &'static str)> {
    let differs = |(_, pointer): &(&str, &str)| before.pointer(pointer) != after.pointer(pointer);
    let (field, _) = FIELDS.into_iter().find(differs)?;
    let why = match field {
        OWNERS => {
            "an owner is known by its UID, which is another one on each cluster, so clusters would delete the object; take it out"
        }
        _ => "each cluster writes it itself; take it out",
    };
    Some((field, why))
}
