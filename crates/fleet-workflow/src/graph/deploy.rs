//! The properties of a `deploy` step.

use serde::Deserialize;

use super::read::read_properties;

/// Properties of a `deploy` step.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeployProperties {
    /// Whether it acts without being asked.
    #[serde(default = "yes")]
    pub auto: bool,
    /// Policies by name: topologies say where, overrides say how it differs there, in this order.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Components at once within one target; all by default.
    #[serde(default)]
    pub parallelism: Option<u32>,
    /// Accepted for other engines' sake.
    #[serde(default)]
    pub ignore_terraform_component: Option<bool>,
}

impl DeployProperties {
    /// Reads what stands in a step.
    ///
    /// # Errors
    /// What is wrong, with the field that it is in.
    pub(super) fn read(properties: &serde_json::Value) -> Result<Self, String> {
        let deploy: Self = read_properties(properties)?;
        if deploy.parallelism == Some(0) {
            return Err("parallelism: must be at least 1".to_owned());
        }
        Ok(deploy)
    }
}

fn yes() -> bool {
    true
}
