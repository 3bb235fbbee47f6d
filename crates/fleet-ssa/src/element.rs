//! One step of a path into an object, and whole paths.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde_json::{Number, Value};

/// A scalar, as it identifies an item of a list.
#[derive(Debug, Clone)]
pub enum Scalar {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number; `1` and `1.0` are the same.
    Number(Number),
    /// A string.
    String(Arc<str>),
}

impl Scalar {
    /// The scalar in `value`, `None` for lists and maps.
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            Value::Bool(b) => Some(Self::Bool(*b)),
            Value::Number(n) => Some(Self::Number(n.clone())),
            Value::String(s) => Some(Self::String(s.as_str().into())),
            Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The same scalar as a JSON value.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(b) => Value::Bool(*b),
            Self::Number(n) => Value::Number(n.clone()),
            Self::String(s) => Value::String(s.to_string()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::String(_) => 1,
            Self::Bool(_) => 2,
            Self::Null => 3,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Number(n) => write!(f, "{n}"),
            // The escapes of a JSON string, so that the same text serves messages and FieldsV1.
            Self::String(s) => f.write_str(&serde_json::to_string(s.as_ref()).unwrap_or_default()),
        }
    }
}

/// Numeric order; integers exactly, anything else as floating point.
pub(crate) fn compare_numbers(a: &Number, b: &Number) -> Ordering {
    fn integer(n: &Number) -> Option<i128> {
        n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from))
    }
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.as_f64().unwrap_or(f64::NAN).total_cmp(&b.as_f64().unwrap_or(f64::NAN)),
    }
}

impl Ord for Scalar {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => compare_numbers(a, b),
            (Self::String(a), Self::String(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scalar {}

/// One step of a path: into a map, or to an item of a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathElement {
    /// A field of a map (`f:name`).
    Field(Arc<str>),
    /// An item of an associative list, by its key fields in order of their names (`k:{"name":"x"}`).
    Key(Arc<[(Arc<str>, Scalar)]>),
    /// An item of a set (`v:"x"`).
    Value(Scalar),
    /// An item of a list by position (`i:0`); read, never produced.
    Index(i64),
}

/// A path element that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid path element {text:?}: {problem}")]
pub struct ElementError {
    /// What was to be read.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl PathElement {
    /// The element for a field of a map.
    pub fn field(name: &str) -> Self {
        Self::Field(name.into())
    }

    /// The element for an item with these key fields.
    pub fn key(mut fields: Vec<(Arc<str>, Scalar)>) -> Self {
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self::Key(fields.into())
    }

    /// Reads a key of a FieldsV1 map. `Ok(None)` for a kind of element that a later version may know: such
    /// elements are dropped, as Kubernetes does.
    ///
    /// # Errors
    /// When the text has no kind, or what follows doesn't fit its kind.
    pub fn from_fields_v1(text: &str) -> Result<Option<Self>, ElementError> {
        let error = |problem| ElementError { text: text.chars().take(256).collect(), problem };
        let Some((kind, rest)) = text.split_once(':').filter(|(kind, _)| kind.len() == 1) else {
            return Err(error("expected one of f:, k:, v:, i:"));
        };
        Ok(Some(match kind {
            "f" => Self::field(rest),
            "v" => Self::Value(
                serde_json::from_str(rest)
                    .ok()
                    .as_ref()
                    .and_then(Scalar::from_value)
                    .ok_or_else(|| error("expected a JSON scalar after v:"))?,
            ),
            "k" => {
                let Ok(Value::Object(map)) = serde_json::from_str(rest) else {
                    return Err(error("expected a JSON object after k:"));
                };
                let fields = map
                    .iter()
                    .map(|(name, value)| Some((Arc::from(name.as_str()), Scalar::from_value(value)?)))
                    .collect::<Option<Vec<_>>>();
                Self::key(fields.ok_or_else(|| error("expected scalars as values of the keys"))?)
            }
            "i" => Self::Index(rest.parse().map_err(|_| error("expected an integer after i:"))?),
            _ => return Ok(None),
        }))
    }

    /// The key of this element in a FieldsV1 map.
    pub fn to_fields_v1(&self) -> String {
        match self {
            Self::Field(name) => {
                let mut text = String::with_capacity(name.len() + 2);
                text.push_str("f:");
                text.push_str(name);
                text
            }
            Self::Value(scalar) => format!("v:{scalar}"),
            Self::Index(index) => format!("i:{index}"),
            Self::Key(fields) => {
                let mut text = String::from("k:{");
                for (i, (name, scalar)) in fields.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    let name = Scalar::String(Arc::clone(name));
                    text.push_str(&format!("{comma}{name}:{scalar}"));
                }
                text.push('}');
                text
            }
        }
    }
}

impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Value(scalar) => write!(f, "[={scalar}]"),
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Key(fields) => {
                f.write_str("[")?;
                for (i, (name, scalar)) in fields.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    write!(f, "{comma}{name}={scalar}")?;
                }
                f.write_str("]")
            }
        }
    }
}

/// The place of a field in an object, shown as `.spec.containers[name="web"].image`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<PathElement>);

impl Path {
    /// The path through maps by these names.
    pub fn of_fields(names: &[&str]) -> Self {
        Self(names.iter().map(|name| PathElement::field(name)).collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|element| write!(f, "{element}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_keep_their_text() {
        // Guards the wire format of managedFields: another spelling and clients find no owner.
        for text in [
            "f:image",
            "f:app.kubernetes.io/name",
            "f:a:b",
            r#"k:{"containerPort":80,"protocol":"TCP"}"#,
            r#"k:{"name":"we\"b"}"#,
            r#"v:"x""#,
            "v:3",
            "v:true",
            "v:null",
            "i:2",
        ] {
            let element = PathElement::from_fields_v1(text).unwrap().unwrap();
            assert_eq!(element.to_fields_v1(), text);
        }
    }

    #[test]
    fn keys_are_sorted_by_name() {
        let one = PathElement::from_fields_v1(r#"k:{"protocol":"TCP","containerPort":80}"#).unwrap();
        let two = PathElement::from_fields_v1(r#"k:{"containerPort":80,"protocol":"TCP"}"#).unwrap();
        assert_eq!(one, two);
    }

    #[test]
    fn unknown_kinds_are_dropped_and_garbage_refused() {
        assert_eq!(PathElement::from_fields_v1("x:later"), Ok(None));
        for text in ["", "f", "name", "k:[1]", "k:{\"a\":[]}", "v:{}", "v:", "i:one", "é:1"] {
            assert!(PathElement::from_fields_v1(text).is_err(), "{text}");
        }
    }

    #[test]
    fn paths_read_like_kubernetes_shows_them() {
        let path = Path(vec![
            PathElement::field("spec"),
            PathElement::field("ports"),
            PathElement::from_fields_v1(r#"k:{"protocol":"TCP","port":80}"#).unwrap().unwrap(),
            PathElement::field("finalizers"),
            PathElement::Value(Scalar::String("a/b".into())),
        ]);
        assert_eq!(path.to_string(), r#".spec.ports[port=80,protocol="TCP"].finalizers[="a/b"]"#);
    }

    #[test]
    fn numbers_are_compared_by_value() {
        let number = |text: &str| Scalar::Number(serde_json::from_str(text).unwrap());
        assert_eq!(number("1"), number("1.0"));
        assert!(number("-1") < number("18446744073709551615"));
    }
}
