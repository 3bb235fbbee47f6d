//! Paths: which resource, object and subresource a URL names.

use percent_encoding::percent_decode_str;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/`
    Root,
    /// `/version`
    Version,
    /// `/healthz`, `/livez`, `/readyz`, and single checks below them.
    Health,
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/GROUP`
    Group(String),
    /// `/api/v1`, `/apis/GROUP/VERSION`
    Resources { group: String, version: String },
    /// `/openapi/v2`
    OpenApiV2,
    /// `/openapi/v3`
    OpenApiIndex,
    /// `/openapi/v3/…`
    OpenApi(String),
    /// An API resource.
    Resource(ResourcePath),
    /// Anything else.
    Unknown,
}

/// A path below an API group version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resource: String,
    /// Empty for cluster scope and for all namespaces.
    pub(crate) namespace: String,
    /// Empty for a collection.
    pub(crate) name: String,
    /// Empty for the resource itself.
    pub(crate) subresource: String,
    /// The old `/watch/` prefix.
    pub(crate) watch: bool,
}

impl Route {
    /// Takes a URL path apart. Never fails: what can't be understood is [`Route::Unknown`].
    pub(crate) fn parse(path: &str) -> Self {
        let path = path.trim_matches('/');
        let mut parts = path.split('/');
        match (parts.next().unwrap_or_default(), parts.next()) {
            ("", None) => Self::Root,
            ("version", None) => Self::Version,
            ("healthz" | "livez" | "readyz", _) => Self::Health,
            ("api", None) => Self::CoreVersions,
            ("api", Some(version)) => below("", version, parts),
            ("apis", None) => Self::Groups,
            ("apis", Some(group)) => match parts.next() {
                None => Self::Group(group.to_owned()),
                Some(version) => below(group, version, parts),
            },
            ("openapi", Some("v2")) => Self::OpenApiV2,
            ("openapi", Some("v3")) => match path.get("openapi/v3/".len()..) {
                None | Some("") => Self::OpenApiIndex,
                Some(rest) => Self::OpenApi(rest.to_owned()),
            },
            _ => Self::Unknown,
        }
    }
}

fn below<'a>(group: &str, version: &str, parts: impl Iterator<Item = &'a str>) -> Route {
    let mut decoded = Vec::with_capacity(6);
    for part in parts {
        match percent_decode_str(part).decode_utf8() {
            Ok(text) => decoded.push(text.into_owned()),
            Err(_) => return Route::Unknown,
        }
    }
    let (group, version) = (group.to_owned(), version.to_owned());
    let watch = decoded.first().is_some_and(|first| first == "watch");
    let mut parts = decoded.into_iter().skip(usize::from(watch));
    let Some(first) = parts.next().filter(|first| !first.is_empty()) else {
        return Route::Resources { group, version };
    };
    let mut path = ResourcePath { group, version, watch, ..ResourcePath::default() };
    let rest: Vec<String> = parts.collect();
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    // `namespaces/NAME/status` is a Namespace's subresource, `namespaces/NAME/pods` a resource inside it.
    let tail = match (first.as_str(), rest.as_slice()) {
        ("namespaces", [_, "status" | "finalize", ..]) => rest,
        ("namespaces", [namespace, resource, tail @ ..]) => {
            path.namespace = (*namespace).to_owned();
            path.resource = (*resource).to_owned();
            tail.to_vec()
        }
        _ => rest,
    };
    if path.resource.is_empty() {
        path.resource = first;
    }
    let mut tail = tail.into_iter();
    path.name = tail.next().unwrap_or_default().to_owned();
    path.subresource = tail.collect::<Vec<_>>().join("/");
    // What is proxied to keeps its own path; the subresource is only the first word.
    if let Some(("proxy", _)) = path.subresource.split_once('/') {
        path.subresource.truncate("proxy".len());
    }
    Route::Resource(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(path: &str) -> ResourcePath {
        match Route::parse(path) {
            Route::Resource(path) => path,
            other => panic!("{path} is {other:?}"),
        }
    }

    #[test]
    fn objects_in_a_namespace_are_told_from_the_namespace_itself() {
        let pod = resource("/api/v1/namespaces/a/pods/b/status");
        assert_eq!(
            (&*pod.resource, &*pod.namespace, &*pod.name, &*pod.subresource),
            ("pods", "a", "b", "status")
        );
        let namespace = resource("/api/v1/namespaces/a");
        assert_eq!((&*namespace.resource, &*namespace.namespace, &*namespace.name), ("namespaces", "", "a"));
        let finalize = resource("/api/v1/namespaces/a/finalize");
        assert_eq!(
            (&*finalize.resource, &*finalize.name, &*finalize.subresource),
            ("namespaces", "a", "finalize")
        );
    }

    #[test]
    fn every_document_has_its_route() {
        for (path, route) in [
            ("/", Route::Root),
            ("/version/", Route::Version),
            ("/livez/ping", Route::Health),
            ("/api", Route::CoreVersions),
            ("/apis", Route::Groups),
            ("/apis/apps", Route::Group("apps".into())),
            ("/apis/apps/v1", Route::Resources { group: "apps".into(), version: "v1".into() }),
            ("/openapi/v3", Route::OpenApiIndex),
            ("/openapi/v3/apis/apps/v1", Route::OpenApi("apis/apps/v1".into())),
            ("/nowhere", Route::Unknown),
        ] {
            assert_eq!(Route::parse(path), route, "{path}");
        }
    }

    #[test]
    fn names_are_percent_decoded_and_old_watch_paths_are_known() {
        assert_eq!(
            resource("/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode").name,
            "system:node"
        );
        let watch = resource("/api/v1/watch/namespaces/a/pods");
        assert!(watch.watch && watch.namespace == "a" && watch.resource == "pods");
    }
}
