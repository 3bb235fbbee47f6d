//! Placeholders in stages: `${now}`, `${podIP}` … by name, `${/spec/accessModes}` by place in the object.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::names::{address, external};
use crate::object::{list, name, namespace, stamp, text, uid};
use crate::settings::Moment;

/// What placeholders stand for.
pub(super) struct Values<'a> {
    object: &'a Value,
    named: BTreeMap<&'a str, String>,
}

impl<'a> Values<'a> {
    pub(super) fn of(object: &'a Value, moment: Moment<'_>) -> Self {
        let containers: Vec<&str> =
            list(object, "/spec/containers").iter().map(|one| text(one, "/name")).collect();
        let named = BTreeMap::from([
            ("now", stamp(moment.now)),
            ("name", name(object).to_owned()),
            ("uid", uid(object).to_owned()),
            ("pod", format!("{}_{}({})", name(object), namespace(object), uid(object))),
            ("containers", containers.join(" ")),
            ("hostIP", "172.18.0.2".to_owned()),
            ("podIP", address([10, 244], &[uid(object)], 0).to_string()),
            ("externalIP", external(&[uid(object)]).to_string()),
            ("qos", quality(object).to_owned()),
        ]);
        Self { object, named }
    }

    /// The same values and some more.
    pub(super) fn with(&self, more: &[(&'a str, &str)]) -> Values<'a> {
        let mut named = self.named.clone();
        named.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Values { object: self.object, named }
    }

    /// Fills a tree. A placeholder that stands alone may become any value; one for nothing becomes null.
    pub(super) fn fill(&self, tree: &Value) -> Value {
        match tree {
            Value::String(text) => match text.strip_prefix("${/").and_then(|rest| rest.strip_suffix('}')) {
                Some(place) => self.object.pointer(&format!("/{place}")).cloned().unwrap_or_default(),
                None => Value::String(self.fill_text(text)),
            },
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), self.fill(value))).collect(),
            other => other.clone(),
        }
    }

    pub(super) fn fill_text(&self, text: &str) -> String {
        let mut filled = text.to_owned();
        for (name, value) in &self.named {
            if filled.contains("${") {
                filled = filled.replace(&format!("${{{name}}}"), value);
            }
        }
        filled
    }
}

/// The quality-of-service class: https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
fn quality(pod: &Value) -> &'static str {
    let containers = list(pod, "/spec/containers");
    let has = |container: &Value, list: &str, resource: &str| {
        container.pointer("/resources").and_then(|all| all.get(list)?.get(resource)).cloned()
    };
    let any = containers.iter().any(|one| {
        ["requests", "limits"]
            .iter()
            .any(|list| ["cpu", "memory"].iter().any(|what| has(one, list, what).is_some()))
    });
    let guaranteed = containers.iter().all(|one| {
        ["cpu", "memory"].iter().all(|what| {
            let limit = has(one, "limits", what);
            limit.is_some() && has(one, "requests", what).is_none_or(|request| Some(request) == limit)
        })
    });
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
