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
    "phase",
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
/// decided it; what holds a decided field stays with it.
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
    // A default may hang on another field's absence (a Job's completions on its parallelism): what could
    // not go in one round may go in the next.
    while !candidates.is_empty() {
        let before = candidates.len();
        reduce(object, &candidates, &unchanged);
        candidates.retain(|path| step_mut(object, path).is_some());
        if candidates.len() == before {
            break;
        }
    }
}

/// The fields to try, children before their parents. Answers whether somebody decided the value or one
/// inside it: then none of what holds it is a candidate.
fn collect<'v>(
    value: &'v Value,
    path: &mut Vec<PathStep<'v>>,
    steps: &mut Vec<Step>,
    set_by_user: &dyn Fn(&[PathStep<'_>]) -> bool,
    found: &mut Vec<Vec<Step>>,
) -> bool {
    if path.len() > MAX_DEPTH {
        return true;
    }
    let mut decided = !path.is_empty() && set_by_user(path);
    match value {
        Value::Object(map) => {
            for (name, child) in map {
                // The type and the identity aren't content; of the metadata only labels are defaulted.
                let outer = match path.as_slice() {
                    [] => matches!(name.as_str(), "apiVersion" | "kind" | "status"),
                    [PathStep::Field("metadata")] => name != "labels",
                    [.., PathStep::Field("metadata")] => true,
                    _ => false,
                };
                if outer {
                    continue;
                }
                path.push(PathStep::Field(name));
                steps.push(Step::Field(name.clone()));
                if collect(child, path, steps, set_by_user, found) {
                    decided = true;
                } else if DEFAULTED.contains(&name.as_str()) {
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
                decided |= collect(item, path, steps, set_by_user, found);
                path.pop();
                steps.pop();
            }
        }
        _ => {}
    }
    decided
}

/// Removes what can be removed together, halving where it can't: an object that only misses what it
/// inherits costs one trial.
fn reduce(object: &mut Value, candidates: &[Vec<Step>], unchanged: &dyn Fn(&Value) -> bool) {
    if candidates.is_empty() {
        return;
    }
    let mut trial = object.clone();
    for path in candidates {
        remove_at(&mut trial, path);
    }
    if unchanged(&trial) {
        *object = trial;
    } else if candidates.len() > 1 {
        let (left, right) = candidates.split_at(candidates.len() / 2);
        reduce(object, left, unchanged);
        reduce(object, right, unchanged);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::tree::group_version;
    use proptest::prelude::*;
    use serde_json::json;

    fn cases() -> Vec<(String, String, String, Value)> {
        let cases: Vec<Value> =
            serde_json::from_str(include_str!("../../tests/data/behaviour/defaults.json")).unwrap();
        cases
            .into_iter()
            .map(|case| {
                let object = case["out"].clone();
                let (group, version) = group_version(&object);
                let kind = object["kind"].as_str().unwrap();
                (group.to_owned(), version.to_owned(), kind.to_owned(), object)
            })
            .collect()
    }

    fn added(input: Option<&Value>, output: &Value, name: &str, found: &mut Vec<String>) {
        if input.is_none() && !name.is_empty() {
            found.push(name.to_owned());
        }
        match output {
            Value::Object(map) => {
                for (key, value) in map {
                    added(input.and_then(|input| input.get(key)), value, key, found);
                }
            }
            // A list that is filled in is taken out as one.
            Value::Array(list) if input.is_some() => {
                for (index, value) in list.iter().enumerate() {
                    added(input.and_then(|input| input.get(index)), value, "", found);
                }
            }
            _ => {}
        }
    }

    /// A field that is defaulted but missing from the list would be delivered as if somebody decided it.
    #[test]
    fn the_list_names_every_defaulted_field() {
        let cases: Vec<Value> =
            serde_json::from_str(include_str!("../../tests/data/behaviour/defaults.json")).unwrap();
        for case in cases {
            let mut names = Vec::new();
            added(Some(&case["in"]), &case["out"], "", &mut names);
            // A map that is filled whole is removed whole, and a Secret's data is content.
            names.retain(|name| !matches!(name.as_str(), "cpu" | "memory" | "app" | "token" | "data"));
            for name in names {
                assert!(DEFAULTED.contains(&name.as_str()), "{name} in {}", case["name"]);
            }
        }
    }

    /// Every path of an object, as text, to pick decided ones from.
    fn paths(value: &Value, path: &str, found: &mut Vec<String>) {
        let children: Vec<(String, &Value)> = match value {
            Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
            Value::Array(list) => list.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
            _ => Vec::new(),
        };
        for (key, value) in children {
            let path = format!("{path}/{key}");
            paths(value, &path, found);
            found.push(path);
        }
    }

    fn pointer(path: &[PathStep<'_>]) -> String {
        path.iter()
            .map(|step| match step {
                PathStep::Field(name) => format!("/{name}"),
                PathStep::Item(index, _) => format!("/{index}"),
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// If this fails, members get something else than the hub says, a decision is lost, or two reads of
        /// one object hash differently.
        #[test]
        fn taking_out_and_putting_in_are_inverse(
            case in 0usize..1000, picks in prop::collection::vec(any::<prop::sample::Index>(), 0..6)
        ) {
            let cases = cases();
            let (group, version, kind, object) = &cases[case % cases.len()];
            let mut all = Vec::new();
            paths(object, "", &mut all);
            let decided: Vec<&String> = picks.iter().map(|pick| pick.get(&all)).collect();
            let set = |path: &[PathStep<'_>]| decided.iter().any(|decided| **decided == pointer(path));
            let mut reduced = object.clone();
            undefault(group, version, kind, &mut reduced, &set);
            let mut again = reduced.clone();
            undefault(group, version, kind, &mut again, &set);
            prop_assert_eq!(&again, &reduced);
            apply_defaults(group, version, kind, &mut again);
            prop_assert_eq!(&again, object);
            for path in decided {
                let plain = !path.contains("kubernetes.io/");
                prop_assert!(!plain || reduced.pointer(path).is_some(), "{path} was decided");
            }
        }
    }

    #[test]
    fn what_differs_from_the_default_stays() {
        let mut service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
            "spec": {"type": "NodePort", "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]}
        });
        apply_defaults("", "v1", "Service", &mut service);
        undefault("", "v1", "Service", &mut service, &|_| false);
        assert_eq!(service["spec"], json!({"type": "NodePort", "ports": [{"port": 80, "targetPort": 8080}]}));
    }
}
