//! Server-side apply as Kubernetes does it (KEP-555): who owns which field of an object, what an applied
//! configuration changes, what it gives up, and with whom it is in conflict.
//!
//! Pure: objects are `serde_json::Value`, what must be known of their type comes through
//! [`fleet_json::Shape`], the time is an argument.
//!
//! ```text
//!  config ──┐                        ┌─► object, managedFields      (Applied)
//!  live   ──┼─► apply ──► FieldSet ──┤
//!  manager ─┘     │    per manager    └─► fields that others own     (ApplyError::Conflicts)
//!                 ├─ merge     config into live, lists by key
//!                 ├─ prune     what this manager owned, no longer applies, and nobody else owns
//!                 └─ compare   live with the result: added, modified, removed
//!
//!  live, new ──► update ──► managedFields after a create, PUT or patch
//! ```
//!
//! The semantics are those of structured-merge-diff and of the field manager of kube-apiserver 1.35. All
//! versions of a kind are taken to have the same fields, as CRDs without a conversion webhook do.
//!
//! - [`FieldSet`], [`Path`], [`PathElement`]: sets of fields and the `FieldsV1` format.
//! - [`field_set_of`], [`owned_fields`], [`compare`], [`merge`], [`remove_items`], [`extract`]: typed trees.
//! - [`ManagedFieldsEntry`], [`decode_managed_fields`], [`write_managed_fields`]: `metadata.managedFields`.
//! - [`apply`], [`update`]: the two kinds of writes.

mod apply;
mod compare;
mod conflict;
mod element;
mod last_applied;
mod managed;
mod merge;
mod node;
mod prune;
mod remove;
mod set;
mod to_set;
mod update;

pub use apply::{Applied, ApplyError, ApplyRequest, apply};
pub use compare::{Comparison, compare, differs_only_in_times};
pub use conflict::{Conflict, conflict_message};
pub use element::{ElementError, Path, PathElement, Scalar};
pub use managed::{
    ManagedFieldsEntry, ManagedFieldsError, Operation, decode_managed_fields, encode_managed_fields,
    write_managed_fields,
};
pub use merge::merge;
pub use remove::{extract, remove_items};
pub use set::{FieldSet, FieldsV1Error};
pub use to_set::{field_set_of, owned_fields};
pub use update::{UpdateRequest, update};
