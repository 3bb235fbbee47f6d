//! Objects that stand in the Application itself.

use std::collections::BTreeSet;

use fleet_render::{Component, INLINE_TYPE};
use serde_json::Value;

use super::Policies;
use crate::Problem;

/// Refuses objects that name a namespace where none of their targets is: they would land elsewhere than their author says.
///
/// # Errors
/// The first such object, and what to do.
pub(super) fn refuse_foreign_namespaces(
    components: &[Component],
    namespace: &str,
    policies: &Policies,
) -> Result<(), Problem> {
    let topologies = policies.values().filter(|(type_, _)| type_ == "topology");
    let mut targets: BTreeSet<&str> =
        topologies.filter_map(|(_, properties)| properties.get("namespace")?.as_str()).collect();
    targets.insert(namespace);
    for component in components.iter().filter(|component| component.type_ == INLINE_TYPE) {
        let objects = component.properties.get("objects").and_then(Value::as_array);
        for (index, object) in objects.into_iter().flatten().enumerate() {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let named = text("/metadata/namespace");
            if named.is_empty() || targets.contains(named) {
                continue;
            }
            let message = format!(
                "component {:?}: properties.objects[{index}] ({} {}): metadata.namespace is {named:?}, and it would land in {}: objects go to the namespace of their target; take the namespace out, or give the topology policy `namespace: {named}`",
                component.name,
                text("/kind"),
                text("/metadata/name"),
                targets.iter().map(|target| format!("{target:?}")).collect::<Vec<_>>().join(" or "),
            );
            return Err(Problem::wrong("ForeignNamespace", message));
        }
    }
    Ok(())
}
