//! Reading a path from text.

use serde_json::Value;

use super::{FieldPath, Segment};

/// A text that is no field path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field path {text:?}, column {column}: {problem}")]
pub struct PathParseError {
    /// The whole text.
    pub text: String,
    /// Where, in characters, from 1.
    pub column: usize,
    /// What is wrong and what may stand there.
    pub problem: String,
}

/// Longer texts are refused: no object has such a path.
const MAX_LENGTH: usize = 16 * 1024;

pub(super) fn parse(text: &str) -> Result<FieldPath, PathParseError> {
    let mut parser = Parser { text, rest: text };
    if text.len() > MAX_LENGTH {
        return Err(PathParseError {
            text: text.chars().take(40).chain("…".chars()).collect(),
            column: 1,
            problem: format!("longer than {MAX_LENGTH} bytes"),
        });
    }
    if text.is_empty() || text == "." {
        return Ok(FieldPath::root());
    }
    let mut path = FieldPath::root();
    if !text.starts_with(['.', '[']) {
        path.push(parser.name()?);
    }
    while let Some(next) = parser.rest.chars().next() {
        match next {
            '.' => {
                parser.skip(1);
                path.push(parser.name()?);
            }
            '[' => {
                parser.skip(1);
                path.push(parser.bracket()?);
            }
            _ => return Err(parser.error("expected '.' or '['")),
        }
    }
    Ok(path)
}

struct Parser<'t> {
    text: &'t str,
    rest: &'t str,
}

impl<'t> Parser<'t> {
    fn error(&self, problem: &str) -> PathParseError {
        let at = self.text.len() - self.rest.len();
        let column = self.text.get(..at).map_or(0, |before| before.chars().count()) + 1;
        PathParseError { text: self.text.to_owned(), column, problem: problem.to_owned() }
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or("");
    }

    fn take_until(&mut self, stop: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(stop).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn name(&mut self) -> Result<Segment, PathParseError> {
        let name = self.take_until(|c| matches!(c, '.' | '['));
        if name.is_empty() {
            return Err(self.error("expected a field name; quote a name with dots: [\"a.b\"]"));
        }
        if name.contains([']', '"', '=']) {
            return Err(self.error("quote a name with ']', '\"' or '=': [\"a=b\"]"));
        }
        Ok(Segment::Field(name.to_owned()))
    }

    fn bracket(&mut self) -> Result<Segment, PathParseError> {
        if self.rest.starts_with('=') {
            self.skip(1);
            let value = self.value()?;
            self.close()?;
            return Ok(Segment::Element(value));
        }
        let mut keys = Vec::new();
        loop {
            let was_quoted = self.rest.starts_with('"');
            let key = if was_quoted {
                match self.json()? {
                    Value::String(key) => key,
                    _ => return Err(self.error("expected a quoted name")),
                }
            } else {
                self.take_until(|c| matches!(c, '=' | ']')).to_owned()
            };
            if self.rest.starts_with('=') {
                self.skip(1);
                keys.push((key, self.value()?));
                if self.rest.starts_with(',') {
                    self.skip(1);
                    continue;
                }
                self.close()?;
                return Ok(Segment::Item(keys));
            }
            if !keys.is_empty() {
                return Err(self.error("expected key=value"));
            }
            if key.is_empty() && !was_quoted {
                return Err(self.error("expected an index, key=value, =value or a quoted name"));
            }
            self.close()?;
            let is_index = !was_quoted && key.bytes().all(|b| b.is_ascii_digit());
            return match (is_index, key.parse()) {
                (true, Ok(index)) => Ok(Segment::Index(index)),
                (true, Err(_)) => Err(self.error("the index is too large")),
                (false, _) => Ok(Segment::Field(key)),
            };
        }
    }

    fn close(&mut self) -> Result<(), PathParseError> {
        if !self.rest.starts_with(']') {
            return Err(self.error("expected ']'"));
        }
        self.skip(1);
        Ok(())
    }

    /// A JSON value, or bare text up to `,` or `]`, which is a string.
    fn value(&mut self) -> Result<Value, PathParseError> {
        let before = self.rest;
        if let Ok(value) = self.json()
            && self.rest.starts_with([',', ']'])
        {
            return Ok(value);
        }
        self.rest = before;
        let bare = self.take_until(|c| matches!(c, ',' | ']'));
        if bare.is_empty() || bare.starts_with(['"', '{', '[']) {
            self.rest = before;
            return Err(self.error("expected a JSON value"));
        }
        Ok(Value::from(bare))
    }

    fn json(&mut self) -> Result<Value, PathParseError> {
        let mut values = serde_json::Deserializer::from_str(self.rest).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                let length = values.byte_offset();
                self.skip(length);
                Ok(value)
            }
            _ => Err(self.error("expected a JSON value")),
        }
    }
}
