//! Servers whose resource versions go backwards, as one does that was restored from an older copy: what a client hears
//! of them is further back than what it heard before.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body::{Body, Frame, SizeHint};

/// By how much a server's resource versions are behind those of the store. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rewound(Arc<AtomicU64>);

impl Rewound {
    /// Goes back by a third of what clients have heard of.
    pub(crate) fn further(&self, store: u64) {
        let heard = store.saturating_sub(self.behind());
        self.0.fetch_add(heard / 3, Ordering::Relaxed);
    }

    fn behind(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The way to the server.
    pub(crate) fn before<S>(&self, service: S) -> Way<S> {
        Way { service, rewound: self.clone() }
    }
}

/// A service whose resource versions are shifted.
#[derive(Debug, Clone)]
pub(crate) struct Way<S> {
    service: S,
    rewound: Rewound,
}

const IN_TEXT: &[u8] = b"\"resourceVersion\":\"";

/// Shifts every resource version that stands in a JSON text; "0" and "" mean something else.
fn shifted(text: &[u8], by: impl Fn(u64) -> u64) -> Bytes {
    let mut out = Vec::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(at) = rest.windows(IN_TEXT.len()).position(|window| window == IN_TEXT) {
        let (before, after) = rest.split_at(at + IN_TEXT.len());
        let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, after) = after.split_at(digits);
        out.extend_from_slice(before);
        match std::str::from_utf8(number).ok().and_then(|number| number.parse::<u64>().ok()) {
            Some(number) if number > 0 => out.extend_from_slice(by(number).to_string().as_bytes()),
            _ => out.extend_from_slice(number),
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out.into()
}

fn shifted_query(uri: &Uri, behind: u64) -> Option<Uri> {
    let (path, query) = uri.path_and_query()?.as_str().split_once('?')?;
    let parts = query.split('&').map(|part| match part.strip_prefix("resourceVersion=") {
        Some(number) => match number.parse::<u64>() {
            Ok(number) if number > 0 => format!("resourceVersion={}", number + behind),
            _ => part.to_owned(),
        },
        None => part.to_owned(),
    });
    format!("{path}?{}", parts.collect::<Vec<_>>().join("&")).parse().ok()
}

impl<S, B> tower::Service<Request<kube::client::Body>> for Way<S>
where
    S: tower::Service<Request<kube::client::Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Shifted<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        let Self { mut service, rewound } = self.clone();
        Box::pin(async move {
            let behind = rewound.behind();
            let request = if behind == 0 { request } else { forward(request, behind).await };
            let answer = service.call(request).await?;
            let (mut parts, body) = answer.into_parts();
            // The length may become another one.
            if rewound.behind() > 0 {
                parts.headers.remove(header::CONTENT_LENGTH);
            }
            Ok(Response::from_parts(parts, Shifted { body, rewound }))
        })
    }
}

/// What a client asks about a version that it heard of.
async fn forward(request: Request<kube::client::Body>, behind: u64) -> Request<kube::client::Body> {
    let (mut parts, body) = request.into_parts();
    if let Some(uri) = shifted_query(&parts.uri, behind) {
        parts.uri = uri;
    }
    let body = body.collect_bytes().await.unwrap_or_default();
    let body = shifted(&body, |number| number + behind);
    if parts.headers.contains_key(header::CONTENT_LENGTH) {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    Request::from_parts(parts, kube::client::Body::from(body))
}

/// An answer on its way back; each frame holds whole numbers.
pub(crate) struct Shifted<B> {
    body: B,
    rewound: Rewound,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Shifted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        let behind = self.rewound.behind();
        if behind == 0 {
            return frame;
        }
        frame.map(|frame| {
            frame.map(|frame| {
                frame.map(|frame| {
                    frame.map_data(|data| shifted(&data, |number| number.saturating_sub(behind).max(1)))
                })
            })
        })
    }

    fn size_hint(&self) -> SizeHint {
        if self.rewound.behind() == 0 { self.body.size_hint() } else { SizeHint::default() }
    }
}
