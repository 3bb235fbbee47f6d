//! Checks of `pkg/apis/*/validation` that OpenAPI doesn't hold: those that people meet.

mod findings;
mod kinds;
mod metadata;
mod names;
mod network;
mod pod;
mod update;
mod workloads;

use serde_json::Value;

use findings::Findings;

/// The checks of a create, on an object whose defaults are set and whose name is generated. Each finding is
/// the field's path and Kubernetes' message for it (`Required value`, `Invalid value: "x": must be …`).
pub fn validate_create(group: &str, kind: &str, object: &Value) -> Vec<(String, String)> {
    let mut found = Findings::default();
    content(group, kind, object, &mut found);
    found.into_list()
}

/// The checks of an update: the content of the new object, and what must not change.
pub fn validate_update(group: &str, kind: &str, old: &Value, new: &Value) -> Vec<(String, String)> {
    let mut found = Findings::default();
    content(group, kind, new, &mut found);
    update::check(group, kind, old, new, &mut found);
    found.into_list()
}

fn content(group: &str, kind: &str, object: &Value, found: &mut Findings) {
    metadata::object_name(group, kind, object, found);
    metadata::labels_and_annotations(object, "metadata", found);
    match (group, kind) {
        ("", "Pod") => pod::spec(object.get("spec").unwrap_or(&Value::Null), "spec", found),
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") => {
            workloads::workload(kind, object, found);
        }
        ("batch", "Job") => {
            workloads::job_spec(object.get("spec").unwrap_or(&Value::Null), "spec", found);
        }
        ("batch", "CronJob") => workloads::cron_job(object, found),
        ("autoscaling", "HorizontalPodAutoscaler") => workloads::autoscaler(object, found),
        ("policy", "PodDisruptionBudget") => workloads::disruption_budget(object, found),
        ("", "Service") => network::service(object, found),
        ("networking.k8s.io", "Ingress") => network::ingress(object, found),
        ("", "ConfigMap") => kinds::config_map(object, found),
        ("", "Secret") => kinds::secret(object, found),
        ("", "PersistentVolumeClaim") => kinds::persistent_volume_claim(object, found),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            kinds::role_binding(kind, object, found);
        }
        _ => {}
    }
}

/// The reason that a `Status` cause carries for such a message (`FieldValueInvalid`, …).
pub fn cause_reason(message: &str) -> &'static str {
    let starts = |prefix: &str| message.starts_with(prefix);
    if starts("Required value") {
        "FieldValueRequired"
    } else if starts("Duplicate value") {
        "FieldValueDuplicate"
    } else if starts("Unsupported value") {
        "FieldValueNotSupported"
    } else if starts("Forbidden") {
        "FieldValueForbidden"
    } else if starts("Too long") {
        "FieldValueTooLong"
    } else if starts("Too many") {
        "FieldValueTooMany"
    } else if starts("Not found") {
        "FieldValueNotFound"
    } else {
        "FieldValueInvalid"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::{apply_defaults, tree::group_version};

    fn rendered(found: Vec<(String, String)>) -> Vec<String> {
        found.into_iter().map(|(path, message)| format!("{path}: {message}")).collect()
    }

    /// A case that passes here and fails on a member is found only after approval, one the other way round
    /// refuses what a real cluster takes.
    #[test]
    fn findings_as_kubernetes_words_them() {
        let cases: Vec<Value> =
            serde_json::from_str(include_str!("../../tests/data/behaviour/validation.json")).unwrap();
        for case in cases {
            let defaulted = |object: &Value| {
                let mut object = object.clone();
                let (group, version) = group_version(&object);
                let (group, version) = (group.to_owned(), version.to_owned());
                let kind = object["kind"].as_str().unwrap().to_owned();
                apply_defaults(&group, &version, &kind, &mut object);
                (group, kind, object)
            };
            let (group, kind, object) = defaulted(&case["object"]);
            let got = match case.get("old") {
                Some(old) => validate_update(&group, &kind, &defaulted(old).2, &object),
                None => validate_create(&group, &kind, &object),
            };
            let want: Vec<String> = serde_json::from_value(case["want"].clone()).unwrap();
            assert_eq!(rendered(got), want, "{kind}: {}", case["name"]);
        }
    }

    #[test]
    fn reasons_follow_messages() {
        assert_eq!(cause_reason("Required value"), "FieldValueRequired");
        assert_eq!(cause_reason("Invalid value: 1: field is immutable"), "FieldValueInvalid");
        assert_eq!(cause_reason("Unsupported value: \"x\""), "FieldValueNotSupported");
    }
}
