//! A layer that counts requests and can end its user at a chosen write.

mod events;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use fleet_apiserver::{Body, ClusterService};
use http::{Method, Request, Response, StatusCode};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use events::{Events, Silence};

/// How many requests of each kind were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Count {
    /// By method and what it is about (`PATCH deployments`, `WATCH pods`).
    pub by_kind: BTreeMap<String, u64>,
}

impl Count {
    /// Requests but watches and lists, Events and the record.
    pub fn requests(&self) -> u64 {
        let aside = |kind: &str| kind.ends_with(" events") || kind.ends_with(" auditlogs");
        self.sum(|kind| !kind.starts_with("WATCH") && !kind.starts_with("LIST") && !aside(kind))
    }

    /// Requests whose kind is as wanted.
    pub fn sum(&self, wanted: impl Fn(&str) -> bool) -> u64 {
        self.by_kind.iter().filter(|(kind, _)| wanted(kind)).map(|(_, count)| count).sum()
    }
}

/// Which requests are held back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stall {
    #[default]
    None,
    Writes,
    /// Of a resource.
    Lists(&'static str),
    /// Of writes.
    Answers,
    All,
}

#[derive(Debug, Default)]
struct State {
    count: Count,
    writes: u64,
    /// The write that is the last: it is carried out, or not, and its user hears nothing any more.
    last: Option<(u64, bool)>,
    dead: bool,
    /// The write whose answer is lost.
    lost: Option<u64>,
    /// Resources whose lists and watches are refused.
    forbidden: BTreeSet<String>,
    /// The same over all namespaces.
    forbidden_everywhere: BTreeSet<String>,
    /// Answers that are held back, the first that came first.
    answers: Vec<oneshot::Sender<()>>,
}

/// Counts the requests that pass it.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    state: Arc<Mutex<State>>,
    killed: CancellationToken,
    stalled: watch::Sender<Stall>,
    /// How many writes are held back.
    held: watch::Sender<u64>,
    silence: Silence,
}

impl Meter {
    /// A meter that lets everything pass.
    pub fn new() -> Self {
        Self::default()
    }

    /// A meter that kills its user at the n-th write, counted from 1: before it is carried out, or right after.
    pub fn killing(n: u64, carried_out: bool) -> Self {
        let meter = Self::default();
        meter.lock().last = Some((n, carried_out));
        meter
    }

    /// A meter that loses the answer to the n-th write, counted from 1: it is carried out, and its user hears of an error.
    pub fn losing(n: u64) -> Self {
        let meter = Self::default();
        meter.lock().lost = Some(n);
        meter
    }

    /// Cancelled when the user was killed.
    pub fn killed(&self) -> CancellationToken {
        self.killed.clone()
    }

    /// From now on requests are under way for as long as it pleases: none arrives before [`Self::wake`]. They arrive
    /// then even if whoever sent them has given up, as a packet does that was held back on its way.
    pub fn stall(&self) {
        self.stalled.send_replace(Stall::All);
    }

    /// The same for writes only.
    pub fn stall_writes(&self) {
        self.stalled.send_replace(Stall::Writes);
    }

    /// Waits until a write is held back.
    pub async fn until_held(&self) {
        // An error would mean that the meter is gone, and it is here.
        let _ = self.held.subscribe().wait_for(|held| *held > 0).await;
    }

    /// From now on writes are carried out at once, and their answers held back: they come with [`Self::wake`], in their order.
    pub fn stall_answers(&self) {
        self.stalled.send_replace(Stall::Answers);
    }

    /// The same as [`Self::stall`] for lists of a resource (`deployments`) only.
    pub fn stall_lists(&self, resource: &'static str) {
        self.stalled.send_replace(Stall::Lists(resource));
    }

    /// Everything that was held back arrives.
    pub fn wake(&self) {
        self.stalled.send_replace(Stall::None);
        self.held.send_replace(0);
        let answers = std::mem::take(&mut self.lock().answers);
        for answer in answers {
            let _ = answer.send(());
        }
    }

    /// From now on watches of a resource (`applications`) bring nothing, until [`Self::hear`] or
    /// [`Self::miss`].
    pub fn hush(&self, resource: &str) {
        self.silence.set(Some(resource));
    }

    /// What watches held back is lost: they end, and whoever watches has to list anew, as after a long interruption.
    pub fn miss(&self) {
        self.silence.miss();
    }

    /// What watches held back arrives.
    pub fn hear(&self) {
        self.silence.set(None);
    }

    /// From now on lists and watches of a resource (`secrets`) are refused, as to an account that has no right to them, until
    /// [`Self::permit`].
    pub fn forbid(&self, resource: &str) {
        self.lock().forbidden.insert(resource.to_owned());
    }

    /// The same for lists and watches over all namespaces only, as to an account that has its right in single ones.
    pub fn forbid_everywhere(&self, resource: &str) {
        self.lock().forbidden_everywhere.insert(resource.to_owned());
    }

    /// Nothing is refused any more.
    pub fn permit(&self) {
        let mut state = self.lock();
        state.forbidden.clear();
        state.forbidden_everywhere.clear();
    }

    /// What was counted so far.
    pub fn count(&self) -> Count {
        self.lock().count.clone()
    }

    /// Starts counting from zero.
    pub fn reset(&self) {
        self.lock().count = Count::default();
    }

    /// How many writes there were.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A client through this meter.
    pub fn client(&self, service: ClusterService) -> kube::Client {
        kube::Client::new(Metered { service, meter: self.clone() }, "default")
    }

    fn holds_back(&self, request: &Request<kube::client::Body>) -> bool {
        match *self.stalled.borrow() {
            Stall::None | Stall::Answers => false,
            Stall::Writes => request.method() != Method::GET,
            Stall::Lists(resource) => kind_of(request).strip_prefix("LIST ") == Some(resource),
            Stall::All => true,
        }
    }

    /// What an answer waits for that is held back.
    fn holds_answer(&self) -> Option<oneshot::Receiver<()>> {
        if *self.stalled.borrow() != Stall::Answers {
            return None;
        }
        let (release, released) = oneshot::channel();
        self.lock().answers.push(release);
        Some(released)
    }

    /// What to do with a request.
    fn note(&self, request: &Request<kube::client::Body>) -> Verdict {
        let mut state = self.lock();
        if state.dead {
            return Verdict::Never;
        }
        let kind = kind_of(request);
        let is_event = kind.ends_with(" events");
        let listed = kind.strip_prefix("LIST ").or_else(|| kind.strip_prefix("WATCH "));
        let everywhere = !request.uri().path().contains("/namespaces/");
        let forbidden = |resource: &str| {
            state.forbidden.contains(resource) || everywhere && state.forbidden_everywhere.contains(resource)
        };
        if let Some(resource) = listed.filter(|resource| forbidden(resource)) {
            let message = format!(
                "{resource} is forbidden: User \"controller\" cannot list resource \"{resource}\" at the cluster scope"
            );
            return Verdict::Refuse(refusal(StatusCode::FORBIDDEN, "Forbidden", &message));
        }
        *state.count.by_kind.entry(kind).or_default() += 1;
        if request.method() == Method::GET || is_event {
            return Verdict::Pass;
        }
        state.writes += 1;
        match state.last {
            Some((n, carried_out)) if n == state.writes => {
                state.dead = true;
                if carried_out { Verdict::CarryOutAndDie } else { Verdict::Die }
            }
            _ if state.lost == Some(state.writes) => Verdict::Lose,
            _ => Verdict::Pass,
        }
    }
}

enum Verdict {
    Pass,
    Refuse(Response<Body>),
    Lose,
    Never,
    Die,
    CarryOutAndDie,
}

fn kind_of(request: &Request<kube::client::Body>) -> String {
    let path = request.uri().path();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let rest = match parts.as_slice() {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        other => other,
    };
    let (resource, name, sub) = match rest {
        ["namespaces", _, resource, rest @ ..] => (*resource, rest.first(), rest.get(1)),
        [resource, rest @ ..] => (*resource, rest.first(), rest.get(1)),
        [] => ("discovery", None, None),
    };
    let query = request.uri().query().unwrap_or_default();
    let verb = match (request.method().as_str(), name) {
        ("GET", _) if query.contains("watch=") => "WATCH",
        ("GET", None) => "LIST",
        (method, _) => method,
    };
    match sub {
        Some(sub) => format!("{verb} {resource}/{sub}"),
        None => format!("{verb} {resource}"),
    }
}

#[derive(Clone)]
struct Metered {
    service: ClusterService,
    meter: Meter,
}

impl tower::Service<Request<kube::client::Body>> for Metered {
    type Response = Response<Events>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Events>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        let (mut service, meter) = (self.service.clone(), self.meter.clone());
        let watched = kind_of(&request).strip_prefix("WATCH ").map(str::to_owned);
        let watched = watched.map(|resource| (resource, meter.silence.clone()));
        Box::pin(async move {
            let answer = match meter.note(&request) {
                Verdict::Pass if meter.holds_back(&request) => {
                    if request.method() != Method::GET {
                        meter.held.send_modify(|held| *held += 1);
                    }
                    late(service, request, meter.stalled.subscribe()).await
                }
                Verdict::Pass => {
                    let writes = request.method() != Method::GET;
                    let answer = service.call(request).await;
                    if writes && let Some(released) = meter.holds_answer() {
                        // Without its sender nothing holds it any more.
                        let _ = released.await;
                    }
                    answer
                }
                Verdict::Refuse(answer) => Ok(answer),
                Verdict::Lose => {
                    let _ = service.call(request).await;
                    Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "the answer is lost"))
                }
                Verdict::Never => std::future::pending().await,
                Verdict::Die => {
                    meter.killed.cancel();
                    std::future::pending().await
                }
                Verdict::CarryOutAndDie => {
                    // What the server did stays; only the answer is lost.
                    let _ = service.call(request).await;
                    meter.killed.cancel();
                    std::future::pending().await
                }
            };
            answer.map(|answer| answer.map(|body| Events::new(body, watched)))
        })
    }
}

fn refusal(code: StatusCode, reason: &str, message: &str) -> Response<Body> {
    let status = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
        "code": code.as_u16(), "message": message});
    let mut response = Response::new(Body::whole(status.to_string()));
    *response.status_mut() = code;
    response
}

/// Carries a request out once its way is free, whether or not somebody still waits for the answer.
async fn late(
    mut service: ClusterService,
    request: Request<kube::client::Body>,
    mut stalled: watch::Receiver<Stall>,
) -> Result<Response<Body>, Infallible> {
    let (answer, answered) = oneshot::channel();
    #[expect(clippy::disallowed_methods, reason = "it must outlive its sender; it ends with the meter")]
    tokio::spawn(async move {
        if stalled.wait_for(|stalled| *stalled == Stall::None).await.is_ok() {
            let _ = answer.send(tower::Service::call(&mut service, request).await);
        }
    });
    match answered.await {
        Ok(answer) => answer,
        Err(_) => std::future::pending().await,
    }
}
