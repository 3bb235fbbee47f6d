//! What puts a policy into force: where, and what follows from a denial.

use std::collections::BTreeSet;

use fleet_json::LabelSelector;
use serde_json::Value;

use super::matching::Matcher;
use super::{list, text};
use crate::object::ObjectExt;

/// What follows from a denial. Audit is taken and has nowhere to be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Deny,
    Warn,
    Audit,
}

/// A binding, read.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) policy: String,
    pub(super) actions: BTreeSet<Action>,
    pub(super) matcher: Option<Matcher>,
    pub(super) params: Option<ParamRef>,
}

/// Which objects are a policy's parameters.
#[derive(Debug)]
pub(super) struct ParamRef {
    pub(super) name: Option<String>,
    pub(super) selector: Option<LabelSelector>,
    pub(super) namespace: String,
    /// Whether a write is refused where there are none.
    pub(super) deny_without: bool,
}

impl Binding {
    /// Reads a binding; one that can't be read matches everything, so that nothing passes what it was to hold back.
    pub(super) fn read(object: &Value) -> Self {
        let actions = list(object, "/spec/validationActions").iter().filter_map(Value::as_str);
        let actions = actions.filter_map(|action| match action {
            "Deny" => Some(Action::Deny),
            "Warn" => Some(Action::Warn),
            "Audit" => Some(Action::Audit),
            _ => None,
        });
        let matcher = object.pointer("/spec/matchResources").filter(|value| value.is_object());
        let params = object.pointer("/spec/paramRef").filter(|value| value.is_object());
        Self {
            name: object.name().to_owned(),
            policy: text(object, "/spec/policyName").to_owned(),
            actions: actions.collect(),
            matcher: matcher.and_then(|value| Matcher::read(value).ok()),
            params: params.map(|value| ParamRef {
                name: value.get("name").and_then(Value::as_str).map(str::to_owned),
                selector: value.get("selector").and_then(|selector| LabelSelector::from_json(selector).ok()),
                namespace: text(value, "/namespace").to_owned(),
                deny_without: text(value, "/parameterNotFoundAction") != "Allow",
            }),
        }
    }
}
