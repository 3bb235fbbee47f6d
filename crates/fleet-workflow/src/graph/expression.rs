//! Expressions in steps: compiled when the workflow is read, bounded when they are evaluated.

use std::sync::Arc;

use fleet_cel::{Limits, Program};
use serde_json::Value;

/// Bounds of one expression; its result is checked against [`super::values::LONGEST_OUTPUT`] as well.
const LIMITS: Limits = Limits { max_length: 4096, max_depth: 32, max_cost: 1_000_000, max_output: 1 << 16 };
/// For how many items in each list or map an expression must be affordable: loops in loops in loops aren't.
const ITEMS: u64 = 100;

/// A CEL expression that may be evaluated.
#[derive(Debug, Clone)]
pub struct Expression(Arc<Program>);

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.source() == other.0.source()
    }
}

impl Expression {
    /// Compiles `source`, which may read `variables`.
    ///
    /// # Errors
    /// What is wrong and where in the text: it doesn't compile, reads what isn't there, or could cost too much.
    pub(super) fn compile(source: &str, variables: &[&str]) -> Result<Self, String> {
        let program = Program::compile(source, &LIMITS).map_err(|error| error.to_string())?;
        if let Some(unknown) = program.variables().find(|name| !variables.contains(name)) {
            let text: String = program.source().chars().take(80).collect();
            return Err(format!(
                "there is no variable `{unknown}` (in `{text}`); there are: {}; a name with a dash is written status[\"a-b\"]",
                variables.join(", ")
            ));
        }
        let cost = program.worst_cost(ITEMS);
        if cost > LIMITS.max_cost {
            return Err(format!(
                "it could cost {cost} units with lists of {ITEMS} items, and at most {} are allowed; loop less deeply",
                LIMITS.max_cost
            ));
        }
        Ok(Self(Arc::new(program)))
    }

    /// As it is written.
    pub fn source(&self) -> &str {
        self.0.source()
    }

    /// The fields of a variable that it names.
    pub(super) fn names_of(&self, variable: &str) -> impl Iterator<Item = String> {
        self.0.selected_of(variable).into_iter()
    }

    /// Whether it reads nothing.
    pub(super) fn is_constant(&self) -> bool {
        self.0.variables().next().is_none()
    }

    /// Its value.
    ///
    /// # Errors
    /// What went wrong, and where in the text.
    pub fn evaluate(&self, variables: &[(&str, &Value)]) -> Result<Value, String> {
        self.0.evaluate(variables).map_err(|error| error.to_string())
    }

    /// Its value, which must be true or false.
    ///
    /// # Errors
    /// What went wrong, and where in the text.
    pub fn holds(&self, variables: &[(&str, &Value)]) -> Result<bool, String> {
        self.0.evaluate_bool(variables).map_err(|error| error.to_string())
    }
}
