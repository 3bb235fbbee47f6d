//! Ingresses: the default class where none is named, then an address.

use serde_json::json;

use crate::object::{annotation, deleting, name, text};
use crate::seed::DEFAULT_CLASS;
use crate::settings::Moment;
use crate::world::Held;
use crate::{Decision, Kind, stages};

/// The annotation that named the class before there was a field.
const OLD_CLASS: &str = "kubernetes.io/ingress.class";

/// What an Ingress does next, given the member's classes.
#[must_use]
pub fn next(ingress: &Held, classes: &[&Held], moment: Moment<'_>) -> Decision {
    let mut decision = Decision::default();
    let value = &ingress.value;
    if deleting(value) {
        return decision;
    }
    let class = text(value, "/spec/ingressClassName");
    if class.is_empty() && annotation(value, OLD_CLASS).is_none() {
        let default = classes.iter().find(|class| annotation(&class.value, DEFAULT_CLASS) == Some("true"));
        // Nobody serves an Ingress without a class.
        let Some(default) = default else { return decision };
        decision.patch(Kind::Ingress, value, json!({ "spec": { "ingressClassName": name(&default.value) } }));
    }
    stages::next(Kind::Ingress, ingress, moment, &mut decision);
    decision
}
