//! Which writes a policy or a binding is about.

use std::sync::Arc;

use fleet_json::LabelSelector;
use serde_json::Value;

use super::review::Subject;
use super::{list, text};
use crate::registry::Kind;

/// `matchConstraints` of a policy, `matchResources` of a binding.
#[derive(Debug, Default)]
pub(super) struct Matcher {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    namespaces: Option<LabelSelector>,
    objects: Option<LabelSelector>,
    exact: bool,
}

#[derive(Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    scope: String,
}

/// What rules compare, besides group, version and resource.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) operation: &'a str,
    pub(super) subresource: &'a str,
    pub(super) name: &'a str,
    pub(super) namespaced: bool,
}

impl Matcher {
    /// Reads the constraints; a selector that isn't one is left to `written` to refuse, and matches nothing less.
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        let rules = |at: &str| list(value, at).iter().map(Rule::read).collect();
        let selector = |at: &str| match value.get(at) {
            None | Some(Value::Null) => Ok(None),
            Some(selector) => LabelSelector::from_json(selector)
                .map(|selector| Some(selector).filter(|selector| !selector.is_everything()))
                .map_err(|error| format!("{at}: {error}")),
        };
        Ok(Self {
            rules: rules("/resourceRules"),
            excluded: rules("/excludeResourceRules"),
            namespaces: selector("namespaceSelector")?,
            objects: selector("objectSelector")?,
            exact: text(value, "/matchPolicy") == "Exact",
        })
    }

    /// The kind, in the version by which the write is meant; nothing where it isn't.
    pub(super) fn matches(&self, subject: &Subject<'_>) -> Option<Arc<Kind>> {
        let named = subject.named();
        let versions = subject.versions();
        let versions = if self.exact { versions.get(..1).unwrap_or_default() } else { versions };
        let any = |rules: &[Rule], kind: &Kind| rules.iter().any(|rule| rule.matches(kind, &named));
        if versions.iter().any(|kind| any(&self.excluded, kind)) {
            return None;
        }
        let kind = match self.rules.as_slice() {
            [] => versions.first(),
            rules => versions.iter().find(|kind| any(rules, kind)),
        }?;
        let meant = self.namespaces.as_ref().is_none_or(|selector| subject.namespace_matches(selector))
            && self.objects.as_ref().is_none_or(|selector| subject.labels_match(selector));
        meant.then(|| Arc::clone(kind))
    }
}

impl Rule {
    fn read(value: &Value) -> Self {
        let texts = |at: &str| {
            list(value, at).iter().filter_map(|item| item.as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        Self {
            operations: texts("/operations"),
            groups: texts("/apiGroups"),
            versions: texts("/apiVersions"),
            resources: texts("/resources"),
            names: texts("/resourceNames"),
            scope: text(value, "/scope").to_owned(),
        }
    }

    fn matches(&self, kind: &Kind, named: &Named<'_>) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|item| item == "*" || item == wanted);
        has(&self.groups, kind.group())
            && has(&self.versions, &kind.gvk.version)
            && has(&self.operations, named.operation)
            && self.resources.iter().any(|resource| is_resource(resource, &kind.plural, named.subresource))
            && (self.names.is_empty() || self.names.iter().any(|name| name == named.name))
            && match self.scope.as_str() {
                "Namespaced" => named.namespaced,
                "Cluster" => !named.namespaced,
                _ => true,
            }
    }
}

/// `pods`, `pods/status`, `pods/*`, `*/scale`, `*`, `*/*`
fn is_resource(pattern: &str, plural: &str, subresource: &str) -> bool {
    let (resource, sub) = pattern.split_once('/').unwrap_or((pattern, ""));
    (resource == "*" || resource == plural) && (sub == "*" || sub == subresource)
}

#[cfg(test)]
mod tests {
    use super::is_resource;

    /// A pattern that covers less than it says would let writes pass a policy.
    #[test]
    fn resources_by_pattern() {
        let cases = [
            ("pods", "pods", "", true),
            ("pods", "pods", "status", false),
            ("pods/*", "pods", "status", true),
            ("pods/*", "pods", "", true),
            ("pods/*", "nodes", "status", false),
            ("*/scale", "deployments", "scale", true),
            ("*/scale", "deployments", "", false),
            ("*", "deployments", "", true),
            ("*", "deployments", "scale", false),
            ("*/*", "deployments", "scale", true),
            ("*/*", "deployments", "", true),
        ];
        for (pattern, plural, subresource, expected) in cases {
            assert_eq!(
                is_resource(pattern, plural, subresource),
                expected,
                "{pattern} {plural}/{subresource}"
            );
        }
    }
}
