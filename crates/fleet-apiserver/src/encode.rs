//! Answers: bodies that are whole, streamed or never come, and the responses around them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use serde_json::Value;

use crate::request::accept::Syntax;
use crate::status::ApiError;

/// The body of an answer. Dropping it ends a watch.
pub struct Body(Kind);

enum Kind {
    Whole(Option<Bytes>),
    Streamed(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
}

impl Body {
    /// A body that is there whole.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Whole(Some(bytes.into())))
    }

    /// No body.
    pub fn empty() -> Self {
        Self(Kind::Whole(None))
    }

    /// A body that comes frame by frame.
    pub fn streamed(frames: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self(Kind::Streamed(Box::pin(frames)))
    }

    /// The whole body's bytes; `None` for a stream.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Kind::Whole(bytes) => bytes.as_ref(),
            Kind::Streamed(_) => None,
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Kind::Whole(bytes) => write!(f, "Body({} bytes)", bytes.as_ref().map_or(0, Bytes::len)),
            Kind::Streamed(_) => f.write_str("Body(stream)"),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            Kind::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Streamed(frames) => {
                frames.as_mut().poll_next(context).map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Kind::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Streamed(_) => SizeHint::default(),
        }
    }
}

/// An answer with a body of this type.
pub(crate) fn response(code: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// An answer in JSON from bytes that are JSON already.
pub(crate) fn json_bytes(code: u16, bytes: impl Into<Bytes>) -> Response<Body> {
    response(code, "application/json", Body::whole(bytes))
}

/// An answer in JSON.
pub(crate) fn json(code: u16, value: &Value) -> Response<Body> {
    json_bytes(code, to_bytes(value))
}

/// A refusal.
pub(crate) fn refusal(error: &ApiError) -> Response<Body> {
    let mut response = json(error.code(), &error.to_status());
    let seconds = error.retry_after_seconds();
    if seconds > 0 {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Rewrites a JSON answer as YAML where the client asked for that.
pub(crate) fn in_syntax(answer: Response<Body>, syntax: Syntax) -> Response<Body> {
    let Some(bytes) = answer.body().as_bytes().filter(|_| syntax == Syntax::Yaml) else {
        return answer;
    };
    let Some(text) =
        serde_json::from_slice::<Value>(bytes).ok().and_then(|value| serde_saphyr::to_string(&value).ok())
    else {
        return answer;
    };
    let (mut parts, _) = answer.into_parts();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
    Response::from_parts(parts, Body::whole(text))
}

/// Adds `Warning` headers, each as RFC 9110's warn-code 299 with quoted text.
pub(crate) fn with_warnings(mut answer: Response<Body>, warnings: &[String]) -> Response<Body> {
    for warning in warnings {
        let text: String = warning
            .chars()
            .filter(|c| !c.is_control())
            .flat_map(|c| match c {
                '"' | '\\' => vec!['\\', c],
                _ => vec![c],
            })
            .collect();
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{text}\"").as_bytes()) {
            answer.headers_mut().append(header::WARNING, value);
        }
    }
    answer
}

/// A value's compact JSON.
pub(crate) fn to_bytes(value: &Value) -> Bytes {
    let mut buffer = Vec::with_capacity(1024);
    // Writing a tree of JSON values into memory can't fail: keys are strings, and a Vec takes every byte.
    match serde_json::to_writer(&mut buffer, value) {
        Ok(()) => Bytes::from(buffer),
        Err(_) => Bytes::from_static(b"null"),
    }
}
