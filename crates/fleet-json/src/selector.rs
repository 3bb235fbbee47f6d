//! Label selectors and field selectors.

mod field;
mod json;
mod label_syntax;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::path::FieldPath;

pub use field::{FieldSelector, FieldTerm};
pub use label_syntax::{check_label_key, check_label_value};

/// Which labels an object must have; an empty selector matches every object.
///
/// Read from a query string ([`LabelSelector::parse`]) or from JSON ([`LabelSelector::from_json`]);
/// displayed as the canonical query string, requirements sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelSelector(Vec<Requirement>);

/// One condition of a [`LabelSelector`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    key: String,
    operator: Operator,
}

/// What a [`Requirement`] demands of its label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// The label has one of the values.
    In(BTreeSet<String>),
    /// The label is absent or has another value.
    NotIn(BTreeSet<String>),
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The label is an integer above.
    GreaterThan(i64),
    /// The label is an integer below.
    LessThan(i64),
}

/// A selector that isn't one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// In a query string.
    #[error("selector {text:?}, column {column}: {problem}")]
    Text {
        /// The string, cut short.
        text: String,
        /// Where, in characters, from 1.
        column: usize,
        /// What is wrong, and what is expected.
        problem: String,
    },
    /// In a JSON selector.
    #[error("{path}: {problem}")]
    Json {
        /// Where in the selector.
        path: FieldPath,
        /// What is wrong, and what is expected.
        problem: String,
    },
}

impl SelectorError {
    /// What is wrong, without the place.
    #[must_use]
    pub fn problem(&self) -> &str {
        match self {
            Self::Text { problem, .. } | Self::Json { problem, .. } => problem,
        }
    }
}

impl Requirement {
    /// A condition.
    ///
    /// # Errors
    /// The problem, when the key is no label key, a value no label value, or `In`/`NotIn` has no values.
    pub fn new(key: impl Into<String>, operator: Operator) -> Result<Self, String> {
        let key = key.into();
        check_label_key(&key)?;
        if let Operator::In(values) | Operator::NotIn(values) = &operator {
            if values.is_empty() {
                return Err("expected at least one value".to_owned());
            }
            values.iter().try_for_each(|value| check_label_value(value))?;
        }
        Ok(Self { key, operator })
    }

    /// The label's key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What it demands.
    #[must_use]
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// Whether a label's value (`None`: absent) satisfies the condition.
    #[must_use]
    pub fn accepts(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.contains(value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan(bound) => number().is_some_and(|number| number > *bound),
            Operator::LessThan(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let list =
            |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        match &self.operator {
            Operator::In(values) if values.len() == 1 => write!(f, "{key}={}", list(values)),
            Operator::NotIn(values) if values.len() == 1 => write!(f, "{key}!={}", list(values)),
            Operator::In(values) => write!(f, "{key} in ({})", list(values)),
            Operator::NotIn(values) => write!(f, "{key} notin ({})", list(values)),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan(bound) => write!(f, "{key}>{bound}"),
            Operator::LessThan(bound) => write!(f, "{key}<{bound}"),
        }
    }
}

impl LabelSelector {
    /// The selector that matches every object.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// The selector of the given conditions; all must hold.
    #[must_use]
    pub fn new(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_unstable();
        requirements.dedup();
        Self(requirements)
    }

    /// Reads a query string as kubectl writes it: `a=b,c!=d,e in (x,y),f notin (z),g,!h,i>1`.
    ///
    /// # Errors
    /// With the column of what isn't understood.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        text::parse(text).map(Self::new)
    }

    /// Reads a selector from JSON: `matchLabels` and `matchExpressions`, or a plain map of labels.
    ///
    /// # Errors
    /// With the path of what isn't understood.
    pub fn from_json(value: &Value) -> Result<Self, SelectorError> {
        json::parse(value).map(Self::new)
    }

    /// The selector that wants exactly these labels, among others.
    ///
    /// # Errors
    /// With the key that is no label key, or whose value is no label value.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Result<Self, SelectorError> {
        let equals = |(key, value): (&String, &String)| {
            Requirement::new(key, Operator::In(BTreeSet::from([value.clone()])))
                .map_err(|problem| SelectorError::Json { path: FieldPath::of_fields([key]), problem })
        };
        labels.iter().map(equals).collect::<Result<_, _>>().map(Self::new)
    }

    /// The conditions, sorted.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.0
    }

    /// Whether every object matches.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object with these labels matches.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|condition| condition.accepts(labels.get(&condition.key).map(String::as_str)))
    }

    /// Whether an object whose `metadata.labels` is `labels` matches.
    #[must_use]
    pub fn matches_value(&self, labels: Option<&Value>) -> bool {
        let get = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
        self.0.iter().all(|condition| condition.accepts(get(&condition.key)))
    }

    /// The selector as Kubernetes objects hold it: `matchLabels` and `matchExpressions`. Conditions on
    /// numbers have no such form and are left out.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json::write(&self.0)
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, requirement) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            fmt::Display::fmt(requirement, f)?;
        }
        Ok(())
    }
}

impl FromStr for LabelSelector {
    type Err = SelectorError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for LabelSelector {
    /// As a query string.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LabelSelector {
    /// From a query string or JSON.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Self::parse(&text),
            value => Self::from_json(&value),
        }
        .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
