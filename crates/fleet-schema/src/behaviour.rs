//! What Kubernetes 1.35 does with its own kinds in code, where OpenAPI says nothing.
//!
//! ```text
//! a write ─► apply_defaults ─► on_create / prepare_for_* ─► validate_create / validate_update ─► generation_moves
//! a read of a referenced object ─► sanitise ─► undefault (less what somebody decided) ─► referenced_content
//! ```
//!
//! Everything takes and gives plain JSON; kinds that aren't in the tables (custom resources) pass through
//! unchanged. Paths in messages are written as Kubernetes writes them (`spec.ports[0].port`).

mod decided;
mod defaults;
mod lifecycle;
mod referenced;
mod sanitise;
mod string_data;
pub(crate) mod tree;
mod undefault;
mod validate;

pub use decided::{Decided, PathStep, decided_fields};
pub use defaults::{apply_defaults, has_defaults};
pub use lifecycle::{
    generation_moves, has_generation, on_create, prepare_for_create, prepare_for_status_update,
    prepare_for_update,
};
pub use referenced::referenced_content;
pub use sanitise::sanitise;
pub use string_data::fold_string_data;
pub use undefault::undefault;
pub use validate::{cause_reason, validate_create, validate_update};
