//! The JSONPath of printer columns, scale paths and selectable fields.
//!
//! ```text
//! .spec.replicas   .metadata.annotations.app\.oam\.dev/name   ['x.y']   [0]   [-1]   [1:3]   [*]   .*   ..name
//! .status.conditions[?(@.type=="Ready")].status
//! ```

mod eval;
mod parse;

use serde_json::Value;

/// A compiled path.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath {
    source: String,
    steps: Vec<Step>,
}

/// Why a path can't be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} at character {at}: {problem}")]
pub struct JsonPathError {
    /// The path as written.
    pub path: String,
    /// Where it stops making sense, counted from 0.
    pub at: usize,
    /// What is wrong.
    pub problem: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Fields(Vec<String>),
    Index(i64),
    Slice { from: Option<i64>, to: Option<i64>, step: i64 },
    All,
    Descend,
    Filter(Filter),
}

#[derive(Debug, Clone, PartialEq)]
struct Filter {
    left: Operand,
    test: Option<(Comparison, Operand)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Path(Vec<Step>),
    Literal(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// Compiles a path; surrounding braces and a leading `$` are allowed.
    ///
    /// # Errors
    /// The place where the path stops making sense.
    pub fn compile(path: &str) -> Result<JsonPath, JsonPathError> {
        parse::compile(path)
    }

    /// The path as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The values that it finds, in order; empty where the path leads nowhere.
    pub fn find<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        eval::run(&self.steps, value)
    }

    /// The first value that it finds.
    pub fn first<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.find(value).into_iter().next()
    }

    /// The field names, if the path consists of nothing else (as scale paths and selectable fields must).
    pub fn plain_fields(&self) -> Option<Vec<String>> {
        self.steps
            .iter()
            .map(|step| match step {
                Step::Field(name) => Some(name.clone()),
                _ => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
