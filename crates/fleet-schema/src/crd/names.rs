//! Names, group and scope of a CustomResourceDefinition.

use fleet_json::path::FieldPath;
use serde_json::{Value, json};

use super::text;
use crate::validate::{ErrorKind, FieldError, is_label, is_subdomain};

const LABEL_RULE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start \
    with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', \
    regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

pub(super) fn check(definition: &Value, errors: &mut Vec<FieldError>) {
    let spec = FieldPath::of_fields(["spec"]);
    let group = text(definition, "/spec/group");
    let plural = text(definition, "/spec/names/plural");
    let name = text(definition, "/metadata/name");
    if name != format!("{plural}.{group}") {
        let path = FieldPath::of_fields(["metadata", "name"]);
        errors.push(FieldError::invalid(path, json!(name), "must be spec.names.plural+\".\"+spec.group"));
    }
    let path = spec.child("group");
    if group.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !is_subdomain(group) {
        errors.push(FieldError::invalid(path, json!(group), crate::SUBDOMAIN_RULE));
    } else if !group.contains('.') {
        errors.push(FieldError::invalid(path, json!(group), "should be a domain with at least one dot"));
    }
    match text(definition, "/spec/scope") {
        "Cluster" | "Namespaced" => {}
        "" => errors.push(FieldError::required(spec.child("scope"), "")),
        other => {
            let allowed = ["Cluster", "Namespaced"];
            errors.push(FieldError::not_supported(spec.child("scope"), json!(other), &allowed));
        }
    }
    let names = spec.child("names");
    for (field, required) in [("plural", true), ("singular", false), ("kind", true), ("listKind", true)] {
        label(&names, field, text(definition, &format!("/spec/names/{field}")), required, errors);
    }
    let kind = text(definition, "/spec/names/kind");
    if !kind.is_empty() && kind == text(definition, "/spec/names/listKind") {
        let message = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(names.child("listKind"), json!(kind), message));
    }
    for list in ["shortNames", "categories"] {
        for (at, name) in super::texts(definition, &format!("/spec/names/{list}")).iter().enumerate() {
            if !is_dns_1035(name) {
                errors.push(FieldError::invalid(names.child(list).child(at), json!(name), LABEL_RULE));
            }
        }
    }
    if definition.pointer("/spec/preserveUnknownFields") == Some(&Value::Bool(true)) {
        let message = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                       spec.versions[*].schema instead";
        let path = spec.child("preserveUnknownFields");
        errors.push(FieldError::invalid(path, Value::Bool(true), message));
    }
    match text(definition, "/spec/conversion/strategy") {
        "" | "None" | "Webhook" => {}
        other => errors.push(FieldError::with_value(
            ErrorKind::NotSupported,
            spec.child("conversion").child("strategy"),
            json!(other),
            "supported values: \"None\", \"Webhook\"",
        )),
    }
}

fn label(names: &FieldPath, field: &str, name: &str, required: bool, errors: &mut Vec<FieldError>) {
    let path = names.child(field);
    if name.is_empty() {
        if required {
            errors.push(FieldError::required(path, ""));
        }
        return;
    }
    let mixed = matches!(field, "kind" | "listKind");
    let judged = if mixed { name.to_lowercase() } else { name.to_owned() };
    if !is_dns_1035(&judged) {
        let prefix = if mixed { "may have mixed case, but should otherwise match: " } else { "" };
        errors.push(FieldError::invalid(path, json!(name), format!("{prefix}{LABEL_RULE}")));
    }
}

/// RFC 1035: as an RFC 1123 label, but it starts with a letter.
pub(super) fn is_dns_1035(name: &str) -> bool {
    is_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase())
}

/// What is said of a version name that is no label.
pub(super) fn label_rule() -> &'static str {
    LABEL_RULE
}
