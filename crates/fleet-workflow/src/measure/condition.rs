//! What a measurement must fulfil.

use std::sync::Arc;

use fleet_cel::{Limits, Program};
use serde_json::Value;

/// An expression over one variable that says yes or no.
#[derive(Debug, Clone)]
pub struct Condition {
    program: Arc<Program>,
    variable: &'static str,
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.program.source() == other.program.source() && self.variable == other.variable
    }
}

impl Condition {
    /// Compiles it.
    ///
    /// # Errors
    /// In words, where it can't be read or asks for something else than the variable.
    pub fn read(source: &str, variable: &'static str) -> Result<Self, String> {
        let program = Program::compile(source, &Limits::default()).map_err(|error| error.to_string())?;
        if let Some(unknown) = program.variables().find(|name| *name != variable) {
            return Err(format!("{unknown:?} is unknown here; what was found is called {variable}"));
        }
        Ok(Self { program: Arc::new(program), variable })
    }

    /// What it says of a value.
    ///
    /// # Errors
    /// In words, where it can't be evaluated or says neither yes nor no.
    pub fn test(&self, value: &Value) -> Result<bool, String> {
        self.program.evaluate_bool(&[(self.variable, value)]).map_err(|error| error.to_string())
    }

    /// As it is written.
    pub fn source(&self) -> &str {
        self.program.source()
    }
}

/// A comparison with a number, as the established `check-metrics` writes it: `>=3`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    operator: Operator,
    bound: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
    Unequal,
}

impl Comparison {
    /// Reads `>=3`, `< 0.5`, `==0`.
    ///
    /// # Errors
    /// In words.
    pub fn read(text: &str) -> Result<Self, String> {
        let refuse = || format!("{text:?} isn't a comparison with a number; write it like >=3 or <0.5");
        let operators = [
            ("<=", Operator::AtMost),
            (">=", Operator::AtLeast),
            ("==", Operator::Equal),
            ("!=", Operator::Unequal),
            ("<", Operator::Less),
            (">", Operator::More),
        ];
        let text = text.trim();
        let found = operators.iter().find_map(|(sign, operator)| Some((text.strip_prefix(sign)?, *operator)));
        let (rest, operator) = found.ok_or_else(refuse)?;
        let bound: f64 = rest.trim().parse().map_err(|_| refuse())?;
        if bound.is_finite() { Ok(Self { operator, bound }) } else { Err(refuse()) }
    }

    /// What it says of a number.
    #[expect(clippy::float_cmp, reason = "== of two numbers that were written down is meant literally")]
    pub fn test(self, value: f64) -> bool {
        match self.operator {
            Operator::Less => value < self.bound,
            Operator::AtMost => value <= self.bound,
            Operator::More => value > self.bound,
            Operator::AtLeast => value >= self.bound,
            Operator::Equal => value == self.bound,
            Operator::Unequal => value != self.bound,
        }
    }
}
