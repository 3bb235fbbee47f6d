//! Conversion from and to JSON pointers (RFC 6901).

use serde_json::Value;

use super::{FieldPath, Segment};

impl FieldPath {
    /// The JSON pointer (RFC 6901) of this path; `None` where an item is named by its keys or its value:
    /// [`FieldPath::resolve`] turns those into positions first.
    #[must_use]
    pub fn to_pointer(&self) -> Option<String> {
        let mut pointer = String::new();
        for segment in &self.0 {
            pointer.push('/');
            match segment {
                Segment::Field(name) => pointer.push_str(&name.replace('~', "~0").replace('/', "~1")),
                Segment::Index(index) => pointer.push_str(&index.to_string()),
                Segment::Item(_) | Segment::Element(_) => return None,
            }
        }
        Some(pointer)
    }

    /// The path of a JSON pointer. Without a document a token of digits is taken for a position;
    /// [`FieldPath::from_pointer_in`] looks.
    ///
    /// `None` when the text is no pointer (neither empty nor starting with `/`, or a bad escape).
    #[must_use]
    pub fn from_pointer(pointer: &str) -> Option<Self> {
        tokens(pointer)?.into_iter().map(|token| Some(position_or_field(token))).collect()
    }

    /// The path of a JSON pointer into `document`: a token is a position where the document has a list.
    #[must_use]
    pub fn from_pointer_in(pointer: &str, document: &Value) -> Option<Self> {
        let mut path = Self::root();
        let mut at = Some(document);
        for token in tokens(pointer)? {
            let segment = match at {
                Some(Value::Object(_)) => Segment::Field(token),
                _ => position_or_field(token),
            };
            at = match (&segment, at) {
                (Segment::Field(name), Some(value)) => value.get(name),
                (Segment::Index(index), Some(value)) => value.get(*index),
                _ => None,
            };
            path.push(segment);
        }
        Some(path)
    }
}

fn tokens(pointer: &str) -> Option<Vec<String>> {
    if pointer.is_empty() {
        return Some(Vec::new());
    }
    pointer.strip_prefix('/')?.split('/').map(unescape).collect()
}

fn unescape(token: &str) -> Option<String> {
    let mut text = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(c) = chars.next() {
        match c {
            '~' => match chars.next()? {
                '0' => text.push('~'),
                '1' => text.push('/'),
                _ => return None,
            },
            other => text.push(other),
        }
    }
    Some(text)
}

fn position_or_field(token: String) -> Segment {
    let is_position = token == "0" || (!token.starts_with('0') && token.bytes().all(|b| b.is_ascii_digit()));
    match (is_position, token.parse()) {
        (true, Ok(index)) => Segment::Index(index),
        _ => Segment::Field(token),
    }
}
