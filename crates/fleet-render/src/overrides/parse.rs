//! Properties of an override policy, read strictly: what isn't understood is refused, never ignored.

use serde_json::{Map, Value};

use super::{ComponentPatch, NamePattern, Override, TraitPatch};
use crate::error::OverrideError;
use crate::nearest;

impl Override {
    /// Reads the `properties` of a policy of type `override`.
    ///
    /// # Errors
    /// The first field that is unknown, missing or of the wrong type.
    pub fn parse(policy: &str, properties: &Value) -> Result<Self, OverrideError> {
        let reader = Reader { policy };
        let map = reader.map(properties, "properties")?;
        reader.only(map, "properties", &["components", "selector"])?;
        let mut components = Vec::new();
        for (index, item) in reader.list(map.get("components"), "properties.components")?.iter().enumerate() {
            components.push(reader.component(item, &format!("properties.components[{index}]"))?);
        }
        let mut selector = Vec::new();
        for (index, item) in reader.list(map.get("selector"), "properties.selector")?.iter().enumerate() {
            let path = format!("properties.selector[{index}]");
            selector.push(NamePattern::new(reader.text(item, &path)?));
        }
        if components.is_empty() && selector.is_empty() {
            return Err(reader.error("properties", "it changes nothing; give components or selector"));
        }
        Ok(Self { policy: policy.to_owned(), components, selector })
    }
}

struct Reader<'p> {
    policy: &'p str,
}

impl Reader<'_> {
    fn error(&self, path: &str, problem: impl Into<String>) -> OverrideError {
        OverrideError { policy: self.policy.to_owned(), path: path.to_owned(), problem: problem.into() }
    }

    fn component(&self, value: &Value, path: &str) -> Result<ComponentPatch, OverrideError> {
        let map = self.map(value, path)?;
        self.only(map, path, &["name", "type", "properties", "traits"])?;
        let name = self.optional_text(map, "name", path)?.map(NamePattern::new);
        let type_ = self.optional_text(map, "type", path)?.map(str::to_owned);
        let properties = match map.get("properties") {
            None | Some(Value::Null) => None,
            Some(value) => {
                self.map(value, &format!("{path}.properties"))?;
                Some(value.clone())
            }
        };
        let mut traits = Vec::new();
        for (index, item) in self.list(map.get("traits"), &format!("{path}.traits"))?.iter().enumerate() {
            traits.push(self.trait_patch(item, &format!("{path}.traits[{index}]"))?);
        }
        Ok(ComponentPatch { name, type_, properties, traits })
    }

    fn trait_patch(&self, value: &Value, path: &str) -> Result<TraitPatch, OverrideError> {
        let map = self.map(value, path)?;
        self.only(map, path, &["type", "properties", "disable"])?;
        let type_ = self
            .optional_text(map, "type", path)?
            .ok_or_else(|| self.error(path, "a trait needs its type"))?
            .to_owned();
        let disable = match map.get("disable") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(disable)) => *disable,
            Some(other) => {
                return Err(self.error(&format!("{path}.disable"), expected("a boolean", other)));
            }
        };
        let properties = match map.get("properties") {
            None | Some(Value::Null) => Value::Object(Map::new()),
            Some(value) => {
                self.map(value, &format!("{path}.properties"))?;
                value.clone()
            }
        };
        Ok(TraitPatch { type_, properties, disable })
    }

    fn map<'v>(&self, value: &'v Value, path: &str) -> Result<&'v Map<String, Value>, OverrideError> {
        value.as_object().ok_or_else(|| self.error(path, expected("a map", value)))
    }

    fn list<'v>(&self, value: Option<&'v Value>, path: &str) -> Result<&'v [Value], OverrideError> {
        match value {
            None | Some(Value::Null) => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(self.error(path, expected("a list", other))),
        }
    }

    fn text<'v>(&self, value: &'v Value, path: &str) -> Result<&'v str, OverrideError> {
        match value.as_str() {
            Some("") => Err(self.error(path, "must not be empty")),
            Some(text) => Ok(text),
            None => Err(self.error(path, expected("a string", value))),
        }
    }

    fn optional_text<'v>(
        &self,
        map: &'v Map<String, Value>,
        key: &str,
        path: &str,
    ) -> Result<Option<&'v str>, OverrideError> {
        match map.get(key) {
            // Templating tools write the empty string where nothing is meant.
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(value) => self.text(value, &format!("{path}.{key}")).map(Some),
        }
    }

    fn only(&self, map: &Map<String, Value>, path: &str, known: &[&str]) -> Result<(), OverrideError> {
        let mut unknown: Vec<&str> =
            map.keys().map(String::as_str).filter(|key| !known.contains(key)).collect();
        unknown.sort_unstable();
        match unknown.first() {
            None => Ok(()),
            Some(key) => {
                let advice = nearest::advice(key, known.iter().copied(), "known fields");
                Err(self.error(&format!("{path}.{key}"), format!("unknown field{advice}")))
            }
        }
    }
}

fn expected(what: &str, got: &Value) -> String {
    format!("expected {what}, got {}", crate::definition::parameters::shown(got))
}
