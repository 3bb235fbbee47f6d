//! A cluster behind its faults, as a tower service.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use serde_json::json;
use tokio::sync::watch;

use super::{Fault, Faults, FaultyBody, State};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A service with the faults of its cluster before it.
#[derive(Debug, Clone)]
pub struct Faulty<S> {
    service: S,
    faults: Faults,
}

impl<S> Faulty<S> {
    pub(super) fn new(service: S, faults: Faults) -> Self {
        Self { service, faults }
    }
}

/// What a client sees of a connection that ended under it.
pub(super) fn reset() -> BoxError {
    Box::new(std::io::Error::new(std::io::ErrorKind::ConnectionReset, "connection reset by peer"))
}

impl<S, R, B> tower::Service<Request<R>> for Faulty<S>
where
    S: tower::Service<Request<R>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    R: Send + 'static,
    B: http_body::Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<FaultyBody<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.service.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let (mut service, faults) = (self.service.clone(), self.faults.clone());
        Box::pin(async move {
            let watches = request.uri().query().is_some_and(|query| query.contains("watch="));
            let question = format!("{} {}", request.method(), request.uri().path());
            let number = faults.number(&question);
            let mut states = faults.subscribe();
            let state = *states.borrow_and_update();
            let chance = state.weather.chance(&question, number);
            up(&mut states).await?;
            let slow = match states.borrow().fault {
                Fault::Slow(by) => by,
                _ => Duration::ZERO,
            };
            if !(slow + chance.late).is_zero() {
                tokio::time::sleep(slow + chance.late).await;
                up(&mut states).await?;
            }
            if chance.lost {
                return Err(reset());
            }
            let fault = states.borrow().fault;
            if let Some(refusal) = refusal(fault, request.method()) {
                return Ok(refusal);
            }
            let answer = service.call(request).await.map_err(Into::into)?;
            // It went down while this was on its way back.
            up(&mut states).await?;
            if chance.unanswered {
                return Err(reset());
            }
            Ok(answer.map(|body| {
                if watches {
                    FaultyBody::watched(body, question, number, states)
                } else {
                    FaultyBody::plain(body)
                }
            }))
        })
    }
}

/// Goes on at once where the cluster answers; else waits until it does, and finds its connection broken.
async fn up(states: &mut watch::Receiver<State>) -> Result<(), BoxError> {
    if states.borrow_and_update().fault != Fault::Down {
        return Ok(());
    }
    let back = states.wait_for(|state| state.fault != Fault::Down).await.is_ok();
    if !back {
        std::future::pending::<()>().await;
    }
    Err(reset())
}

fn refusal<B>(fault: Fault, method: &Method) -> Option<Response<FaultyBody<B>>> {
    let writes = !matches!(*method, Method::GET | Method::HEAD);
    let (code, reason, message) = match fault {
        Fault::Refuse => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "the server is going down"),
        Fault::Full if writes => (
            StatusCode::INSUFFICIENT_STORAGE,
            "InsufficientStorage",
            "database space exceeded: there is no room for this",
        ),
        Fault::Reject if writes && *method != Method::DELETE => (
            StatusCode::FORBIDDEN,
            "Forbidden",
            "admission webhook \"rejects.simulated\" denied the request: everything is rejected",
        ),
        _ => return None,
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16(),
    });
    let mut answer = Response::new(FaultyBody::said(Bytes::from(status.to_string())));
    *answer.status_mut() = code;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Some(answer)
}
