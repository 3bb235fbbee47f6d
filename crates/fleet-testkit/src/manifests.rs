//! Manifests as users write them.

use serde_json::Value;

/// The three-centre scenario: the application's objects.
pub const APP_META: &str = include_str!("../../../examples/three-centres/app-meta.yaml");
/// The three-centre scenario: policies, workflow, Application.
pub const APP: &str = include_str!("../../../examples/three-centres/app.yaml");

/// Reads a file of several documents.
///
/// # Errors
/// Where it isn't YAML.
pub fn read(text: &str) -> anyhow::Result<Vec<Value>> {
    let documents = text.split("\n---").map(str::trim).filter(|document| !document.is_empty());
    documents.map(|document| Ok(serde_saphyr::from_str(document.trim_start_matches("---"))?)).collect()
}
