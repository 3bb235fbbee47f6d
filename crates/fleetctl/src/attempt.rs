//! Server-side apply as a dry run: the whole way of a request, admission included, and nothing is kept.

use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::core::Status;
use serde_json::Value;

use crate::access::Cluster;
use crate::exit::{Failure, Outcome};
use crate::get::catalogue::escape_value;

/// The largest answer that is read.
const LONGEST: usize = 16 * 1024 * 1024;

/// What is tried.
pub(crate) struct Try<'a> {
    /// The object's path on the server.
    pub(crate) path: &'a str,
    /// The object as it would be sent.
    pub(crate) object: &'a Value,
    /// Under which manager.
    pub(crate) manager: &'a str,
    /// Whether fields of other managers are taken.
    pub(crate) force: bool,
}

/// What the server answered.
pub(crate) struct Answer {
    /// The object as it would be.
    pub(crate) object: Value,
    /// The server's warnings.
    pub(crate) warnings: Vec<String>,
}

/// Applies as a dry run. `doing` names it in errors.
///
/// # Errors
/// What the server said, or that it didn't answer.
pub(crate) async fn apply(cluster: &Cluster, doing: &str, what: &Try<'_>) -> Outcome<Answer> {
    let (path, manager, force) = (what.path, escape_value(what.manager), what.force);
    let request = Request::patch(format!("{path}?dryRun=All&force={force}&fieldManager={manager}"))
        .header(http::header::CONTENT_TYPE, "application/apply-patch+yaml")
        .body(Body::from(what.object.to_string().into_bytes()))
        .map_err(|error| Failure::failed(error.to_string()))?;
    cluster.ask(doing, send(cluster, request)).await
}

async fn send(cluster: &Cluster, request: Request<Body>) -> Result<Answer, kube::Error> {
    let answer = cluster.client.send(request).await?;
    let status = answer.status();
    let warnings = answer.headers().get_all(http::header::WARNING).iter();
    let warnings = warnings.filter_map(|value| value.to_str().ok()).filter_map(warning).collect();
    let body = http_body_util::Limited::new(answer.into_body(), LONGEST);
    let bytes = body.collect().await.map_err(kube::Error::Service)?.to_bytes();
    if status.is_success() {
        let object = serde_json::from_slice(&bytes).map_err(kube::Error::SerdeError)?;
        return Ok(Answer { object, warnings });
    }
    let said = serde_json::from_slice::<Status>(&bytes).unwrap_or_else(|_| {
        Status::failure(&String::from_utf8_lossy(&bytes), status.canonical_reason().unwrap_or("Unknown"))
            .with_code(status.as_u16())
    });
    Err(kube::Error::Api(said.boxed()))
}

/// The text of a `Warning` header: `299 - "text"`.
fn warning(header: &str) -> Option<String> {
    let (_, rest) = header.split_once('"')?;
    let (text, _) = rest.rsplit_once('"')?;
    Some(text.replace("\\\"", "\""))
}

#[cfg(test)]
mod tests {
    use super::warning;

    #[test]
    fn warnings_are_read() {
        assert_eq!(warning(r#"299 - "a \"b\" c""#).as_deref(), Some(r#"a "b" c"#));
        assert_eq!(warning("299"), None);
    }
}
