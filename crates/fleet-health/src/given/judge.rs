//! Judging an object by rules that people gave.

use fleet_cel::CelErrorKind;
use serde_json::{Map, Value};

use super::read::says_healthy;
use super::{HealthRules, OfKind, Rule};
use crate::conditions::one_line;
use crate::view::View;
use crate::{Health, HealthStatus};

impl HealthRules {
    /// The verdict of the rules for an object's kind, if some were given and have one.
    pub(crate) fn judge(&self, view: &View<'_>) -> Option<Health> {
        if self.0.is_empty() {
            return None;
        }
        match self.0.get(&(view.group.to_owned(), view.kind.to_owned()))? {
            OfKind::Unusable(error) => Some(Health::unknown("RulesUnusable", one_line(&error.to_string()))),
            OfKind::Usable { source, rules, .. } => judge(view, source, rules),
        }
    }
}

fn judge(view: &View<'_>, source: &str, rules: &[Rule]) -> Option<Health> {
    let none = Value::Object(Map::new());
    let part = |name: &str| view.at(&[name]).unwrap_or(&none);
    let conditions = conditions(view);
    let variables: [(&str, &Value); 5] = [
        ("object", view.object()),
        ("metadata", part("metadata")),
        ("spec", part("spec")),
        ("status", part("status")),
        ("conditions", &conditions),
    ];
    let mut missing = None;
    for (at, rule) in rules.iter().enumerate() {
        match rule.when.evaluate_bool(&variables) {
            Ok(true) => return Some(verdict(rule, &variables)),
            Ok(false) => {}
            // What isn't reported yet: the rule doesn't hold yet.
            Err(error) if error.kind == CelErrorKind::Missing => {
                missing.get_or_insert_with(|| format!("; rules[{at}].when: {error}"));
            }
            Err(error) => {
                let message = format!("health rules {source}: rules[{at}].when fails: {error}");
                return Some(Health::unknown("RuleFailed", one_line(&message)));
            }
        }
    }
    says_healthy(rules).then(|| {
        let message = format!("no health rule of {source} holds yet{}", missing.unwrap_or_default());
        Health::progressing("NoRuleHolds", one_line(&message))
    })
}

fn verdict(rule: &Rule, variables: &[(&str, &Value)]) -> Health {
    let message = match rule.message.render(variables) {
        Ok(Value::String(text)) if !text.is_empty() => one_line(&text),
        Ok(Value::Number(number)) => number.to_string(),
        Ok(Value::Bool(answer)) => answer.to_string(),
        // The verdict stands without its message.
        Err(error) if rule.status != HealthStatus::Healthy => {
            format!("{}; its message can't be made: {}", rule.reason, one_line(&error.to_string()))
        }
        _ => rule.reason.clone(),
    };
    Health::new(rule.status, rule.reason.clone(), message)
}

/// The conditions of a status by their type; the first of a type counts.
fn conditions(view: &View<'_>) -> Value {
    let mut map = Map::new();
    for item in view.list(&["status", "conditions"]) {
        if let Some(kind) = item.get("type").and_then(Value::as_str) {
            map.entry(kind).or_insert_with(|| item.clone());
        }
    }
    Value::Object(map)
}
