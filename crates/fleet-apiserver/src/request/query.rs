//! The options in a request's query string.

use std::collections::HashMap;

use crate::status::{ApiError, Cause};

/// How strictly fields that the schema doesn't know are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// `resourceVersionMatch`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionMatch {
    Exact,
    NotOlderThan,
}

/// What a table's rows carry of their objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IncludeObject {
    None,
    Metadata,
    Object,
}

/// A query string. Unknown parameters are ignored, as the Kubernetes API does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(HashMap<String, String>);

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let mut parameters = HashMap::new();
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            parameters.entry(key.into_owned()).or_insert_with(|| value.into_owned());
        }
        Self(parameters)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Sets a parameter that the body of the request has said.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.0.insert(key.to_owned(), value.to_owned());
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        // A parameter without a value counts as true, as `?watch` does for Kubernetes.
        self.0
            .get(key)
            .is_some_and(|value| !matches!(value.as_str(), "0" | "false" | "False" | "FALSE" | "f"))
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<u64>, ApiError> {
        self.get(key)
            .map(|text| {
                text.parse().map_err(|_| {
                    ApiError::bad_request(format!(
                        "invalid value {text:?} for the query parameter {key}: not a number"
                    ))
                })
            })
            .transpose()
    }

    pub(crate) fn watch(&self) -> bool {
        self.flag("watch")
    }

    /// Whether nothing is to be kept (`dryRun=All`).
    pub(crate) fn dry_run(&self) -> Result<bool, ApiError> {
        match self.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => Err(invalid_option(
                "dryRun",
                format!("Unsupported value: {other:?}: supported values: \"All\""),
            )),
        }
    }

    pub(crate) fn field_validation(&self) -> Result<FieldValidation, ApiError> {
        match self.get("fieldValidation") {
            None | Some("Warn") => Ok(FieldValidation::Warn),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some("Strict") => Ok(FieldValidation::Strict),
            Some(other) => Err(invalid_option(
                "fieldValidation",
                format!("Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""),
            )),
        }
    }

    /// `resourceVersion`: `None` unset, `Some(0)` any, else that version.
    pub(crate) fn resource_version(&self) -> Result<Option<u64>, ApiError> {
        self.get("resourceVersion")
            .map(|text| {
                text.parse().map_err(|_| {
                    invalid_option(
                        "resourceVersion",
                        format!(
                            "Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
                        ),
                    )
                })
            })
            .transpose()
    }

    pub(crate) fn version_match(&self) -> Result<Option<VersionMatch>, ApiError> {
        match self.get("resourceVersionMatch") {
            None => Ok(None),
            Some("Exact") => Ok(Some(VersionMatch::Exact)),
            Some("NotOlderThan") => Ok(Some(VersionMatch::NotOlderThan)),
            Some(other) => Err(invalid_option(
                "resourceVersionMatch",
                format!("Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\""),
            )),
        }
    }

    pub(crate) fn include_object(&self) -> IncludeObject {
        match self.get("includeObject") {
            Some("None") => IncludeObject::None,
            Some("Object") => IncludeObject::Object,
            _ => IncludeObject::Metadata,
        }
    }

    /// Who writes: `fieldManager`, else the user agent's part before the slash.
    pub(crate) fn field_manager(&self, user_agent: Option<&str>) -> Result<String, ApiError> {
        if let Some(manager) = self.get("fieldManager") {
            if manager.chars().count() > 128 {
                return Err(invalid_option(
                    "fieldManager",
                    "Too long: may not be more than 128 bytes".into(),
                ));
            }
            if let Some(bad) = manager.chars().find(|c| c.is_control()) {
                return Err(invalid_option(
                    "fieldManager",
                    format!(
                        "Invalid value: {manager:?}: should only contain printable characters, not {bad:?}"
                    ),
                ));
            }
            return Ok(manager.to_owned());
        }
        let agent = user_agent.unwrap_or_default();
        let prefix = agent.split('/').next().unwrap_or_default().trim();
        let prefix: String = prefix.chars().filter(|c| !c.is_control()).take(128).collect();
        Ok(if prefix.is_empty() { "unknown".to_owned() } else { prefix })
    }
}

/// 422 for an option, in the words that Kubernetes uses for its `*Options` kinds.
pub(crate) fn invalid_option(option: &str, why: String) -> ApiError {
    ApiError::invalid("meta.k8s.io", "ListOptions", "", vec![Cause::field("FieldValueInvalid", option, why)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_manager_comes_from_the_user_agent_where_none_is_named() {
        let agent = Some("kubectl/v1.32.4 (linux/amd64) kubernetes/59526cd");
        assert_eq!(Query::parse(None).field_manager(agent).unwrap(), "kubectl");
        assert_eq!(Query::parse(Some("fieldManager=a%20b")).field_manager(agent).unwrap(), "a b");
        assert_eq!(Query::parse(None).field_manager(None).unwrap(), "unknown");
        assert!(Query::parse(Some("fieldManager=a%0Ab")).field_manager(None).is_err());
    }

    #[test]
    fn options_with_a_closed_set_of_values_refuse_others() {
        let query = Query::parse(Some("dryRun=Some&fieldValidation=Maybe&resourceVersion=x&watch"));
        assert!(query.watch());
        assert_eq!(query.dry_run().unwrap_err().code(), 422);
        assert_eq!(query.field_validation().unwrap_err().code(), 422);
        assert_eq!(query.resource_version().unwrap_err().code(), 422);
    }
}
