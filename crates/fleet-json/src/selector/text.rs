//! Label selectors as query strings.

use std::collections::BTreeSet;

use super::{Operator, Requirement, SelectorError, check_label_value};

pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut parser = Parser { text, rest: text };
    let mut requirements = Vec::new();
    parser.blanks();
    if parser.rest.is_empty() {
        return Ok(requirements);
    }
    loop {
        requirements.push(parser.requirement()?);
        parser.blanks();
        if parser.rest.is_empty() {
            return Ok(requirements);
        }
        if !parser.eat(",") {
            return Err(parser.error(format!("expected ',' or the end, found {}", parser.next_word())));
        }
        parser.blanks();
    }
}

struct Parser<'t> {
    text: &'t str,
    rest: &'t str,
}

/// Where an error is reported: a position reached earlier.
#[derive(Clone, Copy)]
struct Mark(usize);

impl<'t> Parser<'t> {
    fn mark(&self) -> Mark {
        Mark(self.text.len() - self.rest.len())
    }

    fn error_at(&self, mark: Mark, problem: impl Into<String>) -> SelectorError {
        let before = self.text.get(..mark.0).unwrap_or(self.text);
        SelectorError::Text {
            text: self.text.chars().take(200).collect(),
            column: before.chars().count() + 1,
            problem: problem.into(),
        }
    }

    fn error(&self, problem: impl Into<String>) -> SelectorError {
        self.error_at(self.mark(), problem)
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> &'t str {
        let stop = |c: char| matches!(c, '=' | '!' | '(' | ')' | ',' | '<' | '>') || c.is_whitespace();
        let end = self.rest.find(stop).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        word
    }

    fn next_word(&self) -> String {
        match self.rest.split_whitespace().next() {
            Some(word) => format!("{:?}", word.chars().take(40).collect::<String>()),
            None => "the end".to_owned(),
        }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let absent = self.eat("!");
        self.blanks();
        let start = self.mark();
        let key = self.word();
        if key.is_empty() {
            return Err(self.error(format!("expected a label key, found {}", self.next_word())));
        }
        self.blanks();
        let operator = if absent { Operator::DoesNotExist } else { self.operator()? };
        Requirement::new(key, operator).map_err(|problem| self.error_at(start, problem))
    }

    fn operator(&mut self) -> Result<Operator, SelectorError> {
        if self.rest.is_empty() || self.rest.starts_with(',') {
            return Ok(Operator::Exists);
        }
        if self.eat("!=") {
            return Ok(Operator::NotIn(BTreeSet::from([self.value()?])));
        }
        if self.eat("==") || self.eat("=") {
            return Ok(Operator::In(BTreeSet::from([self.value()?])));
        }
        if self.eat(">") {
            return self.number().map(Operator::GreaterThan);
        }
        if self.eat("<") {
            return self.number().map(Operator::LessThan);
        }
        let start = self.mark();
        match self.word() {
            "in" => self.values().map(Operator::In),
            "notin" => self.values().map(Operator::NotIn),
            _ => {
                let found = Parser { text: self.text, rest: self.text.get(start.0..).unwrap_or("") };
                Err(self.error_at(
                    start,
                    format!("expected =, ==, !=, in, notin, <, > or ',', found {}", found.next_word()),
                ))
            }
        }
    }

    fn value(&mut self) -> Result<String, SelectorError> {
        self.blanks();
        let start = self.mark();
        let value = self.word();
        check_label_value(value).map_err(|problem| self.error_at(start, problem))?;
        Ok(value.to_owned())
    }

    fn number(&mut self) -> Result<i64, SelectorError> {
        self.blanks();
        let start = self.mark();
        let word = self.word();
        word.parse().map_err(|_| self.error_at(start, format!("expected an integer, found {word:?}")))
    }

    fn values(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        self.blanks();
        if !self.eat("(") {
            return Err(self.error(format!("expected '(', found {}", self.next_word())));
        }
        let mut values = BTreeSet::new();
        loop {
            values.insert(self.value()?);
            self.blanks();
            if self.eat(")") {
                return Ok(values);
            }
            if !self.eat(",") {
                return Err(self.error(format!("expected ',' or ')', found {}", self.next_word())));
            }
        }
    }
}
