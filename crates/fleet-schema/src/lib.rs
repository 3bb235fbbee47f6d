//! Schemas: what the API server and the engine know of the form of objects.
//!
//! ```text
//!   data/kubernetes-1.35.jsonl ──► builtin() ─┐
//!                                             ├─► KindInfo ── schema() ──► SchemaRef ──► validate, prune,
//!   CustomResourceDefinition ──► crd::parse ──┘       │                    (a Shape)     apply_defaults
//!                                                     └──► openapi::v3_document, columns, subresources
//! ```
//!
//! [`Schema`] is one node; named nodes live in [`Definitions`]; [`SchemaRef`] stands at a node with its
//! references resolved, and is the [`Shape`](fleet_json::shape::Shape) that patches and apply work by.
//! Nothing here reads a clock or does I/O; the built-in table is read once, when first asked for.

pub mod behaviour;
pub mod builtin;
pub mod crd;
pub mod default;
pub mod definitions;
pub mod jsonpath;
pub mod kind;
pub mod openapi;
pub mod printers;
pub mod prune;
pub mod schema;
pub mod validate;

pub use builtin::{BuiltinGroup, BuiltinTable, builtin};
pub use default::apply_defaults;
pub use definitions::{DefinitionId, Definitions};
pub use jsonpath::{JsonPath, JsonPathError};
pub use kind::{Column, GroupVersionKind, KindInfo, KindSchema, ScalePaths, Subresource, api_version};
pub use prune::{prune, unknown_field_message, unknown_fields};
pub use schema::{Schema, SchemaError, SchemaRef, SchemaType, ValidationRule, parse_schema};
pub use validate::{Context, ErrorKind, FieldError, Mode, RuleFailure, RuleRunner, place, validate};

/// What Kubernetes says of a name that is no DNS subdomain.
pub(crate) const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case \
    alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
    'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

#[cfg(test)]
mod testing;
