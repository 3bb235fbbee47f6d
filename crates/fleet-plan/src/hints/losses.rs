//! What goes away and doesn't come back by itself.

use super::{Case, Finding, Severity};
use crate::ActionKind;

/// Kinds whose objects run something.
const WORKLOADS: [(&str, &str); 8] = [
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("apps", "DaemonSet"),
    ("apps", "ReplicaSet"),
    ("batch", "CronJob"),
    ("batch", "Job"),
    ("", "Pod"),
    ("", "ReplicationController"),
];

/// A workload goes from its target; worse where none is left anywhere.
pub(super) fn last_copy(case: &Case<'_>) -> Vec<Finding> {
    if !case.is(ActionKind::Delete) || case.action.shared || !WORKLOADS.contains(&case.kind()) {
        return Vec::new();
    }
    let id = &case.action.id;
    let key = (id.group().to_owned(), id.kind.clone(), id.name.clone());
    let goes = |target: &fleet_api::Target| {
        let planned = case.plan.targets.iter().find(|planned| planned.target == *target);
        planned.is_some_and(|planned| {
            planned.deletes().any(|delete| {
                (delete.id.group(), &delete.id.kind, &delete.id.name) == (id.group(), &id.kind, &id.name)
            })
        })
    };
    let here = &case.input.target;
    let others = case.facts.copies.get(&key).into_iter().flatten();
    let left = others.filter(|target| *target != here && !goes(target)).count();
    let arrives = case.plan.targets.iter().filter(|planned| planned.target != *here).any(|planned| {
        planned.actions.iter().any(|action| {
            action.kind == ActionKind::Create
                && (action.id.group(), &action.id.kind, &action.id.name) == (id.group(), &id.kind, &id.name)
        })
    });
    if left == 0 && !arrives {
        return vec![Finding::new(
            "it is the last copy in the fleet: nothing of it runs anywhere afterwards",
        )];
    }
    let rest = match left {
        0 => "others are made in the same step".to_owned(),
        1 => "one target still has it".to_owned(),
        many => format!("{many} targets still have it"),
    };
    vec![Finding::new(format!("it is the last copy on this target; {rest}")).as_(Severity::Warning)]
}

/// Objects whose deletion takes data with it.
pub(super) fn data(case: &Case<'_>) -> Vec<Finding> {
    let gone = case.is(ActionKind::Delete) && !case.action.shared;
    if !gone && !case.action.recreate {
        return Vec::new();
    }
    let said = match case.kind() {
        ("", "Namespace") => "everything in it is deleted with it, whoever made it",
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            "every object of its kind on that cluster is deleted with it"
        }
        ("", "PersistentVolumeClaim") => "its volume may be deleted with it, with the data on it",
        ("", "PersistentVolume") => "the data on it may be lost",
        ("apps", "StatefulSet") => {
            return vec![
                Finding::new(
                    "its PersistentVolumeClaims stay unless persistentVolumeClaimRetentionPolicy says Delete",
                )
                .as_(Severity::Info),
            ];
        }
        _ => return Vec::new(),
    };
    vec![Finding::new(said)]
}
