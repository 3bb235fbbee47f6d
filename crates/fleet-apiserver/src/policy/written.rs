//! Policies and bindings as they are written: refused with the place where they can't be judged by.

use serde_json::Value;

use super::compiled::Policy;
use super::matching::Matcher;
use super::{GROUP, list, text};
use crate::registry::Kind;
use crate::status::Cause;

/// What is wrong with a policy or a binding; nothing for other kinds.
pub(crate) fn check(kind: &Kind, old: Option<&Value>, object: &Value) -> Vec<Cause> {
    // Who only takes a finalizer or a label away isn't told what a stricter server thinks of the rest.
    if old.is_some_and(|old| old.get("spec") == object.get("spec")) {
        return Vec::new();
    }
    if kind.is(GROUP, "validatingadmissionpolicies") {
        return policy(object);
    }
    if kind.is(GROUP, "validatingadmissionpolicybindings") {
        return binding(object);
    }
    Vec::new()
}

fn required(causes: &mut Vec<Cause>, place: impl Into<String>, why: &str) {
    causes.push(Cause::field("FieldValueRequired", place, format!("Required value{why}")));
}

fn invalid(causes: &mut Vec<Cause>, place: impl Into<String>, why: String) {
    causes.push(Cause::field("FieldValueInvalid", place, format!("Invalid value: {why}")));
}

fn unsupported(causes: &mut Vec<Cause>, place: impl Into<String>, value: &str, known: &[&str]) {
    let known: Vec<String> = known.iter().map(|value| format!("{value:?}")).collect();
    let why = format!("Unsupported value: {value:?}: supported values: {}", known.join(", "));
    causes.push(Cause::field("FieldValueNotSupported", place, why));
}

fn policy(object: &Value) -> Vec<Cause> {
    const REASONS: [&str; 4] = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
    let mut causes = Vec::new();
    let spec = object.get("spec").unwrap_or(&Value::Null);
    if list(spec, "/validations").is_empty() && list(spec, "/auditAnnotations").is_empty() {
        required(
            &mut causes,
            "spec.validations",
            ": validations or auditAnnotations must contain at least one item",
        );
    }
    match spec.get("matchConstraints") {
        None | Some(Value::Null) => required(&mut causes, "spec.matchConstraints", ""),
        Some(constraints) => {
            if list(constraints, "/resourceRules").is_empty() {
                required(&mut causes, "spec.matchConstraints.resourceRules", "");
            }
            rules(constraints, "spec.matchConstraints", &mut causes);
        }
    }
    if let Some(param) = spec.get("paramKind").filter(|param| param.is_object()) {
        for field in ["apiVersion", "kind"] {
            if text(param, &format!("/{field}")).is_empty() {
                required(&mut causes, format!("spec.paramKind.{field}"), "");
            }
        }
    }
    for (at, rule) in list(spec, "/validations").iter().enumerate() {
        let reason = text(rule, "/reason");
        if !reason.is_empty() && !REASONS.contains(&reason) {
            unsupported(&mut causes, format!("spec.validations[{at}].reason"), reason, &REASONS);
        }
        if text(rule, "/message").trim().contains('\n') {
            let why = format!("{:?}: message must not contain line breaks", text(rule, "/message"));
            invalid(&mut causes, format!("spec.validations[{at}].message"), why);
        }
    }
    causes.extend(Policy::compile(object).1);
    causes
}

fn binding(object: &Value) -> Vec<Cause> {
    const ACTIONS: [&str; 3] = ["Audit", "Deny", "Warn"];
    let mut causes = Vec::new();
    let spec = object.get("spec").unwrap_or(&Value::Null);
    if text(spec, "/policyName").is_empty() {
        required(&mut causes, "spec.policyName", "");
    }
    let actions: Vec<&str> = list(spec, "/validationActions").iter().filter_map(Value::as_str).collect();
    if actions.is_empty() {
        required(&mut causes, "spec.validationActions", ": at least one validation action is required");
    }
    for (at, action) in actions.iter().enumerate() {
        let place = format!("spec.validationActions[{at}]");
        if !ACTIONS.contains(action) {
            unsupported(&mut causes, place, action, &ACTIONS);
        } else if actions.iter().take(at).any(|before| before == action) {
            causes.push(Cause::field("FieldValueDuplicate", place, format!("Duplicate value: {action:?}")));
        }
    }
    if actions.contains(&"Deny") && actions.contains(&"Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        invalid(&mut causes, "spec.validationActions", format!("{actions:?}: {why}"));
    }
    if let Some(param) = spec.get("paramRef").filter(|param| param.is_object()) {
        let selector = param.get("selector").filter(|selector| selector.is_object());
        if text(param, "/name").is_empty() == selector.is_none() {
            required(&mut causes, "spec.paramRef", ": exactly one of name and selector must be specified");
        }
        match text(param, "/parameterNotFoundAction") {
            "Allow" | "Deny" => {}
            "" => required(&mut causes, "spec.paramRef.parameterNotFoundAction", ""),
            other => {
                unsupported(&mut causes, "spec.paramRef.parameterNotFoundAction", other, &["Deny", "Allow"]);
            }
        }
        if let Some(Err(error)) = selector.map(fleet_json::LabelSelector::from_json) {
            invalid(&mut causes, "spec.paramRef.selector", error.to_string());
        }
    }
    if let Some(resources) = spec.get("matchResources").filter(|resources| resources.is_object()) {
        rules(resources, "spec.matchResources", &mut causes);
        if let Err(why) = Matcher::read(resources) {
            invalid(&mut causes, "spec.matchResources", why);
        }
    }
    causes
}

/// Rules that say nothing would match nothing, and so would let everything pass.
fn rules(constraints: &Value, place: &str, causes: &mut Vec<Cause>) {
    const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    for field in ["resourceRules", "excludeResourceRules"] {
        for (at, rule) in list(constraints, &format!("/{field}")).iter().enumerate() {
            let place = format!("{place}.{field}[{at}]");
            for part in ["operations", "apiGroups", "apiVersions", "resources"] {
                let given = list(rule, &format!("/{part}"));
                if given.is_empty() {
                    required(causes, format!("{place}.{part}"), "");
                }
                let alone = given.len() == 1 || part == "resources";
                if !alone && given.iter().any(|item| item == "*") {
                    invalid(
                        causes,
                        format!("{place}.{part}"),
                        format!("{given:?}: if '*' is present, must not specify other {part}"),
                    );
                }
            }
            for operation in list(rule, "/operations").iter().filter_map(Value::as_str) {
                if !OPERATIONS.contains(&operation) {
                    unsupported(causes, format!("{place}.operations"), operation, &OPERATIONS);
                }
            }
        }
    }
}
