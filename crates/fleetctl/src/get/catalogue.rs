//! What a cluster serves: its resource types.

use http::Request;
use serde_json::Value;

use crate::access::Cluster;
use crate::exit::{Failure, Outcome};

/// The form in which every type comes with two requests; servers that don't know it answer in the old one.
const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// One resource type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Type {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
}

impl Type {
    /// Group and version, as in manifests.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The path of a list, or of one object.
    pub(crate) fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let mut path = match self.group.as_str() {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        };
        if let Some(namespace) = namespace.filter(|_| self.namespaced) {
            path.push_str(&format!("/namespaces/{}", escape(namespace)));
        }
        path.push('/');
        path.push_str(&self.plural);
        if let Some(name) = name {
            path.push('/');
            path.push_str(&escape(name));
        }
        path
    }

    /// `deployment.apps`, as kubectl names an object's type in front of its name.
    pub(crate) fn prefix(&self) -> String {
        let singular = self.kind.to_lowercase();
        if self.group.is_empty() { singular } else { format!("{singular}.{}", self.group) }
    }

    /// `deployments.apps`, as servers name the type of what isn't there.
    pub(crate) fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    fn is_named(&self, word: &str) -> bool {
        let (resource, rest) = word.split_once('.').unwrap_or((word, ""));
        let named = self.plural == resource
            || self.singular == resource
            || self.kind.to_lowercase() == resource
            || self.short_names.iter().any(|short| short == resource);
        // `deployments.apps`, `deployments.v1.apps`, and groups cut short as kubectl allows: `cronjobs.batch`.
        let fits = rest.is_empty()
            || self.group == rest
            || rest
                .split_once('.')
                .map_or(rest == self.version && self.group.is_empty(), |(version, group)| {
                    version == self.version && group == self.group
                })
            || self.group.strip_prefix(rest).is_some_and(|tail| tail.starts_with('.'));
        named && fits
    }
}

/// A path segment. Names are DNS names; whatever else was typed must not change the path.
fn escape(segment: &str) -> String {
    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                out.push(char::from(byte))
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    // A segment of dots alone would be a step upwards.
    if out.bytes().all(|byte| byte == b'.') { out.replace('.', "%2E") } else { out }
}

/// A query's value.
pub(crate) fn escape_value(value: &str) -> String {
    escape(value)
}

/// All types, core ones first, the preferred version of each group first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalogue(Vec<Type>);

impl Catalogue {
    pub(crate) async fn load(cluster: &Cluster) -> Outcome<Self> {
        let mut types = Vec::new();
        for root in ["/api", "/apis"] {
            let answer = get(cluster, root, AGGREGATED).await?;
            if answer.get("kind").and_then(Value::as_str) == Some("APIGroupDiscoveryList") {
                types.extend(aggregated(&answer));
            } else {
                types.extend(plain(cluster, root, &answer).await?);
            }
        }
        Ok(Self(types))
    }

    /// All of them.
    pub(crate) fn types(&self) -> &[Type] {
        &self.0
    }

    /// The type of a kind in one version.
    pub(crate) fn of(&self, id: &fleet_api::ObjectId) -> Option<&Type> {
        self.0.iter().find(|type_| {
            (type_.group.as_str(), type_.version.as_str(), &type_.kind)
                == (id.group(), id.version(), &id.kind)
        })
    }

    /// The types of a word: one, or all of a category such as `all`.
    pub(crate) fn find(&self, word: &str) -> Outcome<Vec<&Type>> {
        let lower = word.to_lowercase();
        if let Some(found) = self.0.iter().find(|type_| type_.is_named(&lower)) {
            return Ok(vec![found]);
        }
        let mut of_category: Vec<&Type> = Vec::new();
        for type_ in self.0.iter().filter(|type_| type_.categories.contains(&lower)) {
            if !of_category.iter().any(|known| (&known.group, &known.plural) == (&type_.group, &type_.plural))
            {
                of_category.push(type_);
            }
        }
        if !of_category.is_empty() {
            return Ok(of_category);
        }
        let known: Vec<&str> = self.0.iter().flat_map(|t| [t.plural.as_str(), t.singular.as_str()]).collect();
        let advice = crate::nearest::advice(&lower, &known, "types");
        let advice = if advice.starts_with("; did") {
            advice
        } else {
            "; fleetctl get takes what kubectl api-resources lists".to_owned()
        };
        Err(Failure::not_found(format!("the server doesn't have a resource type {word:?}{advice}")))
    }
}

async fn get(cluster: &Cluster, path: &str, accept: &str) -> Outcome<Value> {
    let request = Request::get(path).header(http::header::ACCEPT, accept).body(Vec::new());
    let request = request.map_err(|error| Failure::failed(error.to_string()))?;
    cluster.ask("the list of resource types", cluster.client.request(request)).await
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn list<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn words(value: &Value, key: &str) -> Vec<String> {
    list(value, key).filter_map(Value::as_str).map(str::to_owned).collect()
}

fn can(resource: &Value, verb: &str) -> bool {
    list(resource, "verbs").any(|v| v.as_str() == Some(verb))
}

fn aggregated(answer: &Value) -> Vec<Type> {
    let mut types = Vec::new();
    for group in list(answer, "items") {
        for version in list(group, "versions") {
            for resource in list(version, "resources").filter(|resource| can(resource, "get")) {
                types.push(Type {
                    group: text(group, "/metadata/name"),
                    version: text(version, "/version"),
                    plural: text(resource, "/resource"),
                    singular: text(resource, "/singularResource").to_lowercase(),
                    kind: text(resource, "/responseKind/kind"),
                    short_names: words(resource, "shortNames"),
                    categories: words(resource, "categories"),
                    namespaced: text(resource, "/scope") == "Namespaced",
                });
            }
        }
    }
    types
}

/// The old form: one request for each group and version.
async fn plain(cluster: &Cluster, root: &str, answer: &Value) -> Outcome<Vec<Type>> {
    let mut versions: Vec<(String, String)> = Vec::new();
    if root == "/api" {
        versions.extend(words(answer, "versions").into_iter().map(|version| (String::new(), version)));
    }
    for group in list(answer, "groups") {
        let preferred = text(group, "/preferredVersion/version");
        let others =
            list(group, "versions").map(|version| text(version, "/version")).filter(|v| *v != preferred);
        let all = std::iter::once(preferred.clone()).chain(others).filter(|version| !version.is_empty());
        versions.extend(all.map(|version| (text(group, "/name"), version)));
    }
    let mut types = Vec::new();
    for (group, version) in versions {
        let path =
            if group.is_empty() { format!("{root}/{version}") } else { format!("{root}/{group}/{version}") };
        let answer = get(cluster, &path, "application/json").await?;
        let resources =
            list(&answer, "resources").filter(|r| can(r, "get") && !text(r, "/name").contains('/'));
        types.extend(resources.map(|resource| Type {
            group: group.clone(),
            version: version.clone(),
            plural: text(resource, "/name"),
            singular: text(resource, "/singularName").to_lowercase(),
            kind: text(resource, "/kind"),
            short_names: words(resource, "shortNames"),
            categories: words(resource, "categories"),
            namespaced: resource.get("namespaced").and_then(Value::as_bool).unwrap_or_default(),
        }));
    }
    Ok(types)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_(group: &str, version: &str, plural: &str, singular: &str, short: &str) -> Type {
        Type {
            group: group.into(),
            version: version.into(),
            plural: plural.into(),
            singular: singular.into(),
            kind: singular.into(),
            short_names: vec![short.into()],
            categories: vec!["all".into()],
            namespaced: true,
        }
    }

    fn catalogue() -> Catalogue {
        Catalogue(vec![
            type_("", "v1", "pods", "pod", "po"),
            type_("apps", "v1", "deployments", "deployment", "deploy"),
            type_("metrics.k8s.io", "v1beta1", "pods", "pod", "-"),
        ])
    }

    /// Scripts use every one of these forms.
    #[test]
    fn types_are_found_as_kubectl_finds_them() {
        let all = catalogue();
        for word in ["deploy", "deployment", "Deployments", "deployments.apps", "deployments.v1.apps"] {
            assert_eq!(all.find(word).unwrap()[0].group, "apps", "{word}");
        }
        assert_eq!(all.find("pods").unwrap()[0].group, "");
        assert_eq!(all.find("pods.metrics.k8s.io").unwrap()[0].group, "metrics.k8s.io");
        assert_eq!(all.find("all").unwrap().len(), 3);
        let failure = all.find("deploymnt").unwrap_err();
        assert!(failure.message.ends_with("did you mean \"deployment\"?"), "{failure}");
    }

    /// A name from the command line must not reach another path.
    #[test]
    fn names_stay_within_their_segment() {
        let pods = type_("", "v1", "pods", "pod", "po");
        assert_eq!(pods.path(Some("a"), Some("b")), "/api/v1/namespaces/a/pods/b");
        assert_eq!(pods.path(Some("../x?y"), Some("..")), "/api/v1/namespaces/..%2Fx%3Fy/pods/%2E%2E");
    }
}
