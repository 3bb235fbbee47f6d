//! Traces to a collector, over OTLP (HTTP with protobuf), with the same TLS as everything else.
//!
//! Spans are those of the engine: a turn, a delivery to a target, a request to a member.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

/// How long a collector has to take a batch.
const DEADLINE: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const ANSWER: usize = 64 * 1024;
/// Where collectors take traces (OTLP specification 1.x, "OTLP/HTTP Request").
const PATH: &str = "/v1/traces";

/// What is sent to a collector, until it is ended.
pub(super) struct Traces(SdkTracerProvider);

/// Sends spans to a collector at this base URL, from within a runtime.
///
/// # Errors
/// In words, where the address or the certificates of this machine make no sense.
pub(super) fn traces<S>(endpoint: &str) -> Result<(Box<dyn Layer<S> + Send + Sync>, Traces), String>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let client = Collector::new().map_err(|error| error.to_string())?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}{PATH}", endpoint.trim_end_matches('/')))
        .with_timeout(DEADLINE)
        .build()
        .map_err(|error| error.to_string())?;
    let resource = Resource::builder().with_service_name("fleetctl").build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("fleetctl"));
    // Spans of the engine only: what is below makes too many, and lines are in the log.
    let ours = filter_fn(|about| about.is_span() && about.target().starts_with("fleet_"));
    Ok((spans.with_filter(ours).boxed(), Traces(provider)))
}

impl Traces {
    /// Sends what is left. Blocks for a moment; not to be called from within the runtime.
    pub(super) fn end(self) {
        // The collector may be gone: there is nobody to tell.
        let _ = self.0.shutdown_with_timeout(DEADLINE);
    }
}

/// The way to the collector. Batches are made by a thread of their own, so requests are handed to the runtime.
struct Collector {
    client: Arc<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>,
    runtime: Handle,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}

impl Collector {
    fn new() -> Result<Self, std::io::Error> {
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_native_roots()?
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client: Arc::new(client), runtime: Handle::current() })
    }
}

/// What `HttpClient` answers.
type Sending<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Collector {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Sending<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let client = Arc::clone(&self.client);
        let sending = self.runtime.spawn(tokio::time::timeout(DEADLINE, async move {
            let answer = client.request(request.map(Full::new)).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(head, body))
        }));
        Box::pin(async move { sending.await?? })
    }
}
