//! Reading and writing the value at a path.

use serde_json::{Map, Value};

use super::{FieldPath, Segment};

/// A path that can't be followed in a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Something else stands where the path goes on.
    #[error("{path} is {found}, where {expected} was expected")]
    WrongType {
        /// Where.
        path: FieldPath,
        /// The JSON type that stands there.
        found: &'static str,
        /// The JSON type that the path needs.
        expected: &'static str,
    },
    /// A list position that can't be created.
    #[error("{path} is past the end of a list of {length}")]
    OutOfRange {
        /// The position.
        path: FieldPath,
        /// How long the list is.
        length: usize,
    },
}

impl FieldPath {
    /// The value at this path.
    #[must_use]
    pub fn get<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(value, |at, segment| match segment {
            Segment::Field(name) => at.as_object()?.get(name),
            Segment::Index(index) => at.as_array()?.get(*index),
            named => at.as_array()?.iter().find(|item| named.names(item)),
        })
    }

    /// The value at this path, to be changed.
    pub fn get_mut<'v>(&self, value: &'v mut Value) -> Option<&'v mut Value> {
        self.0.iter().try_fold(value, |at, segment| match segment {
            Segment::Field(name) => at.as_object_mut()?.get_mut(name),
            Segment::Index(index) => at.as_array_mut()?.get_mut(*index),
            named => at.as_array_mut()?.iter_mut().find(|item| named.names(item)),
        })
    }

    /// The same path with positions instead of keys and set elements, as they stand in `value`.
    /// `None` when there is nothing at the path.
    #[must_use]
    pub fn resolve(&self, value: &Value) -> Option<Self> {
        let mut at = value;
        let mut resolved = Self::root();
        for segment in &self.0 {
            let (step, next) = match segment {
                Segment::Field(name) => (segment.clone(), at.as_object()?.get(name)?),
                Segment::Index(index) => (segment.clone(), at.as_array()?.get(*index)?),
                named => {
                    let (index, item) =
                        at.as_array()?.iter().enumerate().find(|(_, item)| named.names(item))?;
                    (Segment::Index(index), item)
                }
            };
            resolved.push(step);
            at = next;
        }
        Some(resolved)
    }

    /// Takes the value at this path out of its map or list. The root becomes null.
    pub fn remove(&self, value: &mut Value) -> Option<Value> {
        let Some((last, parents)) = self.0.split_last() else {
            return Some(value.take());
        };
        let parent = Self(parents.to_vec()).get_mut(value)?;
        match last {
            Segment::Field(name) => parent.as_object_mut()?.remove(name),
            Segment::Index(index) => {
                let list = parent.as_array_mut()?;
                (*index < list.len()).then(|| list.remove(*index))
            }
            named => {
                let list = parent.as_array_mut()?;
                let index = list.iter().position(|item| named.names(item))?;
                Some(list.remove(index))
            }
        }
    }

    /// Puts a value at this path. Maps that are absent or null on the way are created, list items named
    /// by keys or by value appended, and a position may be one past the end.
    ///
    /// # Errors
    /// When a value of another type is in the way, or a position is out of range; then some parents may
    /// have been created.
    pub fn set(&self, value: &mut Value, new: Value) -> Result<(), PathError> {
        let mut at = value;
        for (depth, segment) in self.0.iter().enumerate() {
            let place = || Self(self.0.iter().take(depth).cloned().collect());
            at = match segment {
                Segment::Field(name) => map_at(at, place)?.entry(name.as_str()).or_insert(Value::Null),
                Segment::Index(index) => {
                    let list = list_at(at, &place)?;
                    let length = list.len();
                    if *index == length {
                        list.push(Value::Null);
                    }
                    match list.get_mut(*index) {
                        Some(item) => item,
                        None => {
                            return Err(PathError::OutOfRange { path: place().child(*index), length });
                        }
                    }
                }
                named => {
                    let list = list_at(at, &place)?;
                    let index = match list.iter().position(|item| named.names(item)) {
                        Some(index) => index,
                        None => {
                            list.push(new_item(named));
                            list.len() - 1
                        }
                    };
                    match list.get_mut(index) {
                        Some(item) => item,
                        None => return Err(PathError::OutOfRange { path: place(), length: index }),
                    }
                }
            };
        }
        *at = new;
        Ok(())
    }
}

fn map_at(at: &mut Value, place: impl Fn() -> FieldPath) -> Result<&mut Map<String, Value>, PathError> {
    if at.is_null() {
        *at = Value::Object(Map::new());
    }
    let found = type_name(at);
    at.as_object_mut().ok_or_else(|| PathError::WrongType { path: place(), found, expected: "a map" })
}

fn list_at<'v>(at: &'v mut Value, place: &impl Fn() -> FieldPath) -> Result<&'v mut Vec<Value>, PathError> {
    if at.is_null() {
        *at = Value::Array(Vec::new());
    }
    let found = type_name(at);
    at.as_array_mut().ok_or_else(|| PathError::WrongType { path: place(), found, expected: "a list" })
}

fn new_item(segment: &Segment) -> Value {
    match segment {
        Segment::Item(keys) => Value::Object(keys.iter().cloned().collect()),
        Segment::Element(value) => value.clone(),
        Segment::Field(_) | Segment::Index(_) => Value::Null,
    }
}

/// A JSON value's type, as error messages name it.
#[must_use]
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
