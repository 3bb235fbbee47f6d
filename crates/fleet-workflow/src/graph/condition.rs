//! Whether a step runs: its `if`.

use serde_json::Value;

use super::expression::Expression;

/// What an `if` may read. `always` is true: `if: always` is an expression like any other.
const VARIABLES: [&str; 4] = ["status", "inputs", "context", "always"];

/// A step's `if`. A step that has one is asked it even after a failure.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    pub(super) expression: Expression,
    /// The steps that `status` shows: all that are over when it is evaluated. So it has one value, whenever it is
    /// evaluated.
    pub before: Vec<usize>,
}

impl Condition {
    pub(super) fn compile(source: &str) -> Result<Self, String> {
        let expression = Expression::compile(source.trim(), &VARIABLES)?;
        if expression.is_constant() {
            expression.holds(&[])?;
        }
        Ok(Self { expression, before: Vec::new() })
    }

    /// As it is written.
    pub fn source(&self) -> &str {
        self.expression.source()
    }

    /// Whether the step runs.
    ///
    /// # Errors
    /// What went wrong, and where in the text.
    pub fn holds(&self, status: &Value, inputs: &Value, context: &Value) -> Result<bool, String> {
        let always = Value::Bool(true);
        self.expression.holds(&[
            ("status", status),
            ("inputs", inputs),
            ("context", context),
            ("always", &always),
        ])
    }
}
