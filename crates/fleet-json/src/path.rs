//! Where a value stands inside an object: `.spec.containers[name="web"].image`.

mod access;
mod parse;
mod pointer;
mod shown;

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

pub use access::PathError;
pub(crate) use access::type_name;
pub use parse::PathParseError;
pub use shown::has_shown_field;

/// One step of a [`FieldPath`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// The entry of a map.
    Field(String),
    /// The item of a list by position.
    Index(usize),
    /// The item of an associative list, named by the values of its keys: `[name="web"]`.
    Item(Vec<(String, Value)>),
    /// The item of a list that is a set of scalars, named by itself: `[="finalizer"]`.
    Element(Value),
}

impl Segment {
    /// An item named by a single key, as most associative lists have.
    pub fn item(key: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::Item(vec![(key.into(), value.into())])
    }

    /// Whether `item` of a list is the one that this segment names. `Field` and `Index` name none.
    #[must_use]
    pub fn names(&self, item: &Value) -> bool {
        match self {
            Self::Item(keys) => keys.iter().all(|(key, value)| item.get(key) == Some(value)),
            Self::Element(value) => item == value,
            Self::Field(_) | Self::Index(_) => false,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Item(_) => 1,
            Self::Element(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

impl Ord for Segment {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            (Self::Item(a), Self::Item(b)) => {
                for ((key_a, value_a), (key_b, value_b)) in a.iter().zip(b) {
                    let order = key_a.cmp(key_b).then_with(|| compare_values(value_a, value_b));
                    if order.is_ne() {
                        return order;
                    }
                }
                a.len().cmp(&b.len())
            }
            (Self::Element(a), Self::Element(b)) => compare_values(a, b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Segment {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<&str> for Segment {
    fn from(name: &str) -> Self {
        Self::Field(name.to_owned())
    }
}

impl From<String> for Segment {
    fn from(name: String) -> Self {
        Self::Field(name)
    }
}

impl From<usize> for Segment {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl fmt::Display for Segment {
    /// Writes the segment so that [`FieldPath::parse`] reads it back: names that would be ambiguous are
    /// quoted, `["example.com/role"]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) if is_plain(name) => write!(f, ".{name}"),
            Self::Field(name) => write!(f, "[{}]", quoted(name)),
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Item(keys) => {
                f.write_str("[")?;
                for (position, (key, value)) in keys.iter().enumerate() {
                    if position > 0 {
                        f.write_str(",")?;
                    }
                    if is_plain(key) {
                        write!(f, "{key}={value}")?;
                    } else {
                        write!(f, "{}={value}", quoted(key))?;
                    }
                }
                f.write_str("]")
            }
            Self::Element(value) => write!(f, "[={value}]"),
        }
    }
}

/// A path from an object's root to one of its values; the empty path is the root.
///
/// Written as server-side apply writes it (`.spec.ports[port=80,protocol="TCP"].name`), and read back
/// from that form; serialized as that string. Ordered by segments, so a parent stands before its children.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<Segment>);

impl FieldPath {
    /// The empty path.
    #[must_use]
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// A path of the given segments.
    #[must_use]
    pub fn new(segments: Vec<Segment>) -> Self {
        Self(segments)
    }

    /// A path of map entries: `FieldPath::of_fields(["spec", "replicas"])`.
    pub fn of_fields<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self(names.into_iter().map(|name| Segment::Field(name.into())).collect())
    }

    /// Reads a path as it is written by `Display`; the leading dot may be left out.
    ///
    /// # Errors
    /// When the text is no path: the error has the column.
    pub fn parse(text: &str) -> Result<Self, PathParseError> {
        parse::parse(text)
    }

    /// The steps from the root.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// The steps from the root, owned.
    #[must_use]
    pub fn into_segments(self) -> Vec<Segment> {
        self.0
    }

    /// How many steps below the root.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether this is the root. Same as [`FieldPath::is_root`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The last step.
    #[must_use]
    pub fn last(&self) -> Option<&Segment> {
        self.0.last()
    }

    /// Steps down.
    pub fn push(&mut self, segment: impl Into<Segment>) {
        self.0.push(segment.into());
    }

    /// Steps up, giving the step taken back.
    pub fn pop(&mut self) -> Option<Segment> {
        self.0.pop()
    }

    /// The path one step further down.
    #[must_use]
    pub fn child(&self, segment: impl Into<Segment>) -> Self {
        let mut segments = Vec::with_capacity(self.0.len() + 1);
        segments.extend_from_slice(&self.0);
        segments.push(segment.into());
        Self(segments)
    }

    /// The path one step up; `None` at the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.split_last().map(|(_, rest)| Self(rest.to_vec()))
    }

    /// This path followed by `other`.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).cloned().collect())
    }

    /// Whether `prefix` is this path or one above it.
    #[must_use]
    pub fn starts_with(&self, prefix: &Self) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// The path as API errors write it: without the leading dot (`spec.containers[0].image`).
    #[must_use]
    pub fn to_dotted(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let text = self.to_string();
        text.strip_prefix('.').map(str::to_owned).unwrap_or(text)
    }

    /// The path as server-side apply's conflict messages write it: names are never quoted
    /// (`.metadata.labels.example.com/role`), so it may not be readable back.
    #[must_use]
    pub fn to_smd(&self) -> String {
        let mut text = String::new();
        for segment in &self.0 {
            match segment {
                Segment::Field(name) => {
                    text.push('.');
                    text.push_str(name);
                }
                other => text.push_str(&other.to_string()),
            }
        }
        text
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(".");
        }
        self.0.iter().try_for_each(|segment| fmt::Display::fmt(segment, f))
    }
}

impl FromStr for FieldPath {
    type Err = PathParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl From<Vec<Segment>> for FieldPath {
    fn from(segments: Vec<Segment>) -> Self {
        Self(segments)
    }
}

impl FromIterator<Segment> for FieldPath {
    fn from_iter<I: IntoIterator<Item = Segment>>(segments: I) -> Self {
        Self(segments.into_iter().collect())
    }
}

impl Serialize for FieldPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FieldPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A name that can stand after a dot, or before `=`, without being taken for something else.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(|c: char| {
            matches!(c, '.' | '[' | ']' | '"' | '=' | ',' | '\\') || c.is_whitespace() || c.is_control()
        })
}

fn quoted(name: &str) -> String {
    Value::from(name).to_string()
}

/// A total order over JSON values that agrees with their equality: by type, then by content.
#[must_use]
pub fn compare_values(a: &Value, b: &Value) -> Ordering {
    fn rank(value: &Value) -> u8 {
        match value {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Number(_) => 2,
            Value::String(_) => 3,
            Value::Array(_) => 4,
            Value::Object(_) => 5,
        }
    }
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => compare_numbers(a, b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let mut orders = a.iter().zip(b).map(|(a, b)| compare_values(a, b));
            orders.find(|order| order.is_ne()).unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => {
            let (a, b) = (sorted_entries(a), sorted_entries(b));
            let mut orders = a
                .iter()
                .zip(&b)
                .map(|((key_a, a), (key_b, b))| key_a.cmp(key_b).then_with(|| compare_values(a, b)));
            orders.find(|order| order.is_ne()).unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

fn compare_numbers(a: &serde_json::Number, b: &serde_json::Number) -> Ordering {
    let integer = |n: &serde_json::Number| n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from));
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => {
            let float = |n: &serde_json::Number| n.as_f64().unwrap_or(0.0) + 0.0;
            float(a).total_cmp(&float(b))
        }
    }
}

/// A map's entries by key, whatever order the map keeps them in.
pub(crate) fn sorted_entries(map: &serde_json::Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| key.as_str());
    entries
}

#[cfg(test)]
mod tests;
