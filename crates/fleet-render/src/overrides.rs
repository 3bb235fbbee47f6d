//! Override policies: how the same components differ from place to place.

mod apply;
mod parse;
mod pattern;

use serde_json::Value;

pub use apply::{EffectiveComponent, EffectiveTrait, Rule, effective_components};
pub use pattern::NamePattern;

/// One override policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// The policy's name, for messages and provenance.
    pub policy: String,
    /// Applied in order.
    pub components: Vec<ComponentPatch>,
    /// If not empty: only components that one of these matches are delivered.
    pub selector: Vec<NamePattern>,
}

/// A change to every component that it matches. Without name and type that is every component.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentPatch {
    /// The component's name; `*` stands for any text.
    pub name: Option<NamePattern>,
    /// The component's type, exactly.
    pub type_: Option<String>,
    /// Merged into the component's properties: maps by key, everything else replaced.
    pub properties: Option<Value>,
    /// Applied in order.
    pub traits: Vec<TraitPatch>,
}

/// A trait that is changed, added or taken away.
#[derive(Debug, Clone, PartialEq)]
pub struct TraitPatch {
    /// The trait's type.
    pub type_: String,
    /// Merged into the properties of the trait of this type, or those of a new one.
    pub properties: Value,
    /// Every trait of this type is taken away.
    pub disable: bool,
}
