//! One definition: what a component or trait type means.

pub(crate) mod parameters;
mod schematic;

use std::fmt;

use serde_json::Value;

pub(crate) use schematic::{Refusal, Schematic, Scope};

/// The annotation that describes a definition.
const DESCRIPTION: &str = "definition.oam.dev/description";

/// What a definition defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DefinitionKind {
    /// A `ComponentDefinition`.
    Component,
    /// A `TraitDefinition`.
    Trait,
}

impl DefinitionKind {
    /// The kind's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Component => "ComponentDefinition",
            Self::Trait => "TraitDefinition",
        }
    }
}

/// How a trait's patch is applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PatchType {
    /// Strategic merge patch: lists of built-in kinds merge by their keys. Of other kinds it knows no keys
    /// and replaces lists.
    #[default]
    Strategic,
    /// JSON merge patch (RFC 7396).
    Merge,
    /// JSON patch (RFC 6902): the template is a list of operations.
    Json,
}

/// A definition, compiled. One that can't be compiled is kept with the reason, which is told to whoever
/// uses it: a broken definition that nobody uses harms nobody.
pub struct Definition {
    pub(crate) kind: DefinitionKind,
    pub(crate) name: String,
    pub(crate) applies_to: Vec<String>,
    pub(crate) schematic: Result<Schematic, String>,
    description: Option<String>,
    value: Value,
}

impl Definition {
    /// Compiles a `ComponentDefinition` or `TraitDefinition` object. `None`: the object is neither, or has
    /// no name.
    #[must_use]
    pub fn new(object: &Value) -> Option<Self> {
        let group = object.get("apiVersion")?.as_str()?.split('/').next()?;
        let kind = match object.get("kind")?.as_str()? {
            "ComponentDefinition" => DefinitionKind::Component,
            "TraitDefinition" => DefinitionKind::Trait,
            _ => return None,
        };
        let name = object.pointer("/metadata/name")?.as_str()?.to_owned();
        if group != "core.oam.dev" || name.is_empty() {
            return None;
        }
        let applies_to = match object.pointer("/spec/appliesToWorkloads") {
            Some(Value::Array(items)) => items.iter().filter_map(|i| i.as_str().map(str::to_owned)).collect(),
            _ => Vec::new(),
        };
        let schematic = Schematic::compile(kind, object);
        let annotations = object.pointer("/metadata/annotations");
        let description = annotations.and_then(|all| all.get(DESCRIPTION)?.as_str().map(str::to_owned));
        let value = pinned(kind, &name, object);
        Some(Self { kind, name, applies_to, schematic, description, value })
    }

    /// What it defines.
    #[must_use]
    pub fn kind(&self) -> DefinitionKind {
        self.kind
    }

    /// The type's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The workloads that a trait applies to, as the definition lists them; empty or `*`: all.
    #[must_use]
    pub fn applies_to(&self) -> &[String] {
        &self.applies_to
    }

    /// What it is for, in a sentence.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The schema of its parameters, as written.
    #[must_use]
    pub fn parameters(&self) -> Option<&Value> {
        self.value.pointer("/spec/schematic/fleet/parameters")
    }

    /// Why it can't be used, if it can't.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.schematic.as_ref().err().map(String::as_str)
    }

    /// The definition as an object, without what the API server adds; [`Definition::new`] reads it back.
    #[must_use]
    pub fn to_value(&self) -> &Value {
        &self.value
    }

    /// Whether the object has a schematic of ours at all; definitions of other engines don't.
    #[must_use]
    pub fn is_ours(object: &Value) -> bool {
        object.pointer("/spec/schematic/fleet").is_some()
    }
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.kind.name(), self.name)
    }
}

/// What a revision keeps: enough to render the same again, nothing that changes by itself.
fn pinned(kind: DefinitionKind, name: &str, object: &Value) -> Value {
    serde_json::json!({
        "apiVersion": "core.oam.dev/v1beta1",
        "kind": kind.name(),
        "metadata": { "name": name },
        "spec": object.get("spec").cloned().unwrap_or(Value::Null),
    })
}
