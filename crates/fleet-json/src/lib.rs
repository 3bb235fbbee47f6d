//! JSON trees: everything that looks at objects as plain `serde_json::Value`.
//!
//! ```text
//!            Shape (what a type says about lists and maps)
//!              │ asked by
//!   ┌──────────┼────────────────┐
//! strategic   diff            (server-side apply, elsewhere)
//!              │
//!  patch ──► FieldPath ◄── limits, selector     ContentHash   Quantity   IntOrPercent
//! ```
//!
//! - [`shape`]: the view of a type that patch and apply algorithms need
//! - [`path`]: field paths such as `.spec.containers[name="web"].image`, JSON pointers
//! - [`hash`]: content hashes over canonical JSON
//! - [`patch`]: JSON patch (RFC 6902) and merge patch (RFC 7396)
//! - [`strategic`]: strategic merge patch
//! - [`mod@diff`]: structural differences, and applying them
//! - [`selector`]: label and field selectors
//! - [`quantity`], [`int_or_percent`]: Kubernetes' numbers in strings
//! - [`compact`]: values kept as text
//! - [`few()`]: many things named in one line
//! - [`limits`]: reading JSON with bounded nesting and without silent duplicate keys
//!
//! Recursion is bounded by the depth of the values given; what comes from outside goes through
//! [`limits`] first. Nothing here depends on the order in which a map keeps its entries.

pub mod compact;
pub mod diff;
pub mod few;
pub mod hash;
pub mod int_or_percent;
pub mod limits;
pub mod patch;
pub mod path;
pub mod quantity;
pub mod selector;
pub mod shape;
pub mod strategic;
#[cfg(test)]
mod testing;

pub use compact::Compact;
pub use diff::{Change, ChangeKind, apply_changes, diff, diff_by_name, diff_with};
pub use few::few;
pub use hash::{ContentHash, HashParseError, canonical_json};
pub use int_or_percent::{IntOrPercent, IntOrPercentError, Rounding};
pub use limits::{MAX_DEPTH, ParseError, Parsed, TooDeep, check_depth, depth, parse_json};
pub use patch::{PatchError, json_patch, merge_patch, merge_patch_between};
pub use path::{FieldPath, PathError, PathParseError, Segment, has_shown_field};
pub use quantity::{Quantity, QuantityError};
pub use selector::{FieldSelector, FieldTerm, LabelSelector, Operator, Requirement, SelectorError};
pub use shape::{ListType, PatchStrategy, Shape, Untyped};
pub use strategic::strategic_merge_patch;
