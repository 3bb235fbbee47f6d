//! From components, traits and overrides to objects, each field with where it comes from.
//!
//! ```text
//!  Component + Trait ─┐                       ┌─ Definitions (embedded in the binary, or from the hub)
//!                     ├─► EffectiveComponent ─┤
//!  Override, in order ┘      │                └─ referenced objects (resolved by the caller)
//!                            ▼
//!                         render ──► RenderedObject { object, provenance }, in component order
//! ```
//!
//! Everything is a pure function of its input: the same input renders the same bytes on every machine,
//! whatever order JSON maps keep.
//!
//! - [`Component`], [`Trait`]: what an Application says
//! - [`Override`], [`effective_components`]: how a policy changes it
//! - [`Definitions`]: what component and trait types mean; see [`Definition`] for the form of the files
//! - [`apply_overriders`]: how override policies of native objects change one of them for one cluster
//! - [`KeyRules`]: which of an object's labels and annotations belong to the member
//! - [`check`]: what can be judged before the referenced objects are there; [`render`]: the whole
//!
//! # Definitions
//!
//! A definition is a `core.oam.dev/v1beta1` `TraitDefinition` or `ComponentDefinition` with a schematic of
//! our own, so that a new trait is a file (or an object on the hub) and no code:
//!
//! ```yaml
//! spec:
//!   appliesToWorkloads: [deployments.apps]    # plural.group, `*`, `*.group`, or a component type
//!   schematic:
//!     fleet:
//!       parameters: { type: object, … }       # OpenAPI v3; defaults are filled in, unknown fields refused
//!       mergeKeys: [containerName]            # overrides merge into a trait only where these are equal
//!       let: [{ name: x, value: "${…}" }]     # names for later templates, in order
//!       checks: [{ rule: "x > 1", message: "x is ${x}" }]
//!       patchType: strategic | merge | json   # how `patch` is applied; strategic if not said
//!       patch: …                              # traits: applied to the first object the trait applies to
//!       template: …                           # components: the workload
//!       outputs: [ … ]                        # further objects; `${?…}` that is absent makes none
//! ```
//!
//! Templates see `parameter`, `context` (`name`, `component`, `appName`, `namespace`) and, in traits,
//! `output`: the object as it is. The rules of `${…}` are those of [`fleet_cel::Template`].

mod application;
mod clusters_own;
mod definition;
mod definitions;
mod error;
mod keys;
mod nearest;
mod overriders;
mod overrides;
mod render;

pub use application::{Component, Trait};
pub use definition::{Definition, DefinitionKind, PatchType};
pub use definitions::Definitions;
pub use error::{OverrideError, RenderError};
pub use fleet_api::{Provenance, Source};
pub use keys::{KeyField, KeyOwners, KeyRule, KeyRuleError, KeyRules, LeftKey};
pub use overriders::{
    ImageReference, MatchingOverride, Overridden, OverrideChange, OverrideStep, OverriderError,
    OverriderProblem, Precision, ReferenceError, apply_overriders, check_overrides, sort_overrides,
};
pub use overrides::{
    ComponentPatch, EffectiveComponent, EffectiveTrait, NamePattern, Override, Rule, TraitPatch,
    effective_components,
};
pub use render::{INLINE_TYPE, REFERENCE_TYPE, RenderInput, RenderedObject, check, render};
