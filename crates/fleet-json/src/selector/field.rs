//! Field selectors: `metadata.name=web,status.phase!=Running`.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::SelectorError;

/// Which fields an object must have; an empty selector matches every object.
///
/// In values `\` escapes `,`, `=` and itself, as in Kubernetes.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldSelector {
    /// The conditions; all must hold.
    pub terms: Vec<FieldTerm>,
}

/// One condition of a [`FieldSelector`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldTerm {
    /// The field with dots: `metadata.name`.
    pub field: String,
    /// What it is compared with.
    pub value: String,
    /// Whether it must differ.
    pub negated: bool,
}

impl FieldSelector {
    /// Reads `a=b`, `a==b` and `a!=b`, separated by commas.
    ///
    /// # Errors
    /// With the column of what isn't understood.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        let mut start = 0;
        for part in split_unescaped(text) {
            if !part.trim().is_empty() {
                terms.push(parse_term(text, part, start)?);
            }
            start += part.len() + 1;
        }
        Ok(Self { terms })
    }

    /// The value that the selector demands of a field, if it demands one: lets a list go straight to
    /// `metadata.name`.
    #[must_use]
    pub fn required_value(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| !term.negated && term.field == field).map(|term| term.value.as_str())
    }

    /// Whether an object whose fields are given by `field` matches; an absent field is empty.
    pub fn matches_with<'v>(&self, field: impl Fn(&str) -> Option<&'v str>) -> bool {
        self.terms.iter().all(|term| (field(&term.field).unwrap_or_default() == term.value) != term.negated)
    }

    /// Whether an object matches; its scalars are compared as text, what is absent is empty.
    #[must_use]
    pub fn matches_value(&self, object: &Value) -> bool {
        self.terms.iter().all(|term| {
            let value = term.field.split('.').try_fold(object, |at, name| at.get(name));
            let text = match value {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            (text == term.value) != term.negated
        })
    }
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

fn parse_term(text: &str, part: &str, start: usize) -> Result<FieldTerm, SelectorError> {
    let error = |at: usize, problem: String| SelectorError::Text {
        text: text.chars().take(200).collect(),
        column: text.get(..start + at).map_or(0, |before| before.chars().count()) + 1,
        problem,
    };
    let Some(at) = part.find('=') else {
        return Err(error(0, format!("expected field=value or field!=value, found {part:?}")));
    };
    let (left, right) = part.split_at_checked(at).unwrap_or((part, ""));
    let (field, negated) = match left.strip_suffix('!') {
        Some(field) => (field, true),
        None => (left, false),
    };
    let operator = if !negated && right.starts_with("==") { 2 } else { 1 };
    let value = right.get(operator..).unwrap_or_default();
    if field.trim().is_empty() {
        return Err(error(0, "expected a field name before the operator".to_owned()));
    }
    let value =
        unescape(value).map_err(|(offset, problem)| error(at + operator + offset, problem.to_owned()))?;
    Ok(FieldTerm { field: field.trim().to_owned(), value, negated })
}

fn unescape(value: &str) -> Result<String, (usize, &'static str)> {
    let mut text = String::with_capacity(value.len());
    let mut chars = value.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, escaped @ ('\\' | ',' | '='))) => text.push(escaped),
                _ => return Err((at, "\\ must be followed by \\, ',' or '='")),
            },
            '=' => return Err((at, "write \\= for an equals sign in a value")),
            other => text.push(other),
        }
    }
    Ok(text)
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, term) in self.terms.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            let operator = if term.negated { "!=" } else { "=" };
            let value = term.value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            write!(f, "{}{operator}{value}", term.field)?;
        }
        Ok(())
    }
}

impl FromStr for FieldSelector {
    type Err = SelectorError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}
