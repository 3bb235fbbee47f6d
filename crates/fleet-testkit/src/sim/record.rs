//! What is written down of a play: every write of the store in order, and every request of a replica.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::{future::Future, pin::Pin};

use fleet_apiserver::ApiServer;
use fleet_store::{Event, Store};
use http::{Method, Request, Response};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::native::{Inputs, object_of};
use super::wanted::{Wanted, app_of};

/// A write that a replica sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) replica: usize,
    pub(crate) cluster: String,
    pub(crate) method: Method,
    pub(crate) name: String,
    pub(crate) app: Option<String>,
    /// Store revisions around it.
    pub(crate) before: u64,
    pub(crate) after: u64,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
}

/// Everything that is known of a play from outside.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) sent: Vec<Sent>,
    /// What was wanted, by UID and generation of the Application.
    pub(crate) wanted: BTreeMap<(String, i64), Wanted>,
    /// Runs and steps whose gate a user may have opened by hand.
    pub(crate) by_hand: BTreeSet<(String, String)>,
    /// Runs of which users asked to go on without a target, or to try one again.
    pub(crate) asked_of_targets: BTreeSet<String>,
    /// Applications of which users asked for another run, by name.
    pub(crate) asked_anew: BTreeSet<String>,
    /// How often steps of runs were told that all is well.
    pub(crate) told_good: BTreeMap<(String, String), u32>,
    /// What users did at members themselves: store revisions.
    pub(crate) by_users: BTreeSet<u64>,
    /// What users said about native objects, and when: each holds until the next.
    pub(crate) inputs: Vec<(Instant, Inputs)>,
}

impl Record {
    pub(crate) fn digest(&self) -> u64 {
        let one = |event: &Arc<Event>| {
            let mut digest = DefaultHasher::new();
            let key = &event.key;
            (&key.cluster, &key.resource, &key.namespace, event.value.len()).hash(&mut digest);
            digest.finish()
        };
        self.events.iter().map(one).fold(0, u64::wrapping_add)
    }
}

/// Where replicas write down what they send. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Sent>>>);

impl Log {
    pub(crate) fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut lock(&self.0))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The life of a replica: it can be ended at a write.
#[derive(Debug, Clone, Default)]
pub(crate) struct Life {
    state: Arc<Mutex<LifeState>>,
    killed: CancellationToken,
}

#[derive(Debug, Default)]
struct LifeState {
    writes: u64,
    /// The write that is the last, and whether it is carried out.
    last: Option<(u64, bool)>,
    over: bool,
}

impl Life {
    /// It ends at the n-th write from now on.
    pub(crate) fn end_at(&self, writes: u64, carried_out: bool) {
        let mut state = lock(&self.state);
        state.last = Some((state.writes + writes, carried_out));
    }

    /// It doesn't end after all.
    pub(crate) fn spare(&self) {
        lock(&self.state).last = None;
    }

    pub(crate) fn killed(&self) -> CancellationToken {
        self.killed.clone()
    }

    fn on_write(&self) -> Fate {
        let mut state = lock(&self.state);
        if state.over {
            return Fate::Never;
        }
        state.writes += 1;
        match state.last {
            Some((at, carried_out)) if at == state.writes => {
                state.over = true;
                if carried_out { Fate::CarryOutAndDie } else { Fate::Die }
            }
            _ => Fate::Pass,
        }
    }

    fn is_over(&self) -> bool {
        lock(&self.state).over
    }
}

enum Fate {
    Pass,
    Never,
    Die,
    CarryOutAndDie,
}

/// A replica's way to one cluster: what it sends is written down, and it may die of it.
#[derive(Clone)]
pub(crate) struct Mortal<S> {
    pub(crate) service: S,
    pub(crate) life: Life,
    pub(crate) log: Log,
    pub(crate) replica: usize,
    pub(crate) cluster: String,
    pub(crate) store: Store,
}

/// One entry, closed when the request is answered or given up.
struct Open {
    log: Log,
    at: usize,
    store: Store,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(sent) = lock(&self.log.0).get_mut(self.at) {
            sent.after = self.store.revision();
            sent.ended = Instant::now();
        }
    }
}

impl<S> Mortal<S> {
    fn open(&self, method: &Method, path: &str) -> Open {
        let (resource, name) = named(path);
        let mut app = app_of(name).map(str::to_owned);
        // A name that is given out says nothing yet; others have to do with nobody's work.
        if !matches!(resource, "runs" | "configmaps" | "deployments" | "secrets" | "resourcetrackers") {
            app = None;
        }
        // All that policies distribute is one duty.
        if object_of(name).is_some() && self.cluster != ApiServer::HUB || name.starts_with("propagation-") {
            app = Some("the distribution".to_owned());
        }
        let revision = self.store.revision();
        let now = Instant::now();
        let mut log = lock(&self.log.0);
        log.push(Sent {
            replica: self.replica,
            cluster: self.cluster.clone(),
            method: method.clone(),
            name: name.to_owned(),
            app,
            before: revision,
            after: u64::MAX,
            began: now,
            ended: now,
        });
        Open { log: self.log.clone(), at: log.len() - 1, store: self.store.clone() }
    }
}

/// Resource and name that a path is about; the name is empty where it is about none.
fn named(path: &str) -> (&str, &str) {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let rest = match parts.as_slice() {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        other => other,
    };
    match rest {
        ["namespaces", _, resource, name, ..] => (resource, name),
        ["namespaces", _, resource] => (resource, ""),
        [resource, name, ..] => (resource, name),
        [resource] => (resource, ""),
        [] => ("", ""),
    }
}

impl<S, R, B> tower::Service<Request<R>> for Mortal<S>
where
    S: tower::Service<Request<R>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    R: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let Self { mut service, life, .. } = this.clone();
            let path = request.uri().path();
            let background = path.contains("/events") || path.contains("/leases");
            if *request.method() == Method::GET || background {
                if life.is_over() {
                    return std::future::pending().await;
                }
                return service.call(request).await;
            }
            match life.on_write() {
                Fate::Never => std::future::pending().await,
                Fate::Pass => {
                    let open = this.open(request.method(), path);
                    let answer = service.call(request).await;
                    drop(open);
                    answer
                }
                Fate::Die => {
                    life.killed.cancel();
                    std::future::pending().await
                }
                Fate::CarryOutAndDie => {
                    // A server that is down never answers: who gives the write up dies all the same.
                    let dies = life.killed.clone().drop_guard();
                    let open = this.open(request.method(), path);
                    let _ = service.call(request).await;
                    drop(open);
                    drop(dies);
                    std::future::pending().await
                }
            }
        })
    }
}
