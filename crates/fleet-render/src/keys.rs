//! Which labels and annotations are governed from the hub, and which belong to the member.
//!
//! ```text
//!  rules of people ─┐
//!                   ├─► KeyRules ─► keep: the hub's object without what belongs to members
//!  data/keys.yaml ──┘
//! ```
//!
//! Delivery is server-side apply: what isn't sent stays with whoever wrote it. So all there is to decide is what to leave
//! out, which matters where the hub's object has such a key: it was promoted from a member, or copied from one. It is
//! decided on the hub's object before override policies: who sets a key for one cluster means it.

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::overrides::NamePattern;

const DEFAULTS: &str = include_str!("../data/keys.yaml");

static BUILTIN: LazyLock<KeyRules> = LazyLock::new(|| {
    // The committed data is checked by tests, so there is nobody to report to here.
    let rules: Vec<KeyRule> = serde_saphyr::from_str(DEFAULTS).unwrap_or_default();
    KeyRules { rules: rules.iter().map(Rule::of).collect() }
});

/// Who governs some keys of some kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRule {
    /// What to call it where it is told why a key isn't sent.
    #[serde(default)]
    pub name: String,
    /// The kinds, as `Kind` (core group), `Kind.group`, or `*` for every kind.
    pub kinds: Vec<String>,
    /// Of annotations.
    #[serde(default)]
    pub annotations: KeyOwners,
    /// Of labels.
    #[serde(default)]
    pub labels: KeyOwners,
}

/// Keys by who governs them; `*` stands for any text. `hub` is asked first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyOwners {
    /// They are as the hub says.
    #[serde(default)]
    pub hub: Vec<String>,
    /// They are as the member says; the hub never sends them.
    #[serde(default)]
    pub member: Vec<String>,
}

/// A rule that isn't used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place}: {problem}")]
pub struct KeyRuleError {
    /// Where: `[0].annotations.member[1]`.
    pub place: String,
    /// What is wrong, and what is expected.
    pub problem: String,
}

/// Labels or annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyField {
    /// `metadata.labels`
    Labels,
    /// `metadata.annotations`
    Annotations,
}

impl KeyField {
    /// The field's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Annotations => "annotations",
        }
    }
}

/// A key of the hub's object that isn't sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftKey {
    /// Where it stands.
    pub field: KeyField,
    /// The key.
    pub key: String,
    /// The rule that says so.
    pub rule: String,
}

/// Who governs which keys. Those that no rule names are the hub's.
#[derive(Debug, Clone)]
pub struct KeyRules {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    name: String,
    kinds: Vec<String>,
    annotations: Owners,
    labels: Owners,
}

#[derive(Debug, Clone)]
struct Owners {
    hub: Vec<NamePattern>,
    member: Vec<NamePattern>,
}

impl Rule {
    fn of(given: &KeyRule) -> Self {
        let patterns = |keys: &[String]| keys.iter().map(NamePattern::new).collect();
        let owners =
            |given: &KeyOwners| Owners { hub: patterns(&given.hub), member: patterns(&given.member) };
        Self {
            name: given.name.clone(),
            kinds: given.kinds.clone(),
            annotations: owners(&given.annotations),
            labels: owners(&given.labels),
        }
    }

    fn is_about(&self, group: &str, kind: &str) -> bool {
        self.kinds.iter().any(|wanted| match wanted.split_once('.') {
            _ if wanted == "*" => true,
            Some((wanted_kind, wanted_group)) => wanted_kind == kind && wanted_group == group,
            None => wanted == kind && group.is_empty(),
        })
    }
}

impl KeyRules {
    /// The defaults, which suit the widespread cloud load balancers.
    #[must_use]
    pub fn builtin() -> &'static Self {
        &BUILTIN
    }

    /// People's rules, in their order, before the defaults.
    ///
    /// # Errors
    /// The first kind or key that can't be one.
    pub fn with(given: &[KeyRule]) -> Result<Self, KeyRuleError> {
        for (at, rule) in given.iter().enumerate() {
            check(rule)
                .map_err(|(below, problem)| KeyRuleError { place: format!("[{at}]{below}"), problem })?;
        }
        let rules = given.iter().map(Rule::of).chain(Self::builtin().rules.iter().cloned());
        Ok(Self { rules: rules.collect() })
    }

    /// The rule that leaves a key to the member, by name; none where the hub governs it.
    #[must_use]
    pub fn left_by(&self, group: &str, kind: &str, field: KeyField, key: &str) -> Option<&str> {
        let named = |patterns: &[NamePattern]| patterns.iter().any(|pattern| pattern.matches(key));
        self.rules.iter().filter(|rule| rule.is_about(group, kind)).find_map(|rule| {
            let owners = match field {
                KeyField::Labels => &rule.labels,
                KeyField::Annotations => &rule.annotations,
            };
            if named(&owners.hub) {
                return Some(None);
            }
            named(&owners.member).then_some(Some(rule.name.as_str()))
        })?
    }

    /// Takes the keys out of the hub's object that belong to members, and says which.
    pub fn leave(&self, object: &mut Value) -> Vec<LeftKey> {
        let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let mut left = Vec::new();
        let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return left };
        for field in [KeyField::Labels, KeyField::Annotations] {
            let Some(entries) = metadata.get_mut(field.as_str()).and_then(Value::as_object_mut) else {
                continue;
            };
            let before = entries.len();
            entries.retain(|key, _| match self.left_by(group, &kind, field, key) {
                Some(rule) => {
                    left.push(LeftKey { field, key: key.clone(), rule: rule.to_owned() });
                    false
                }
                None => true,
            });
            if before > 0 && entries.is_empty() {
                metadata.remove(field.as_str());
            }
        }
        left.sort_by(|a, b| (a.field, &a.key).cmp(&(b.field, &b.key)));
        left
    }
}

fn check(rule: &KeyRule) -> Result<(), (String, String)> {
    if rule.kinds.is_empty() {
        return Err((".kinds".to_owned(), "required: Kind, Kind.group, or *".to_owned()));
    }
    for (at, kind) in rule.kinds.iter().enumerate() {
        if kind != "*" && !kind.starts_with(|c: char| c.is_ascii_uppercase()) {
            let problem = format!("expected Kind, Kind.group or *, got {kind:?}; kinds begin with a capital");
            return Err((format!(".kinds[{at}]"), problem));
        }
    }
    let lists = [
        (".annotations.hub", &rule.annotations.hub),
        (".annotations.member", &rule.annotations.member),
        (".labels.hub", &rule.labels.hub),
        (".labels.member", &rule.labels.member),
    ];
    for (place, keys) in lists {
        for (at, key) in keys.iter().enumerate() {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./*".contains(c);
            if key.is_empty() || key.len() > 317 || !key.chars().all(plain) {
                let problem = format!(
                    "expected a key, in which * stands for any text, got {:?}",
                    key.chars().take(80).collect::<String>()
                );
                return Err((format!("{place}[{at}]"), problem));
            }
        }
    }
    if lists.iter().all(|(_, keys)| keys.is_empty()) {
        return Err((
            String::new(),
            "it names no key; give annotations or labels with hub or member".to_owned(),
        ));
    }
    Ok(())
}
