//! JSON trees: shapes, paths, hashing, patches, diff, quantities and selectors.

pub mod shape;
pub use shape::{ListType, PatchStrategy, Shape, Untyped};
