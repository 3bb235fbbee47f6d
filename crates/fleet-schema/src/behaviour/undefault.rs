//! Taking defaults out again.

use serde_json::Value;

use super::decided::PathStep;
use super::defaults::{apply_defaults, has_defaults};
use super::tree::{MAX_DEPTH, Step, remove_at, step_mut};

/// The names of all fields that defaults are set at; a test holds the list to the defaulting functions.
const DEFAULTED: &[&str] = &[
    "allocateLoadBalancerNodePorts",
    "apiGroup",
    "apiVersion",
    "attachRequired",
    "averageUtilization",
    "backoffLimit",
    "clientIP",
    "clusterIPs",
    "completionMode",
    "completions",
    "concurrencyPolicy",
    "conversion",
    "default",
    "defaultMode",
    "defaultRequest",
    "divisor",
    "dnsPolicy",
    "emptyDir",
    "enableServiceLinks",
    "expirationSeconds",
    "externalTrafficPolicy",
    "failedJobsHistoryLimit",
    "failurePolicy",
    "failureThreshold",
    "fsGroupPolicy",
    "hostPort",
    "imagePullPolicy",
    "internalTrafficPolicy",
    "ipFamilies",
    "ipFamilyPolicy",
    "iscsiInterface",
    "keyring",
    "kind",
    "kubernetes.io/metadata.name",
    "labels",
    "listKind",
    "manualSelector",
    "matchPolicy",
    "maxSurge",
    "maxUnavailable",
    "metrics",
    "minReplicas",
    "name",
    "namespaceSelector",
    "objectSelector",
    "parallelism",
    "partition",
    "path",
    "periodSeconds",
    "persistentVolumeClaimRetentionPolicy",
    "persistentVolumeReclaimPolicy",
    "podInfoOnMount",
    "podManagementPolicy",
    "podReplacementPolicy",
    "policies",
    "policyTypes",
    "pool",
    "port",
    "preemptionPolicy",
    "progressDeadlineSeconds",
    "protocol",
    "pullPolicy",
    "reclaimPolicy",
    "reinvocationPolicy",
    "replicas",
    "requests",
    "requiresRepublish",
    "resources",
    "restartPolicy",
    "revisionHistoryLimit",
    "rollingUpdate",
    "scaleDown",
    "scaleUp",
    "scheduler",
    "schedulerName",
    "scheme",
    "scope",
    "seLinuxMount",
    "securityContext",
    "selectPolicy",
    "selector",
    "service",
    "serviceAccount",
    "sessionAffinity",
    "sessionAffinityConfig",
    "singular",
    "stabilizationWindowSeconds",
    "status",
    "phase",
    "storageCapacity",
    "strategy",
    "successThreshold",
    "successfulJobsHistoryLimit",
    "suspend",
    "targetPort",
    "terminationGracePeriodSeconds",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "timeoutSeconds",
    "type",
    "updateStrategy",
    "user",
    "volumeBindingMode",
    "volumeLifecycleModes",
    "volumeMode",
    "whenDeleted",
    "whenScaled",
];

/// Removes every field whose value the defaults would bring back, unless `set_by_user` says that somebody
/// decided it (the path or one below it).
///
/// What it promises: applying the defaults to the result gives what applying them to `object` gave, and
/// doing it twice changes nothing more. List items are never removed, a list only as a whole.
pub fn undefault(
    group: &str,
    version: &str,
    kind: &str,
    object: &mut Value,
    set_by_user: &dyn Fn(&[PathStep<'_>]) -> bool,
) {
    if !has_defaults(group, version, kind) {
        return;
    }
    let mut candidates = Vec::new();
    collect(object, &mut Vec::new(), &mut Vec::new(), set_by_user, &mut candidates);
    let mut whole = object.clone();
    apply_defaults(group, version, kind, &mut whole);
    let unchanged = |reduced: &Value| {
        let mut again = reduced.clone();
        apply_defaults(group, version, kind, &mut again);
        again == whole
    };
    reduce(object, &candidates, &unchanged);
}

/// The fields to try, children before their parents.
fn collect<'v>(
    value: &'v Value,
    path: &mut Vec<PathStep<'v>>,
    steps: &mut Vec<Step>,
    set_by_user: &dyn Fn(&[PathStep<'_>]) -> bool,
    found: &mut Vec<Vec<Step>>,
) {
    if path.len() > MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, child) in map {
                // The type and the identity aren't content; of the metadata only one label is defaulted.
                if path.is_empty() && matches!(name.as_str(), "apiVersion" | "kind" | "status") {
                    continue;
                }
                path.push(PathStep::Field(name));
                steps.push(Step::Field(name.clone()));
                collect(child, path, steps, set_by_user, found);
                let metadata = matches!(path.as_slice(), [PathStep::Field("metadata"), _]);
                let candidate = DEFAULTED.contains(&name.as_str()) && (!metadata || name == "labels");
                if candidate && !set_by_user(path) {
                    found.push(steps.clone());
                }
                path.pop();
                steps.pop();
            }
        }
        Value::Array(list) => {
            for (index, item) in list.iter().enumerate() {
                path.push(PathStep::Item(index, item));
                steps.push(Step::Index(index));
                collect(item, path, steps, set_by_user, found);
                path.pop();
                steps.pop();
            }
        }
        _ => {}
    }
}

/// Removes what can be removed together, halving where it can't: an object that only misses what it
/// inherits costs one trial.
fn reduce(object: &mut Value, candidates: &[Vec<Step>], unchanged: &dyn Fn(&Value) -> bool) {
    if candidates.is_empty() {
        return;
    }
    let mut trial = object.clone();
    for path in candidates {
        // A map goes only once it is empty, else fields that were kept would go with it.
        let kept = step_mut(&mut trial, path)
            .is_none_or(|value| value.as_object().is_some_and(|map| !map.is_empty()));
        if !kept {
            remove_at(&mut trial, path);
        }
    }
    if unchanged(&trial) {
        *object = trial;
    } else if let [first, rest @ ..] = candidates
        && !rest.is_empty()
    {
        let (left, right) = candidates.split_at(candidates.len() / 2);
        reduce(object, left, unchanged);
        reduce(object, right, unchanged);
        let _ = first;
    }
}
