//! What deletes take from a target that nobody should lose unasked: its last workload, or everything.

use fleet_api::ObjectId;

use crate::{Action, ActionKind, TargetInput};

/// Kinds that run something.
const WORKLOADS: [(&str, &str); 7] = [
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("apps", "DaemonSet"),
    ("apps", "ReplicaSet"),
    ("batch", "Job"),
    ("batch", "CronJob"),
    ("", "Pod"),
];

/// Whether an object is of a kind that runs something.
pub fn is_workload(id: &ObjectId) -> bool {
    WORKLOADS.contains(&(id.group(), id.kind.as_str()))
}

/// What the deletes on a target take, in words; empty where something of the kind is left there.
pub(crate) fn of(actions: &[Action], target: &TargetInput<'_>) -> String {
    // What others share stays with them.
    let deleted: Vec<&ObjectId> =
        actions.iter().filter(|a| a.kind == ActionKind::Delete && !a.shared).map(|a| &a.id).collect();
    if deleted.is_empty() {
        return String::new();
    }
    let delivered = actions
        .iter()
        .filter(|a| matches!(a.kind, ActionKind::Create | ActionKind::Change | ActionKind::Keep))
        .map(|action| &action.id);
    // What has no namespace, other steps may deliver for another target of the same cluster.
    let others = target.kept.iter().filter(|id| id.namespace == target.target.namespace);
    let left: Vec<&ObjectId> = delivered.chain(others).collect();
    let workloads: Vec<String> =
        deleted.iter().filter(|id| is_workload(id)).map(|id| format!("{} {}", id.kind, id.name)).collect();
    let named = match workloads.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    };
    match (left.is_empty(), workloads.is_empty()) {
        (true, true) => format!("everything goes there ({} objects)", deleted.len()),
        (true, false) => format!("everything goes there ({} objects, {named} among them)", deleted.len()),
        (false, false) if !left.iter().any(|id| is_workload(id)) => {
            format!("the last workload goes there ({named})")
        }
        _ => String::new(),
    }
}
