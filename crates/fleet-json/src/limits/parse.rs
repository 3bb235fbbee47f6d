//! A JSON reader that bounds nesting and notices duplicate keys.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::TooDeep;
use crate::path::{FieldPath, Segment};

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The value; of a key given twice the last value counts, as in Go.
    pub value: Value,
    /// The fields that were given more than once, in order, at most [`MAX_DUPLICATES`].
    pub duplicates: Vec<FieldPath>,
}

/// How many duplicate fields are reported.
pub const MAX_DUPLICATES: usize = 100;

/// A text that isn't read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No JSON.
    #[error("line {line}, column {column}: {problem}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong.
        problem: String,
    },
    /// Nested too deeply.
    #[error(transparent)]
    TooDeep(#[from] TooDeep),
}

/// Reads JSON whose maps and lists nest at most `max_depth` deep (`serde_json` itself allows 127),
/// and reports keys that are given twice.
///
/// # Errors
/// When the text is no single JSON value, or nests deeper.
pub fn parse_json(bytes: &[u8], max_depth: usize) -> Result<Parsed, ParseError> {
    let found = RefCell::new(Found::default());
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let seed = Node { place: Place { parent: None, step: Step::Root }, left: max_depth, found: &found };
    let result = seed.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    let found = found.into_inner();
    match result {
        Ok(value) => Ok(Parsed { value, duplicates: found.duplicates }),
        Err(error) => Err(match found.too_deep {
            Some(path) => TooDeep { max: max_depth, path }.into(),
            None if error.to_string().starts_with("recursion limit exceeded") => {
                TooDeep { max: 127, path: FieldPath::root() }.into()
            }
            None => syntax(&error),
        }),
    }
}

fn syntax(error: &serde_json::Error) -> ParseError {
    let text = error.to_string();
    let problem = text.split(" at line ").next().unwrap_or(&text).to_owned();
    ParseError::Syntax { line: error.line(), column: error.column(), problem }
}

#[derive(Default)]
struct Found {
    duplicates: Vec<FieldPath>,
    too_deep: Option<FieldPath>,
}

/// The place being read, linked up the call stack, so that no path is built unless it is needed.
#[derive(Clone, Copy)]
struct Place<'p> {
    parent: Option<&'p Place<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    Field(&'p str),
    Index(usize),
}

impl Place<'_> {
    /// The path, without more than `most` steps.
    fn path(&self, most: usize) -> FieldPath {
        let mut segments = Vec::new();
        let mut at = Some(self);
        while let Some(place) = at {
            match place.step {
                Step::Root => {}
                Step::Field(name) => segments.push(Segment::Field(name.to_owned())),
                Step::Index(index) => segments.push(Segment::Index(index)),
            }
            at = place.parent;
        }
        segments.reverse();
        segments.truncate(most);
        FieldPath::new(segments)
    }
}

struct Node<'p> {
    place: Place<'p>,
    left: usize,
    found: &'p RefCell<Found>,
}

impl<'p> Node<'p> {
    fn inner<E: serde::de::Error>(&self) -> Result<usize, E> {
        self.left.checked_sub(1).ok_or_else(|| {
            self.found.borrow_mut().too_deep = Some(self.place.path(8));
            E::custom("nested too deeply")
        })
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let left = self.inner()?;
        let mut list = Vec::new();
        loop {
            let place = Place { parent: Some(&self.place), step: Step::Index(list.len()) };
            match items.next_element_seed(Node { place, left, found: self.found })? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let left = self.inner()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let place = Place { parent: Some(&self.place), step: Step::Field(&key) };
            if map.contains_key(&key) {
                let mut found = self.found.borrow_mut();
                let path = place.path(usize::MAX);
                if found.duplicates.len() < MAX_DUPLICATES && !found.duplicates.contains(&path) {
                    found.duplicates.push(path);
                }
            }
            let value = entries.next_value_seed(Node { place, left, found: self.found })?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
