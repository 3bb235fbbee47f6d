//! One rule of a role.

use serde::{Deserialize, Deserializer, Serialize};

use super::Attributes;

const ALL: &str = "*";

/// `rules[]` of a Role or ClusterRole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rule {
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub(crate) api_groups: Vec<String>,
    #[serde(
        rename = "nonResourceURLs",
        deserialize_with = "null_is_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(crate) non_resource_urls: Vec<String>,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub(crate) resource_names: Vec<String>,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub(crate) resources: Vec<String>,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) verbs: Vec<String>,
}

fn null_is_empty<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|one| one == ALL || one == wanted)
}

fn has_each(list: &[String], wanted: &[String]) -> bool {
    list.iter().any(|one| one == ALL) || wanted.iter().all(|one| list.contains(one))
}

/// Whether one of the rule's paths holds this one; a trailing `*` stands for any rest.
fn covers_path(list: &[String], wanted: &str) -> bool {
    list.iter().any(|one| {
        one == ALL || one == wanted || one.strip_suffix('*').is_some_and(|head| wanted.starts_with(head))
    })
}

impl Rule {
    /// Whether the rule alone allows it.
    pub(crate) fn allows(&self, wanted: &Attributes<'_>) -> bool {
        if !has(&self.verbs, wanted.verb) {
            return false;
        }
        if !wanted.path.is_empty() {
            return covers_path(&self.non_resource_urls, wanted.path);
        }
        has(&self.api_groups, wanted.group)
            && self.resources.iter().any(|one| names(one, wanted.resource, wanted.subresource))
            && (self.resource_names.is_empty() || self.resource_names.iter().any(|one| one == wanted.name))
    }

    /// Whether whoever has this rule has everything that the other one gives. `false` may also mean that it takes
    /// several rules together.
    pub(crate) fn covers(&self, other: &Rule) -> bool {
        if !has_each(&self.verbs, &other.verbs) {
            return false;
        }
        let paths = other.non_resource_urls.iter().all(|one| covers_path(&self.non_resource_urls, one));
        let is_resource = !other.resources.is_empty() || !other.api_groups.is_empty();
        if !is_resource {
            return paths;
        }
        let named = self.resource_names.is_empty()
            || (!other.resource_names.is_empty()
                && other.resource_names.iter().all(|one| self.resource_names.contains(one)));
        paths
            && named
            && has_each(&self.api_groups, &other.api_groups)
            && other.resources.iter().all(|one| self.covers_resource(one))
    }

    fn covers_resource(&self, wanted: &str) -> bool {
        self.resources.iter().any(|own| {
            own == ALL
                || own == wanted
                || own
                    .strip_prefix("*/")
                    .is_some_and(|sub| wanted.split_once('/').is_some_and(|(_, wanted)| wanted == sub))
        })
    }

    /// How many single rights [`Self::single`] would give.
    pub(crate) fn breadth(&self) -> usize {
        let times = |counts: [usize; 4]| counts.into_iter().fold(1, usize::saturating_mul);
        let resources = times([
            self.verbs.len(),
            self.api_groups.len(),
            self.resources.len(),
            self.resource_names.len().max(1),
        ]);
        resources.saturating_add(self.verbs.len().saturating_mul(self.non_resource_urls.len()))
    }

    /// The rule as rules with one entry per list each.
    pub(crate) fn single(&self) -> impl Iterator<Item = Rule> + '_ {
        let one = |text: &String| vec![text.clone()];
        let resources = self.api_groups.iter().flat_map(move |group| {
            self.resources.iter().flat_map(move |resource| {
                let names: Vec<Vec<String>> = match self.resource_names.as_slice() {
                    [] => vec![Vec::new()],
                    names => names.iter().map(one).collect(),
                };
                names.into_iter().flat_map(move |name| {
                    self.verbs.iter().map(move |verb| Rule {
                        verbs: one(verb),
                        api_groups: one(group),
                        resources: one(resource),
                        resource_names: name.clone(),
                        ..Rule::default()
                    })
                })
            })
        });
        let paths = self.non_resource_urls.iter().flat_map(move |path| {
            self.verbs.iter().map(move |verb| Rule {
                verbs: one(verb),
                non_resource_urls: one(path),
                ..Rule::default()
            })
        });
        resources.chain(paths)
    }
}

/// Whether a rule's entry names this resource: `pods`, `pods/log`, `*/scale` or `*`.
fn names(entry: &str, resource: &str, subresource: &str) -> bool {
    if entry == ALL {
        return true;
    }
    match (entry.split_once('/'), subresource) {
        (None, "") => entry == resource,
        (Some((kind, sub)), wanted) if !wanted.is_empty() => {
            sub == wanted && (kind == ALL || kind == resource)
        }
        _ => false,
    }
}

/// As Kubernetes prints a rule in refusals.
impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lists = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let quoted = |list: &[String]| {
            let words: Vec<String> = list.iter().map(|word| format!("{word:?}")).collect();
            words.join(" ")
        };
        let parts: Vec<String> = lists
            .iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| format!("{name}:[{}]", quoted(list)))
            .collect();
        write!(f, "{{{}}}", parts.join(", "))
    }
}
