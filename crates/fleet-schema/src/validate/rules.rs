//! Rules in CEL, run by whoever has an evaluator.

use fleet_json::path::{FieldPath, Segment};
use serde_json::{Value, json};

use super::lists::Correlation;
use super::{ErrorKind, FieldError, MAX_VALUE_DEPTH};
use crate::schema::{SchemaRef, ValidationRule};

/// A rule that doesn't hold, or couldn't be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFailure {
    /// Which of the rules given.
    pub rule: usize,
    /// The message of `messageExpression`; without it the rule's own message is used.
    pub message: Option<String>,
    /// Evaluation failed: `message` says how, and the finding is an internal error.
    pub internal: bool,
}

/// Evaluates the rules of one node.
pub trait RuleRunner {
    /// Runs `rules` with `self` = `value` and, if there is one, `oldSelf` = `old`; rules that need `oldSelf`
    /// and have none are skipped. Types come from `schema`.
    fn run(
        &self,
        schema: SchemaRef<'_>,
        rules: &[ValidationRule],
        value: &Value,
        old: Option<&Value>,
    ) -> Vec<RuleFailure>;
}

/// Runs every rule of a value that is known to fit its schema.
pub fn run_rules(
    schema: SchemaRef<'_>,
    value: &Value,
    old: Option<&Value>,
    runner: &dyn RuleRunner,
) -> Vec<FieldError> {
    let mut walk = RuleWalk { runner, path: FieldPath::default(), errors: Vec::new() };
    walk.node(schema, value, old);
    walk.errors
}

/// What is said instead of rules that would meet values of the wrong type.
pub(super) fn skipped() -> FieldError {
    FieldError::new(
        ErrorKind::Invalid,
        FieldPath::default(),
        "some validation rules were not checked because the object was invalid; correct the existing errors \
         to complete validation",
    )
}

struct RuleWalk<'r> {
    runner: &'r dyn RuleRunner,
    path: FieldPath,
    errors: Vec<FieldError>,
}

impl RuleWalk<'_> {
    fn node(&mut self, schema: SchemaRef<'_>, value: &Value, old: Option<&Value>) {
        if self.path.len() > MAX_VALUE_DEPTH || value.is_null() || old.is_some_and(|old| old == value) {
            return;
        }
        let rules = &schema.node().extras().validations;
        if !rules.is_empty() {
            for failure in self.runner.run(schema, rules, value, old) {
                if let Some(rule) = rules.get(failure.rule) {
                    self.report(rule, failure, value);
                }
            }
        }
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    if let Some(field) = schema.property(name).or_else(|| schema.additional()) {
                        self.below(Segment::Field(name.clone()), field, value, old.and_then(|o| o.get(name)));
                    }
                }
            }
            Value::Array(items) => {
                let Some(item) = schema.item() else { return };
                let before = Correlation::new(schema, old);
                for (at, value) in items.iter().enumerate() {
                    self.below(Segment::Index(at), item, value, before.of(schema, value));
                }
            }
            _ => {}
        }
    }

    fn below(&mut self, step: Segment, schema: SchemaRef<'_>, value: &Value, old: Option<&Value>) {
        self.path.push(step);
        self.node(schema, value, old);
        self.path.pop();
    }

    fn report(&mut self, rule: &ValidationRule, failure: RuleFailure, value: &Value) {
        let mut path = self.path.clone();
        if let Some(below) = &rule.field_path {
            for segment in relative(below) {
                path.push(segment);
            }
        }
        if failure.internal {
            let message = failure.message.unwrap_or_else(|| format!("rule {} failed", rule.rule));
            self.errors.push(FieldError::new(ErrorKind::Internal, path, message));
            return;
        }
        let message = failure.message.or_else(|| rule.message.clone()).filter(|text| !text.trim().is_empty());
        let message = message.unwrap_or_else(|| format!("failed rule: {}", rule.rule.trim()));
        let kind = rule.reason.as_deref().map_or(ErrorKind::Invalid, ErrorKind::from_rule_reason);
        // A whole object in a message helps nobody; Kubernetes shows its type.
        let shown = match value {
            Value::Object(_) => json!("object"),
            Value::Array(_) => json!("array"),
            scalar => scalar.clone(),
        };
        self.errors.push(FieldError::with_value(kind, path, shown, message));
    }
}

/// `.spec.x` or `['a.b']` relative to a node.
fn relative(path: &str) -> Vec<Segment> {
    match crate::jsonpath::JsonPath::compile(path) {
        Ok(path) => path.plain_fields().unwrap_or_default().into_iter().map(Segment::Field).collect(),
        Err(_) => vec![Segment::Field(path.trim_start_matches('.').to_owned())],
    }
}
