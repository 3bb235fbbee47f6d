//! From text to steps.

use serde_json::Value;

use super::{Comparison, Filter, JsonPath, JsonPathError, Operand, Step};

/// Filters inside filters stop here.
const MAX_DEPTH: usize = 8;

pub(super) fn compile(path: &str) -> Result<JsonPath, JsonPathError> {
    let text = path.trim();
    let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    let mut parser = Parser { source: path, text: text.chars().collect(), at: 0, depth: 0 };
    if parser.peek() == Some('$') {
        parser.at += 1;
    }
    let steps = parser.steps(&[])?;
    match parser.peek() {
        None => Ok(JsonPath { source: path.to_owned(), steps }),
        Some(found) => parser.error(format!("unexpected {found:?}")),
    }
}

struct Parser<'p> {
    source: &'p str,
    text: Vec<char>,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn error<T>(&self, problem: impl Into<String>) -> Result<T, JsonPathError> {
        Err(JsonPathError { path: self.source.to_owned(), at: self.at, problem: problem.into() })
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), JsonPathError> {
        if self.eat(wanted) { Ok(()) } else { self.error(format!("expected {wanted:?}")) }
    }

    fn spaces(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    /// Steps until the end, or a character of `stop`.
    fn steps(&mut self, stop: &[char]) -> Result<Vec<Step>, JsonPathError> {
        let mut steps = Vec::new();
        loop {
            match self.peek() {
                None => break,
                Some(found) if stop.contains(&found) => break,
                Some('.') => {
                    self.at += 1;
                    if self.eat('.') {
                        steps.push(Step::Descend);
                    }
                    if self.peek() == Some('[') {
                        continue;
                    }
                    if self.eat('*') {
                        steps.push(Step::All);
                        continue;
                    }
                    match self.name(stop)? {
                        // `.` alone is the value itself.
                        name if name.is_empty() && steps.is_empty() && self.peek().is_none() => {}
                        name if name.is_empty() => return self.error("expected a field name"),
                        name => steps.push(Step::Field(name)),
                    }
                }
                Some('[') => steps.push(self.bracket()?),
                Some(_) if steps.is_empty() => {
                    let name = self.name(stop)?;
                    if name.is_empty() {
                        return self.error("expected a field name");
                    }
                    steps.push(Step::Field(name));
                }
                Some(found) => return self.error(format!("unexpected {found:?}")),
            }
        }
        Ok(steps)
    }

    fn name(&mut self, stop: &[char]) -> Result<String, JsonPathError> {
        let mut out = String::new();
        while let Some(found) = self.peek() {
            if matches!(found, '.' | '[' | ']' | '{' | '}' | '(' | ')') || stop.contains(&found) {
                break;
            }
            self.at += 1;
            if found == '\\' {
                let Some(next) = self.peek() else { return self.error("nothing behind the backslash") };
                self.at += 1;
                out.push(next);
            } else {
                out.push(found);
            }
        }
        Ok(out)
    }

    fn bracket(&mut self) -> Result<Step, JsonPathError> {
        self.expect('[')?;
        self.spaces();
        let step = match self.peek() {
            Some('*') => {
                self.at += 1;
                Step::All
            }
            Some('?') => {
                self.at += 1;
                Step::Filter(self.filter()?)
            }
            Some('\'' | '"') => {
                let mut names = vec![self.quoted()?];
                self.spaces();
                while self.eat(',') {
                    self.spaces();
                    names.push(self.quoted()?);
                    self.spaces();
                }
                match <[String; 1]>::try_from(names) {
                    Ok([name]) => Step::Field(name),
                    Err(names) => Step::Fields(names),
                }
            }
            _ => self.position()?,
        };
        self.spaces();
        self.expect(']')?;
        Ok(step)
    }

    fn position(&mut self) -> Result<Step, JsonPathError> {
        let first = self.integer()?;
        if !self.eat(':') {
            return first.map_or_else(
                || self.error("expected a number, a name in quotes, * or ?("),
                |index| Ok(Step::Index(index)),
            );
        }
        let to = self.integer()?;
        let step = if self.eat(':') { self.integer()?.unwrap_or(1) } else { 1 };
        if step <= 0 {
            return self.error("the step of a slice is at least 1");
        }
        Ok(Step::Slice { from: first, to, step })
    }

    fn integer(&mut self) -> Result<Option<i64>, JsonPathError> {
        let mut digits = String::new();
        while let Some(found) = self.peek().filter(|c| c.is_ascii_digit() || (*c == '-' && digits.is_empty()))
        {
            digits.push(found);
            self.at += 1;
        }
        if digits.is_empty() {
            return Ok(None);
        }
        digits.parse().map(Some).or_else(|_| self.error(format!("{digits} is no index")))
    }

    fn quoted(&mut self) -> Result<String, JsonPathError> {
        let Some(quote @ ('\'' | '"')) = self.peek() else { return self.error("expected a quote") };
        self.at += 1;
        let mut out = String::new();
        loop {
            let Some(found) = self.peek() else { return self.error("the quote isn't closed") };
            self.at += 1;
            if found == quote {
                return Ok(out);
            }
            if found == '\\' {
                let Some(next) = self.peek() else { return self.error("nothing behind the backslash") };
                self.at += 1;
                out.push(next);
            } else {
                out.push(found);
            }
        }
    }

    fn filter(&mut self) -> Result<Filter, JsonPathError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.error(format!("more than {MAX_DEPTH} filters inside each other"));
        }
        self.expect('(')?;
        self.spaces();
        let left = self.operand()?;
        self.spaces();
        let test = match self.comparison() {
            Some(comparison) => {
                self.spaces();
                Some((comparison, self.operand()?))
            }
            None => None,
        };
        self.spaces();
        self.expect(')')?;
        self.depth -= 1;
        Ok(Filter { left, test })
    }

    fn comparison(&mut self) -> Option<Comparison> {
        for (sign, comparison) in [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ] {
            if self
                .text
                .get(self.at..)
                .is_some_and(|rest| rest.iter().copied().take(sign.len()).eq(sign.chars()))
            {
                self.at += sign.len();
                return Some(comparison);
            }
        }
        None
    }

    fn operand(&mut self) -> Result<Operand, JsonPathError> {
        const STOP: [char; 6] = [')', '=', '!', '<', '>', ' '];
        match self.peek() {
            Some('@' | '$') => {
                self.at += 1;
                Ok(Operand::Path(self.steps(&STOP)?))
            }
            Some('\'' | '"') => Ok(Operand::Literal(Value::String(self.quoted()?))),
            _ => {
                let mut word = String::new();
                while let Some(found) = self.peek().filter(|c| !STOP.contains(c)) {
                    word.push(found);
                    self.at += 1;
                }
                match serde_json::from_str(&word) {
                    Ok(value @ (Value::Bool(_) | Value::Number(_) | Value::Null)) => {
                        Ok(Operand::Literal(value))
                    }
                    _ => self.error("expected @, a string in quotes, a number, true or false"),
                }
            }
        }
    }
}
