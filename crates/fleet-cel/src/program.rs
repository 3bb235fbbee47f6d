//! A compiled expression.

use std::collections::BTreeSet;
use std::fmt;

use cel::common::ast::IdedExpr;
use serde_json::Value;

use crate::error::{CelError, CelErrorKind};
use crate::eval::Evaluator;
use crate::limits::Limits;
use crate::meter::Fault;
use crate::parse;
use crate::value::Val;

/// A CEL expression that has been parsed and checked; cheap to evaluate many times, from any thread.
pub struct Program {
    source: String,
    limits: Limits,
    tree: IdedExpr,
    depth: usize,
    variables: BTreeSet<String>,
}

impl Program {
    /// Parses `source`. Refuses what is too long, too deep, no expression, or calls an unknown function.
    pub fn compile(source: &str, limits: &Limits) -> Result<Self, CelError> {
        let (tree, depth, variables) = parse::parse(source, limits)?;
        Ok(Self { source: source.to_owned(), limits: *limits, tree, depth, variables })
    }

    pub(crate) fn tree(&self) -> &IdedExpr {
        &self.tree
    }

    /// The expression's text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The variables that an evaluation must bring, sorted.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(String::as_str)
    }

    /// The limits it was compiled within.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How deep its tree is.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// The value of the expression, with `variables` in sight; the first of a name counts.
    ///
    /// Integers come out as integers. A double that is no JSON number, a map with two keys of the same
    /// text, and a type or quantity type value are errors.
    pub fn evaluate(&self, variables: &[(&str, &Value)]) -> Result<Value, CelError> {
        self.evaluate_within(variables, &mut self.limits.max_cost.clone())
    }

    /// As [`Program::evaluate`], at a cost that is taken off `budget`.
    pub(crate) fn evaluate_within(
        &self,
        variables: &[(&str, &Value)],
        budget: &mut u64,
    ) -> Result<Value, CelError> {
        let allowed = self.limits.max_cost.min(*budget);
        let mut evaluator = Evaluator::new(variables, allowed);
        let result = evaluator.eval(&self.tree).and_then(|value| value.into_json(self.limits.max_output));
        *budget -= allowed - evaluator.meter.left();
        result.map_err(|fault| self.explain(fault))
    }

    /// As [`Program::evaluate`], for an expression that must be true or false.
    pub fn evaluate_bool(&self, variables: &[(&str, &Value)]) -> Result<bool, CelError> {
        let mut evaluator = Evaluator::new(variables, self.limits.max_cost);
        let value = evaluator.eval(&self.tree).map_err(|fault| self.explain(fault))?;
        self.truth(&value)
    }

    /// A result that must be true or false.
    pub(crate) fn truth(&self, value: &Val<'_>) -> Result<bool, CelError> {
        match value {
            Val::Bool(answer) => Ok(*answer),
            other => {
                let message = format!("must be true or false, but is {}", other.type_name());
                Err(self.explain(Fault::new(message)))
            }
        }
    }

    pub(crate) fn explain(&self, fault: Fault) -> CelError {
        // A limit is about the whole; for the rest the place matters.
        let span = match fault.kind {
            CelErrorKind::Limit => 0..self.source.len(),
            _ => parse::span_of(&self.source, fault.node, &self.limits),
        };
        CelError::new(fault.kind, fault.message, span, &self.source)
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Program").field(&self.source).finish()
    }
}
