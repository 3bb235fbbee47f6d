//! YAML in and out.

use serde_json::Value;

/// A tree as YAML.
///
/// # Errors
/// In words; only where a value can't be written at all.
pub fn write(value: &Value) -> Result<String, String> {
    let text = serde_saphyr::to_string(value).map_err(|error| error.to_string())?;
    Ok(if text.ends_with('\n') { text } else { text + "\n" })
}

/// The documents of a text; empty ones are left out.
///
/// # Errors
/// In words, with the place.
pub fn read_all(text: &str) -> Result<Vec<Value>, String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| error.to_string())?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}
