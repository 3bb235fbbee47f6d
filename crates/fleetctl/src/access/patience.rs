//! Coming back when a server asks for it.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode};
use kube::client::Body;
use kube::client::retry::RetryPolicy;
use tower::BoxError;
use tower::retry::{Policy, Retry};

/// A client that asks again where the server says when to come back (429 or 503 with `Retry-After`, as an API server does
/// while the storage of a new kind begins), while these waits fit into the deadline. Any other answer counts at once.
pub(super) fn patient(client: kube::Client, deadline: Duration) -> kube::Client {
    let (namespace, expires) = (client.default_namespace().to_owned(), *client.valid_until());
    let send = tower::service_fn(move |request: Request<Body>| {
        let client = client.clone();
        async move { client.send(request).await.map_err(BoxError::from) }
    });
    let policy = AsAsked { policy: RetryPolicy::server_retry(), left: deadline };
    kube::Client::new(Retry::new(policy, send), namespace).with_valid_until(expires)
}

/// kube's policy for answers that ask for another try, and for no others.
#[derive(Clone)]
struct AsAsked {
    policy: RetryPolicy,
    /// What may still be waited for one request.
    left: Duration,
}

impl<B> Policy<Request<Body>, Response<B>, BoxError> for AsAsked {
    type Future = tokio::time::Sleep;

    fn retry(
        &mut self,
        request: &mut Request<Body>,
        result: &mut Result<Response<B>, BoxError>,
    ) -> Option<Self::Future> {
        let wait = asked(result.as_ref().ok()?)?;
        self.left = self.left.checked_sub(wait)?;
        self.policy.retry(request, result)
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        Policy::<_, Response<B>, _>::clone_request(&mut self.policy, request)
    }
}

/// How long a server asks to wait; RFC 9110, 10.2.3, in seconds as API servers say it.
fn asked<B>(answer: &Response<B>) -> Option<Duration> {
    if !matches!(answer.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::Instant;

    use super::*;

    /// How often a server is asked that answers with a code and `Retry-After` so often, and how long that takes.
    async fn tries(code: u16, after: Option<&str>, times: usize) -> (usize, u64) {
        let (count, after) = (Arc::new(AtomicUsize::new(0)), after.map(str::to_owned));
        let seen = Arc::clone(&count);
        let server = tower::service_fn(move |_: Request<Body>| {
            let again = seen.fetch_add(1, Ordering::SeqCst) < times;
            let mut answer = Response::builder().status(if again { code } else { 200 });
            if let Some(after) = after.as_ref().filter(|_| again) {
                answer = answer.header(RETRY_AFTER, after);
            }
            async move { Ok::<_, Infallible>(answer.body(Body::from(b"{}".to_vec())).unwrap()) }
        });
        let client = patient(kube::Client::new(server, "default"), Duration::from_secs(30));
        let begun = Instant::now();
        let request = Request::post("/apis").body(Body::from(b"{}".to_vec())).unwrap();
        client.send(request).await.unwrap();
        (count.load(Ordering::SeqCst), begun.elapsed().as_secs())
    }

    /// Broken: right after kinds were installed a command fails that would work a second later; or one hangs, or asks
    /// again, where nobody asked it to come back.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_asks_to_come_back_is_asked_again() {
        assert_eq!(tries(429, Some("1"), 2).await, (3, 2));
        assert_eq!(tries(503, Some("2"), 1).await, (2, 2));
        assert_eq!(tries(429, None, 1).await, (1, 0));
        assert_eq!(tries(500, Some("1"), 1).await, (1, 0));
        assert_eq!(tries(429, Some("31"), 1).await, (1, 0), "longer than the command may take");
        assert_eq!(tries(429, Some("20"), 9).await, (2, 20), "longer than is left");
    }
}
