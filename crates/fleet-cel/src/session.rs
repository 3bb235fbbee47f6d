//! Several expressions over the same values, with variables that are made when they are first read.

use serde_json::Value;

use crate::authority::{Authorizer, Question};
use crate::error::CelError;
use crate::eval::Evaluator;
use crate::meter::{Fault, Meter};
use crate::program::Program;
use crate::value::Val;

/// One sitting of expressions over the same values, as an admission policy has: its variables are evaluated when the
/// first expression reads them and kept for the others, and all spend from one budget.
///
/// It is made, used and dropped at one place: what it holds doesn't travel between threads.
pub struct Session<'a> {
    evaluator: Evaluator<'a>,
    left: u64,
}

impl<'a> Session<'a> {
    /// A sitting over these values that may spend so much (see [`crate::Limits::max_cost`], which holds for each
    /// expression besides).
    #[must_use]
    pub fn new(variables: &'a [(&'a str, &'a Value)], budget: u64) -> Self {
        Self { evaluator: Evaluator::new(variables, 0), left: budget }
    }

    /// Expressions may read these programs' results as fields of `map` (`variables.NAME`). Each may read what stands
    /// before it.
    #[must_use]
    pub fn with_definitions(mut self, map: &'a str, programs: &'a [(String, Program)]) -> Self {
        self.evaluator.define(map, programs);
        self
    }

    /// Expressions may ask an authorizer, as `authorizer`; `request` is what `authorizer.requestResource` asks about.
    #[must_use]
    pub fn with_authorizer(mut self, authorizer: &'a dyn Authorizer, request: Question) -> Self {
        self.evaluator.ask(authorizer, request);
        self
    }

    /// What may still be spent.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The value of an expression.
    ///
    /// # Errors
    /// As [`Program::evaluate`]; and where the sitting's budget is spent.
    pub fn evaluate(&mut self, program: &'a Program) -> Result<Value, CelError> {
        let limit = program.limits().max_output;
        self.run(program).and_then(|value| value.into_json(limit)).map_err(|fault| program.explain(fault))
    }

    /// As [`Session::evaluate`], for an expression that must be true or false.
    ///
    /// # Errors
    /// As [`Session::evaluate`], and where it is neither.
    pub fn evaluate_bool(&mut self, program: &'a Program) -> Result<bool, CelError> {
        let value = self.run(program).map_err(|fault| program.explain(fault))?;
        program.truth(&value)
    }

    fn run(&mut self, program: &'a Program) -> Result<Val<'a>, Fault> {
        let allowed = program.limits().max_cost.min(self.left);
        self.evaluator.meter = Meter::new(allowed);
        let outcome = self.evaluator.run(program);
        self.left -= allowed - self.evaluator.meter.left();
        outcome
    }
}
