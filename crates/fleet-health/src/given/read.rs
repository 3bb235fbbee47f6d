//! From data to compiled rules.

use std::collections::BTreeMap;

use fleet_cel::{Limits, Program, Template};
use serde_json::Value;

use super::{HealthRules, KindRules, OfKind, Rule, RuleError, RuleSpec};
use crate::HealthStatus;

/// What expressions may read.
const VARIABLES: [&str; 5] = ["conditions", "metadata", "object", "spec", "status"];

/// More rules for one kind are a mistake.
const MAX_RULES: usize = 64;

/// Health is judged at every change of an object, so a rule may cost a tenth of what Kubernetes grants.
fn limits() -> Limits {
    Limits { max_cost: 100_000, max_output: 4096, ..Limits::default() }
}

impl HealthRules {
    /// Compiles rules. Each source is a list of [`KindRules`], with what to call it in messages; the order of the sources
    /// makes no difference.
    ///
    /// What can't be used is returned besides. Objects of a kind whose rules can't be used, or that two entries judge, are
    /// [`HealthStatus::Unknown`]: nothing is called healthy by rules that somebody meant to replace.
    #[must_use]
    pub fn compile<'v>(sources: impl IntoIterator<Item = (&'v str, &'v Value)>) -> (Self, Vec<RuleError>) {
        let mut sources: Vec<(&str, &Value)> = sources.into_iter().collect();
        sources.sort_by_key(|(name, _)| *name);
        let mut kinds: BTreeMap<(String, String), OfKind> = BTreeMap::new();
        let mut errors = Vec::new();
        for (name, value) in sources {
            let at =
                |place: String, problem: String| RuleError { source_name: name.to_owned(), place, problem };
            let Some(items) = value.as_array() else {
                errors
                    .push(at("the whole".to_owned(), "expected a list of kinds with their rules".to_owned()));
                continue;
            };
            for (index, item) in items.iter().enumerate() {
                let read = one(item).map_err(|(place, problem)| at(format!("[{index}]{place}"), problem));
                let Some(key) = key(item) else {
                    errors.extend(read.err());
                    continue;
                };
                let taken = kinds.get(&key).map(|other| match other {
                    OfKind::Usable { source, .. } => source.clone(),
                    OfKind::Unusable(error) => format!("{} {}", error.source_name, error.place),
                });
                let made = match (read, taken) {
                    (Err(error), _) => OfKind::Unusable(error),
                    (Ok(_), Some(other)) => OfKind::Unusable(at(
                        format!("[{index}]"),
                        format!("{} has rules in {other}, too; keep one of them", key.1),
                    )),
                    (Ok(rules), None) => {
                        OfKind::Usable { source: format!("{name} [{index}]"), written: item.clone(), rules }
                    }
                };
                if let OfKind::Unusable(error) = &made {
                    errors.push(error.clone());
                }
                kinds.insert(key, made);
            }
        }
        (Self(kinds), errors)
    }

    /// Whether rules were given for a kind; then its objects are needed whole to judge them.
    #[must_use]
    pub fn judge_kind(&self, api_version: &str, kind: &str) -> bool {
        self.of(api_version, kind).is_some()
    }

    /// Whether objects of a kind are judged by these rules as by others.
    #[must_use]
    pub fn judge_alike(&self, others: &Self, api_version: &str, kind: &str) -> bool {
        match (self.of(api_version, kind), others.of(api_version, kind)) {
            (None, None) => true,
            (
                Some(OfKind::Usable { source, written, .. }),
                Some(OfKind::Usable { source: other, written: there, .. }),
            ) => (source, written) == (other, there),
            (Some(OfKind::Unusable(error)), Some(OfKind::Unusable(other))) => error == other,
            _ => false,
        }
    }

    fn of(&self, api_version: &str, kind: &str) -> Option<&OfKind> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.0.get(&(group.to_owned(), kind.to_owned()))
    }

    /// Whether none were given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The kind that an entry is about, however wrong the rest of it is.
fn key(item: &Value) -> Option<(String, String)> {
    let text = |name: &str| item.get(name).and_then(Value::as_str);
    Some((
        text("group").unwrap_or_default().to_owned(),
        text("kind").filter(|kind| !kind.is_empty())?.to_owned(),
    ))
}

/// The rules of one entry, or where it is wrong and how.
fn one(item: &Value) -> Result<Vec<Rule>, (String, String)> {
    let here = |place: &str, problem: &str| (place.to_owned(), problem.to_owned());
    let spec: KindRules = serde::Deserialize::deserialize(item)
        .map_err(|error: serde_json::Error| (String::new(), error.to_string()))?;
    if spec.kind.is_empty() {
        return Err(here(".kind", "required: expected a kind, such as Certificate"));
    }
    if spec.group.contains('/') {
        return Err(here(
            ".group",
            "expected a group without a version: rules hold for every version of the kind",
        ));
    }
    if spec.rules.is_empty() || spec.rules.len() > MAX_RULES {
        return Err((
            ".rules".to_owned(),
            format!("expected 1 to {MAX_RULES} rules, got {}", spec.rules.len()),
        ));
    }
    spec.rules.iter().enumerate().map(|(at, rule)| compile(at, rule)).collect()
}

fn compile(at: usize, spec: &RuleSpec) -> Result<Rule, (String, String)> {
    let place = |field: &str| format!(".rules[{at}].{field}");
    let when = Program::compile(&spec.when, &limits()).map_err(|error| (place("when"), error.to_string()))?;
    known(when.variables()).map_err(|problem| (place("when"), problem))?;
    let message = Template::compile(&Value::String(spec.message.clone()), &limits())
        .map_err(|error| (place("message"), error.to_string()))?;
    known(message.variables()).map_err(|problem| (place("message"), problem))?;
    let word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_uppercase()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let reason = match spec.reason.as_str() {
        "" => spec.status.to_string(),
        reason if word(reason) => reason.to_owned(),
        reason => return Err((place("reason"), format!("expected a CamelCase word, got {reason:?}"))),
    };
    Ok(Rule { when, status: spec.status, reason, message })
}

fn known<'p>(variables: impl Iterator<Item = &'p str>) -> Result<(), String> {
    for variable in variables {
        if !VARIABLES.contains(&variable) {
            return Err(format!("there is no {variable}; expressions see {}", VARIABLES.join(", ")));
        }
    }
    Ok(())
}

/// Whether rules can say that an object is well; then nothing else may.
pub(super) fn says_healthy(rules: &[Rule]) -> bool {
    rules.iter().any(|rule| rule.status == HealthStatus::Healthy)
}
