//! References of a `ref-objects` component, read from its properties.

use std::fmt;

use fleet_json::LabelSelector;
use serde::Deserialize;
use serde_json::Value;

use crate::Problem;
use crate::hub::kinds;

/// One reference: a kind, and which objects of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectReference {
    /// Group and version (`apps/v1`).
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace on the hub.
    pub namespace: String,
    /// Which objects.
    pub selection: Selection,
}

/// Which objects of a kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Selection {
    /// The one of this name.
    Name(String),
    /// All with these labels.
    Labels(LabelSelector),
}

impl fmt::Display for ObjectReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.selection {
            Selection::Name(name) => write!(f, "{} {}/{name}", self.kind, self.namespace),
            Selection::Labels(labels) => {
                write!(f, "a {} in {} with labels {labels}", self.kind, self.namespace)
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Properties {
    objects: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    api_version: Option<String>,
    kind: Option<String>,
    resource: Option<String>,
    group: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
    cluster: Option<String>,
    label_selector: Option<Value>,
    selector: Option<Value>,
}

/// Reads a component's references.
///
/// # Errors
/// Where a field is unknown, or the kind or the objects can't be told.
pub fn references(
    component: &str,
    properties: &Value,
    namespace: &str,
) -> Result<Vec<ObjectReference>, Problem> {
    let place = format!("component {component:?}: properties");
    let read = Properties::deserialize(properties);
    let properties = read.map_err(|error| Problem::wrong("InvalidReference", format!("{place}: {error}")))?;
    let mut all = Vec::with_capacity(properties.objects.len());
    for (index, written) in properties.objects.into_iter().enumerate() {
        let place = format!("{place}.objects[{index}]");
        all.push(read_one(component, namespace, &place, written)?);
    }
    Ok(all)
}

fn read_one(
    component: &str,
    namespace: &str,
    place: &str,
    written: Written,
) -> Result<ObjectReference, Problem> {
    let wrong = |what: &str| Problem::wrong("InvalidReference", format!("{place}: {what}"));
    if written.cluster.as_deref().is_some_and(|cluster| !cluster.is_empty() && cluster != "local") {
        return Err(wrong("cluster: objects are read from the hub; leave it out"));
    }
    let (api_version, kind) = match (written.api_version, written.kind, written.resource) {
        (Some(api_version), Some(kind), None) => (api_version, kind),
        (None, None, Some(resource)) => {
            let group = written.group.unwrap_or_default();
            let info = kinds::by_resource(&group, &resource).ok_or_else(|| {
                wrong(&format!(
                    "there is no built-in resource {resource:?} in group {group:?}; for other kinds give apiVersion and kind"
                ))
            })?;
            (info.gvk.api_version(), info.gvk.kind.clone())
        }
        (None, None, None) => return Err(wrong("give apiVersion and kind, or resource and group")),
        (Some(_), None, None) => return Err(wrong("kind is missing")),
        (None, Some(_), None) => return Err(wrong("apiVersion is missing")),
        _ => return Err(wrong("give either apiVersion and kind, or resource and group, not both")),
    };
    let selector = written.label_selector.or(written.selector);
    let selection = match (written.name, selector) {
        (Some(_), Some(_)) => return Err(wrong("name and labelSelector exclude each other")),
        (Some(name), None) => Selection::Name(name),
        (None, Some(labels)) => {
            let labels = super::read_selector(&labels).map_err(|e| wrong(&format!("labelSelector: {e}")))?;
            Selection::Labels(labels)
        }
        (None, None) => Selection::Name(component.to_owned()),
    };
    let namespace = written.namespace.unwrap_or_else(|| namespace.to_owned());
    Ok(ObjectReference { api_version, kind, namespace, selection })
}
