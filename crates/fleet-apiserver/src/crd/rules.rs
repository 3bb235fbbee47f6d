//! Rules in CEL that objects of custom kinds must follow.

use std::collections::HashMap;

use fleet_cel::{CelError, Limits, Program};
use fleet_schema::validate::{RuleFailure, RuleRunner};
use fleet_schema::{SchemaRef, ValidationRule};
use serde_json::Value;

use crate::status::Cause;

/// How deep a schema is searched for rules; deeper ones are refused before.
const DEPTH: usize = 64;

/// Compiled expressions by their text.
#[derive(Debug, Default)]
pub(crate) struct Rules(HashMap<String, Program>);

impl Rules {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compiles every rule of a definition; what can't be compiled is a cause that names the place.
    pub(crate) fn compile(definition: &Value) -> (Self, Vec<Cause>) {
        let mut rules = Self::default();
        let mut causes = Vec::new();
        let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
        for (at, version) in versions.into_iter().flatten().enumerate() {
            if let Some(schema) = version.pointer("/schema/openAPIV3Schema") {
                let path = format!("spec.versions[{at}].schema.openAPIV3Schema");
                rules.collect(schema, &path, 0, &mut causes);
            }
        }
        (rules, causes)
    }

    fn collect(&mut self, schema: &Value, path: &str, depth: usize, causes: &mut Vec<Cause>) {
        if depth > DEPTH {
            return;
        }
        let validations = schema.get("x-kubernetes-validations").and_then(Value::as_array);
        for (at, rule) in validations.into_iter().flatten().enumerate() {
            for field in ["rule", "messageExpression"] {
                let Some(text) = rule.get(field).and_then(Value::as_str) else { continue };
                if let Err(error) = self.add(text) {
                    let why = format!("Invalid value: {text:?}: compilation failed: {error}");
                    let place = format!("{path}.x-kubernetes-validations[{at}].{field}");
                    causes.push(Cause::field("FieldValueInvalid", place, why));
                }
            }
        }
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            self.collect(property, &format!("{path}.properties[{name}]"), depth + 1, causes);
        }
        for name in ["items", "additionalProperties"] {
            if let Some(below) = schema.get(name).filter(|below| below.is_object()) {
                self.collect(below, &format!("{path}.{name}"), depth + 1, causes);
            }
        }
    }

    fn add(&mut self, text: &str) -> Result<(), CelError> {
        if !self.0.contains_key(text) {
            let program = Program::compile(text, &Limits::default())?;
            self.0.insert(text.to_owned(), program);
        }
        Ok(())
    }

    fn judge(
        &self,
        rule: &ValidationRule,
        at: usize,
        value: &Value,
        old: Option<&Value>,
    ) -> Option<RuleFailure> {
        let failure = |message: Option<String>, internal| Some(RuleFailure { rule: at, message, internal });
        let program = self.0.get(&rule.rule)?;
        if old.is_none()
            && program.variables().any(|name| name == "oldSelf")
            && rule.optional_old_self != Some(true)
        {
            return None;
        }
        let mut variables = vec![("self", value)];
        if let Some(old) = old {
            variables.push(("oldSelf", old));
        }
        match program.evaluate_bool(&variables) {
            Ok(true) => None,
            Ok(false) => {
                let message = rule.message_expression.as_ref().and_then(|text| self.0.get(text));
                let message = message.and_then(|program| program.evaluate(&variables).ok());
                failure(message.as_ref().and_then(Value::as_str).map(str::to_owned), false)
            }
            Err(error) => failure(Some(error.to_string()), true),
        }
    }
}

impl RuleRunner for Rules {
    fn run(
        &self,
        _schema: SchemaRef<'_>,
        rules: &[ValidationRule],
        value: &Value,
        old: Option<&Value>,
    ) -> Vec<RuleFailure> {
        rules.iter().enumerate().filter_map(|(at, rule)| self.judge(rule, at, value, old)).collect()
    }
}
