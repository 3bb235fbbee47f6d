//! Named schemas that others refer to.

use std::borrow::Cow;
use std::sync::OnceLock;

use serde_json::Value;

use crate::schema::{Schema, SchemaError, SchemaRef, parse_schema};

/// Names one definition of one [`Definitions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DefinitionId(u32);

/// An arena of named schemas. The built-in ones are read when first looked at, so a process pays only for
/// the kinds that it touches.
#[derive(Debug, Default)]
pub struct Definitions {
    names: Vec<Cow<'static, str>>,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    source: &'static str,
    schema: OnceLock<Schema>,
}

static NOTHING: OnceLock<Schema> = OnceLock::new();

/// Go types that hold any JSON, although their published schema names no fields.
const OPAQUE: [&str; 3] = [
    "io.k8s.apimachinery.pkg.runtime.RawExtension",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Patch",
];

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";

impl Definitions {
    /// Definitions from parsed JSON.
    ///
    /// # Errors
    /// The first schema that can't be read, with the definition's name before its path.
    pub fn from_values<'v>(
        values: impl IntoIterator<Item = (&'v str, &'v Value)>,
    ) -> Result<Definitions, SchemaError> {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by_key(|(name, _)| *name);
        let mut out = Definitions {
            names: values.iter().map(|(name, _)| Cow::Owned((*name).to_owned())).collect(),
            nodes: Vec::new(),
        };
        let mut nodes = Vec::new();
        for (name, value) in values {
            let schema = out.parse(value).map_err(|error| SchemaError {
                path: format!("{name}.{}", error.path),
                problem: error.problem,
            })?;
            nodes.push(Node { source: "", schema: OnceLock::from(schema) });
        }
        out.nodes = nodes;
        Ok(out)
    }

    /// Definitions from lines `name json`, sorted by name, each read when first looked at.
    pub(crate) fn from_lines(lines: impl Iterator<Item = &'static str>) -> Definitions {
        let mut out = Definitions::default();
        for line in lines {
            if let Some((name, source)) = line.split_once(' ') {
                out.names.push(Cow::Borrowed(name));
                out.nodes.push(Node { source, schema: OnceLock::new() });
            }
        }
        out
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All of them, in the order of their names.
    pub fn ids(&self) -> impl Iterator<Item = DefinitionId> + use<> {
        (0..u32::try_from(self.names.len()).unwrap_or(u32::MAX)).map(DefinitionId)
    }

    /// Finds a definition by its full name.
    pub fn id(&self, name: &str) -> Option<DefinitionId> {
        let at = self.names.binary_search_by(|probe| probe.as_ref().cmp(name)).ok()?;
        u32::try_from(at).ok().map(DefinitionId)
    }

    /// The full name, `io.k8s.api.apps.v1.Deployment`.
    pub fn name(&self, id: DefinitionId) -> Option<&str> {
        self.names.get(id.0 as usize).map(AsRef::as_ref)
    }

    /// The schema; one that says nothing if the id belongs to another arena.
    pub fn get(&self, id: DefinitionId) -> &Schema {
        let Some(node) = self.nodes.get(id.0 as usize) else { return NOTHING.get_or_init(Schema::default) };
        node.schema.get_or_init(|| {
            // The committed data is checked by a test that reads every definition.
            let value = serde_json::from_str(node.source).unwrap_or(Value::Bool(true));
            let mut schema = self.parse(&value).unwrap_or_default();
            let name = self.name(id).unwrap_or_default();
            schema.opaque = OPAQUE.contains(&name);
            schema.quantity = name == QUANTITY;
            schema
        })
    }

    /// A view of a definition.
    pub fn view(&self, id: DefinitionId) -> SchemaRef<'_> {
        SchemaRef::new(self, self.get(id))
    }

    /// Reads a schema whose references lead to these definitions.
    ///
    /// # Errors
    /// As [`parse_schema`].
    pub fn parse(&self, value: &Value) -> Result<Schema, SchemaError> {
        parse_schema(value, &|name| self.id(name))
    }

    /// The text a built-in definition is read from.
    #[cfg(test)]
    pub(crate) fn source(&self, id: DefinitionId) -> &'static str {
        self.nodes.get(id.0 as usize).map_or("", |node| node.source)
    }
}
