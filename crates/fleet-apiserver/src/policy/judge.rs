//! The judgement: what a policy says of one write.

use fleet_cel::{Authorizer, CelErrorKind, Session};
use serde_json::Value;

use super::compiled::{Policy, Validation};
use super::review::Facts;

/// What all expressions of a policy may cost for one binding and one parameter; Kubernetes' figure, as is the next.
const BUDGET: u64 = 10_000_000;
/// What its match conditions may cost.
const CONDITIONS_BUDGET: u64 = BUDGET / 4;
/// The longest message that an expression makes.
const MESSAGE: usize = 5 << 10;

/// Why a write is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Denial {
    pub(super) message: String,
    pub(super) reason: Option<String>,
}

impl Denial {
    pub(super) fn new(message: String) -> Self {
        Self { message, reason: None }
    }
}

/// Judges; nothing is denied where the list is empty.
pub(super) fn judge(
    policy: &Policy,
    facts: &Facts,
    params: &Value,
    authorizer: &dyn Authorizer,
) -> Vec<Denial> {
    let variables = [
        ("object", &facts.object),
        ("oldObject", &facts.old),
        ("request", &facts.request),
        ("namespaceObject", &facts.namespace),
        ("params", params),
    ];
    // What isn't there can't be judged.
    let failed = |message: String| if policy.fails_closed { Some(Denial::new(message)) } else { None };
    match is_meant(policy, &variables, facts, authorizer) {
        Ok(true) => {}
        Ok(false) => return Vec::new(),
        Err(why) => return failed(why).into_iter().collect(),
    }
    let mut session = Session::new(&variables, BUDGET)
        .with_definitions("variables", &policy.variables)
        .with_authorizer(authorizer, facts.question.clone());
    let mut denials = Vec::new();
    for validation in &policy.validations {
        match session.evaluate_bool(&validation.expression) {
            Ok(true) => {}
            Ok(false) => {
                let message = message(validation, &mut session);
                denials.push(Denial { message, reason: validation.reason.clone() });
            }
            Err(error) => {
                let source = validation.expression.source();
                denials.extend(failed(format!("expression '{source}' resulted in error: {error}")));
                if error.kind == CelErrorKind::Limit && session.left() == 0 {
                    denials.extend(failed(
                        "validation failed due to running out of cost budget, no further validation rules will be run"
                            .to_owned(),
                    ));
                    return denials;
                }
            }
        }
    }
    // There is no audit log to write them to; what fails is a mistake of the policy all the same.
    for (key, expression) in &policy.annotations {
        let why = match session.evaluate(expression) {
            Ok(Value::String(_) | Value::Null) => continue,
            Ok(_) => "the value must be a string or null".to_owned(),
            Err(error) => error.to_string(),
        };
        denials.extend(failed(format!(
            "auditAnnotation {key:?}: expression '{}' resulted in error: {why}",
            expression.source()
        )));
    }
    denials
}

/// Whether every match condition holds. One that doesn't decides even over one that can't be judged.
fn is_meant(
    policy: &Policy,
    variables: &[(&str, &Value)],
    facts: &Facts,
    authorizer: &dyn Authorizer,
) -> Result<bool, String> {
    if policy.conditions.is_empty() {
        return Ok(true);
    }
    let mut session =
        Session::new(variables, CONDITIONS_BUDGET).with_authorizer(authorizer, facts.question.clone());
    let mut failed = None;
    for (name, condition) in &policy.conditions {
        match session.evaluate_bool(condition) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => {
                failed.get_or_insert_with(|| format!("matchCondition '{name}' resulted in error: {error}"));
            }
        }
    }
    failed.map_or(Ok(true), Err)
}

/// What is said of a rule that doesn't hold.
fn message<'p>(validation: &'p Validation, session: &mut Session<'p>) -> String {
    let made = validation.message_expression.as_ref().and_then(|program| session.evaluate(program).ok());
    let made = made.as_ref().and_then(Value::as_str).map(str::trim);
    if let Some(made) = made.filter(|made| !made.is_empty() && made.len() <= MESSAGE && !made.contains('\n'))
    {
        return made.to_owned();
    }
    match &validation.message {
        Some(message) if !message.trim().is_empty() => message.trim().to_owned(),
        _ => format!("failed expression: {}", validation.expression.source()),
    }
}
