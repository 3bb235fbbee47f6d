//! The webhook that records who changes Applications, Policies and Workflows on a hub of somebody else's.
//!
//! ```text
//!  MutatingWebhookConfiguration ─► where the API server asks: the names that the certificate must have
//!      ▲ caBundle                      │
//!      │                               ▼
//!  Secret fleetctl-webhook ◄── authority, certificate: made by whoever comes first, renewed when a month is left
//!      │  watched by every replica
//!      └─► TLS listener ─► review: AdmissionReview in, the annotation out
//! ```
//!
//! The authority outlives the certificates that it signs, so a renewed one needs nobody to learn to trust it first.

pub mod review;
mod serving;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleet_apiserver::pki::{Authority, KeyedCertificate};
use fleet_apiserver::{Identity, listen};
use fleet_controller::AUTHORS_WEBHOOK;
use futures::StreamExt as _;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::environment::Clock;
use crate::exit::said;
use serving::Serving;

/// The Secret with authority and certificate, in the controller's namespace.
const SECRET: &str = "fleetctl-webhook";
/// How often the certificate's remaining time is looked at.
const DAY: Duration = Duration::from_secs(86_400);
/// How long what failed rests.
const PAUSE: Duration = Duration::from_secs(5);
/// How long one request to the hub may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Where the webhook is kept and told of.
pub struct Webhook {
    hub: kube::Client,
    namespace: String,
    clock: Clock,
}

/// Authority and certificate, as the Secret holds them.
struct Kept {
    authority_pem: String,
    authority_key: String,
    serving: KeyedCertificate,
}

impl Webhook {
    /// The webhook of a hub, with its Secret in this namespace.
    pub fn new(hub: kube::Client, namespace: &str, clock: Clock) -> Self {
        Self { hub, namespace: namespace.to_owned(), clock }
    }

    /// Answers the API server until `stop` fires.
    ///
    /// # Errors
    /// Where TLS can't be had at all.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> Result<(), String> {
        let serving = Arc::new(Serving::default());
        let tls = serving.config()?;
        let clock = Arc::clone(&self.clock);
        let answer = move |_: String, _: Identity, request| answer(Arc::clone(&clock), request);
        let answers = listen::serve(listener, tls, answer, listen::Limits::default(), stop.clone());
        let keeps = stop.run_until_cancelled(self.keep(&serving));
        tokio::join!(answers, keeps);
        Ok(())
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.hub.clone(), &self.namespace)
    }

    fn configurations(&self) -> Api<MutatingWebhookConfiguration> {
        Api::all(self.hub.clone())
    }

    /// Keeps Secret, configuration and listener in agreement: at each change of either, and once a day.
    async fn keep(&self, serving: &Serving) {
        let mut secrets = std::pin::pin!(watch_object(self.secrets(), SECRET).default_backoff());
        let mut configurations =
            std::pin::pin!(watch_object(self.configurations(), AUTHORS_WEBHOOK).default_backoff());
        let mut told = String::new();
        loop {
            let settled = match tokio::time::timeout(DEADLINE * 4, self.settle(serving)).await {
                Ok(settled) => settled,
                Err(_) => Err("the hub doesn't answer in time".to_owned()),
            };
            let rest = match settled {
                Ok(()) => {
                    told.clear();
                    DAY
                }
                Err(why) => {
                    if why != told {
                        tracing::warn!(why, "the webhook that records authors isn't ready; tried again");
                    }
                    told = why;
                    PAUSE
                }
            };
            tokio::select! {
                Some(_) = secrets.next() => {}
                Some(_) = configurations.next() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    async fn settle(&self, serving: &Serving) -> Result<(), String> {
        let asked = self.configurations().get_opt(AUTHORS_WEBHOOK).await;
        let configuration = asked
            .map_err(|error| format!("MutatingWebhookConfiguration {AUTHORS_WEBHOOK}: {}", said(&error)))?;
        // It comes when it is installed; the watch tells.
        let Some(configuration) = configuration else { return Ok(()) };
        let names = names(&configuration);
        let kept = self.certificate(&names).await?;
        serving.take(&kept.serving)?;
        self.trust(&configuration, &kept.authority_pem).await
    }

    /// What the Secret holds, made or renewed where it is time.
    async fn certificate(&self, names: &[String]) -> Result<Kept, String> {
        let now = (self.clock)();
        let place = |error: kube::Error| format!("Secret {}/{SECRET}: {}", self.namespace, said(&error));
        loop {
            let there = self.secrets().get_opt(SECRET).await.map_err(place)?;
            let kept = there.as_ref().and_then(read);
            let authority = kept
                .as_ref()
                .and_then(|kept| Authority::from_pem(&kept.authority_pem, &kept.authority_key, now).ok());
            if let (Some(kept), Some(authority)) = (kept, &authority)
                && authority.serves(&kept.serving, names, now)
            {
                return Ok(kept);
            }
            let made = make(authority, names, now)?;
            let mut secret = there.clone().unwrap_or_else(|| Secret {
                metadata: ObjectMeta { name: Some(SECRET.to_owned()), ..ObjectMeta::default() },
                type_: Some("kubernetes.io/tls".to_owned()),
                ..Secret::default()
            });
            secret.data = Some(written(&made));
            let params = PostParams { field_manager: Some("fleetctl".to_owned()), ..PostParams::default() };
            let kept = match there {
                // The version goes with it: of two replicas one wins, and the other reads what that one wrote.
                Some(_) => self.secrets().replace(SECRET, &params, &secret).await,
                None => self.secrets().create(&params, &secret).await,
            };
            match kept {
                Ok(_) => return Ok(made),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(place(error)),
            }
        }
    }

    /// Lets the API server trust the authority.
    async fn trust(
        &self,
        configuration: &MutatingWebhookConfiguration,
        authority: &str,
    ) -> Result<(), String> {
        let hooks = configuration.webhooks.iter().flatten().enumerate();
        let Some((at, hook)) = hooks.into_iter().find(|(_, hook)| hook.name == AUTHORS_WEBHOOK) else {
            return Ok(());
        };
        let trusted = hook.client_config.ca_bundle.as_ref().map(|bundle| bundle.0.as_slice());
        if trusted == Some(authority.as_bytes()) {
            return Ok(());
        }
        let patch = json!([
            {"op": "test", "path": format!("/webhooks/{at}/name"), "value": AUTHORS_WEBHOOK},
            {"op": "add", "path": format!("/webhooks/{at}/clientConfig/caBundle"), "value": ByteString(authority.as_bytes().to_vec())},
        ]);
        let patch = serde_json::from_value(patch).map_err(|error| error.to_string())?;
        let patched = self
            .configurations()
            .patch(AUTHORS_WEBHOOK, &PatchParams::default(), &Patch::Json::<()>(patch))
            .await;
        patched
            .map(|_| ())
            .map_err(|error| format!("MutatingWebhookConfiguration {AUTHORS_WEBHOOK}: {}", said(&error)))
    }
}

/// By which names the API server calls the webhook.
fn names(configuration: &MutatingWebhookConfiguration) -> Vec<String> {
    let hooks = configuration.webhooks.iter().flatten().filter(|hook| hook.name == AUTHORS_WEBHOOK);
    let mut names: Vec<String> = hooks
        .flat_map(|hook| {
            let config = &hook.client_config;
            let service = config.service.as_ref();
            let service = service.map(|service| format!("{}.{}.svc", service.name, service.namespace));
            let url = config.url.as_deref().and_then(|url| url.parse::<http::Uri>().ok());
            let host = url.and_then(|url| {
                url.host().map(|host| host.trim_start_matches('[').trim_end_matches(']').to_owned())
            });
            service.into_iter().chain(host)
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn make(authority: Option<Authority>, names: &[String], now: jiff::Timestamp) -> Result<Kept, String> {
    let failed = |error: fleet_apiserver::pki::PkiError| error.to_string();
    let authority = match authority {
        Some(authority) => authority,
        None => Authority::in_memory(now).map_err(failed)?,
    };
    let serving = authority.issue_server(names, now).map_err(failed)?;
    Ok(Kept {
        authority_pem: authority.certificate_pem().to_owned(),
        authority_key: authority.key_pem(),
        serving,
    })
}

fn read(secret: &Secret) -> Option<Kept> {
    let data = secret.data.as_ref()?;
    let text = |key: &str| data.get(key).and_then(|value| String::from_utf8(value.0.clone()).ok());
    Some(Kept {
        authority_pem: text("ca.crt")?,
        authority_key: text("ca.key")?,
        serving: KeyedCertificate { certificate_pem: text("tls.crt")?, key_pem: text("tls.key")? },
    })
}

fn written(kept: &Kept) -> BTreeMap<String, ByteString> {
    let entries = [
        ("ca.crt", &kept.authority_pem),
        ("ca.key", &kept.authority_key),
        ("tls.crt", &kept.serving.certificate_pem),
        ("tls.key", &kept.serving.key_pem),
    ];
    entries.into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes()))).collect()
}

/// One question of the API server. Whoever else asks learns what they know already.
async fn answer(clock: Clock, request: Request<listen::RequestBody>) -> Response<Full<Bytes>> {
    if request.method() != Method::POST {
        return told(
            StatusCode::METHOD_NOT_ALLOWED,
            &json!({"message": "an AdmissionReview is sent by POST"}),
        );
    }
    let Ok(bytes) = request.into_body().read().await else {
        return told(StatusCode::BAD_REQUEST, &json!({"message": "the body can't be read"}));
    };
    let review = serde_json::from_slice::<Value>(&bytes).ok();
    match review.and_then(|review| review::answer(&review, clock())) {
        Some(answer) => told(StatusCode::OK, &answer),
        None => told(StatusCode::BAD_REQUEST, &json!({"message": "this is no AdmissionReview"})),
    }
}

fn told(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(value.to_string()));
    *response.status_mut() = status;
    let media = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response
}
