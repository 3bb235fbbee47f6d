//! Limits on what is read: nesting is bounded before anything recurses over it.

mod parse;

use serde_json::Value;

use crate::path::FieldPath;

pub use parse::{MAX_DUPLICATES, ParseError, Parsed, parse_json};

/// How deep an object may nest: below what `serde_json` reads back (127) with room for a list around it.
pub const MAX_DEPTH: usize = 100;

/// Something nested deeper than allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: nested deeper than {max} levels")]
pub struct TooDeep {
    /// The limit.
    pub max: usize,
    /// The first place past it, cut to its first steps.
    pub path: FieldPath,
}

/// How many maps and lists stand inside each other: 0 for a scalar, 1 for `{}`.
#[must_use]
pub fn depth(value: &Value) -> usize {
    let mut deepest = 0;
    let mut open = vec![(value, 1)];
    while let Some((value, level)) = open.pop() {
        match value {
            Value::Array(items) => {
                deepest = deepest.max(level);
                open.extend(items.iter().map(|item| (item, level + 1)));
            }
            Value::Object(map) => {
                deepest = deepest.max(level);
                open.extend(map.values().map(|item| (item, level + 1)));
            }
            _ => {}
        }
    }
    deepest
}

/// Refuses a value that nests deeper than `max`.
///
/// # Errors
/// [`TooDeep`]. The path is left at the root: naming a place costs more than a hostile value is worth.
pub fn check_depth(value: &Value, max: usize) -> Result<(), TooDeep> {
    if depth(value) > max { Err(TooDeep { max, path: FieldPath::root() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
