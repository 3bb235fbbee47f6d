//! Which cluster a path names.

use http::Uri;
use http::uri::PathAndQuery;

use super::HUB;

/// Splits `/clusters/NAME/rest?query` into NAME and `/rest?query`; every other path is the hub's. The name
/// isn't judged here: an unknown one is the handler's to refuse.
pub(super) fn split(uri: Uri) -> (String, Uri) {
    let Some(rest) = uri.path().strip_prefix("/clusters/") else { return (HUB.to_owned(), uri) };
    let (name, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let inner = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let (name, mut parts) = (name.to_owned(), uri.clone().into_parts());
    let Ok(inner) = PathAndQuery::try_from(inner) else { return (HUB.to_owned(), uri) };
    parts.path_and_query = Some(inner);
    match Uri::from_parts(parts) {
        Ok(inner) => (name, inner),
        Err(_) => (HUB.to_owned(), uri),
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    /// A wrong split sends a request to the wrong cluster.
    #[test]
    fn clusters_are_split_off() {
        for (given, cluster, path) in [
            ("/api/v1/pods?watch=1", "hub", "/api/v1/pods?watch=1"),
            ("/clusters/m1/api/v1/pods?labelSelector=a%3Db", "m1", "/api/v1/pods?labelSelector=a%3Db"),
            ("/clusters/m1", "m1", "/"),
            ("/clusters/m1?x=y", "m1", "/?x=y"),
            ("/clusters/m1/", "m1", "/"),
            ("/clusters/m1//api", "m1", "//api"),
            ("/clusters/", "", "/"),
            ("/clusters", "hub", "/clusters"),
            ("/clusters/a%2Fb/api", "a%2Fb", "/api"),
            ("/clusters/m1/clusters/m2/api", "m1", "/clusters/m2/api"),
            ("https://host:1/clusters/m1/api?a", "m1", "https://host:1/api?a"),
        ] {
            let (name, uri) = split(given.parse().unwrap());
            assert_eq!((name.as_str(), uri.to_string().as_str()), (cluster, path), "{given}");
        }
    }
}
