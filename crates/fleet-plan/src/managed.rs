//! Fields of `managedFields` in the form of our paths.

use fleet_json::{FieldPath, Segment};
use fleet_ssa::{Path, PathElement};

/// A field of managedFields as a path of ours: items are named by their first key.
pub fn path(path: &Path) -> FieldPath {
    let segments = path.0.iter().map(|element| match element {
        PathElement::Field(name) => Segment::Field(name.to_string()),
        PathElement::Index(index) => Segment::Index(usize::try_from(*index).unwrap_or_default()),
        PathElement::Value(value) => Segment::Element(value.to_value()),
        PathElement::Key(fields) => {
            let named = fields.iter().find(|(key, _)| &**key == "name").or_else(|| fields.first());
            match named {
                Some((key, value)) => Segment::item(key.to_string(), value.to_value()),
                None => Segment::Index(0),
            }
        }
    });
    FieldPath::new(segments.collect())
}
