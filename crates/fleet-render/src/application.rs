//! What an Application says of its components.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A component: a named group of objects and the traits that change them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// Unique in the Application.
    pub name: String,
    /// `ref-objects`, `k8s-objects`, or the name of a ComponentDefinition.
    #[serde(rename = "type")]
    pub type_: String,
    /// The parameters of the type.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub properties: Value,
    /// Applied in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traits: Vec<Trait>,
    /// Components that must be healthy on a target before this one is delivered there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
}

/// A change to a component's workload, or something that stands beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trait {
    /// The name of a TraitDefinition.
    #[serde(rename = "type")]
    pub type_: String,
    /// The parameters of the type.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub properties: Value,
}
