//! Whether the rules of a role say something.

use fleet_json::LabelSelector;
use serde_json::Value;

use crate::registry::Kind;
use crate::status::Cause;

/// What is wrong with a Role or ClusterRole, in Kubernetes' words.
pub(crate) fn role(kind: &Kind, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if !kind.is(super::GROUP, "roles") && !kind.is(super::GROUP, "clusterroles") {
        return causes;
    }
    for (index, rule) in list(object, "rules").iter().enumerate() {
        let at = |field: &str| format!("rules[{index}].{field}");
        let lacks = |field: &str| list(rule, field).is_empty();
        let mut required = |field: &str, why: &str| {
            causes.push(Cause::field("FieldValueRequired", at(field), format!("Required value: {why}")));
        };
        if lacks("verbs") {
            required("verbs", "verbs must contain at least one value");
        }
        if lacks("nonResourceURLs") {
            if lacks("apiGroups") {
                required("apiGroups", "resource rules must supply at least one api group");
            }
            if lacks("resources") {
                required("resources", "resource rules must supply at least one resource");
            }
            continue;
        }
        let urls = rule.get("nonResourceURLs").cloned().unwrap_or_default();
        let mut invalid = |why: &str| {
            let why = format!("Invalid value: {urls}: {why}");
            causes.push(Cause::field("FieldValueInvalid", at("nonResourceURLs"), why));
        };
        if kind.namespaced {
            invalid("namespaced rules cannot apply to non-resource URLs");
        }
        if !lacks("apiGroups") || !lacks("resources") || !lacks("resourceNames") {
            invalid("rules cannot apply to both regular resources and non-resource URLs");
        }
    }
    if let Some(rule) = object.get("aggregationRule").filter(|rule| !rule.is_null()) {
        let selectors = list(rule, "clusterRoleSelectors");
        let field = "aggregationRule.clusterRoleSelectors";
        if selectors.is_empty() {
            let why =
                "Required value: at least one clusterRoleSelector required if aggregationRule is non-nil";
            causes.push(Cause::field("FieldValueRequired", field, why));
        }
        for (index, selector) in selectors.iter().enumerate() {
            if let Err(error) = LabelSelector::from_json(selector) {
                let why = format!("Invalid value: {selector}: {error}");
                causes.push(Cause::field("FieldValueInvalid", format!("{field}[{index}]"), why));
            }
        }
    }
    causes
}

fn list<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    value.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
