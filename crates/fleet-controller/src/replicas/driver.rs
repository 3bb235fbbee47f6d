//! Keeps this replica's Lease and follows those of the others.

use std::collections::BTreeSet;
use std::time::Duration;

use fleet_api::names;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lease::{self, LeaseOptions};
use super::membership::Moment;
use super::shares::Shares;
use crate::context::Clock;

/// What is waited for after a write that failed.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// Keeps a Lease until it is told to release it.
pub(crate) struct Driver {
    client: Client,
    leases: Api<Lease>,
    options: LeaseOptions,
    clock: Clock,
    shares: Shares,
    /// The Lease as last written or read.
    stored: Option<Lease>,
    /// Not before then is anything written.
    not_before: Instant,
    /// When the next renewal is due.
    due: Instant,
    /// Those whose Leases were cleared away.
    cleared: BTreeSet<(String, String)>,
}

type Events = BoxStream<'static, watcher::Result<watcher::Event<Lease>>>;

/// A write: when it was sent, and how it ended.
struct Write {
    sent: Moment,
    outcome: Outcome,
}

enum Outcome {
    Renewed(Box<Lease>),
    /// It isn't known whether it was carried out, or somebody else wrote: this stands there now.
    Reread(Option<Box<Lease>>),
    /// Somebody deleted it.
    Deleted,
    Failed,
}

impl Driver {
    pub(crate) fn new(client: Client, options: LeaseOptions, clock: Clock, shares: Shares) -> Self {
        let leases = Api::namespaced(client.clone(), &options.namespace);
        let now = Instant::now();
        Self {
            client,
            leases,
            options,
            clock,
            shares,
            stored: None,
            not_before: now,
            due: now,
            cleared: BTreeSet::new(),
        }
    }

    /// Runs until it is to release the Lease; everything must have stopped before.
    pub(crate) async fn run(mut self, release: CancellationToken) {
        let mut events = self.watch();
        let mut writing: Option<BoxFuture<'static, Write>> = None;
        let mut handing_over: Option<BoxFuture<'static, BTreeSet<String>>> = None;
        let mut clearing: Option<BoxFuture<'static, ()>> = None;
        let mut listed: Option<Vec<Lease>> = None;
        let mut ready = false;
        let mut situation = None;
        loop {
            let valid_until = self.shares.with_membership(|m, _| m.valid_until()).flatten();
            let valid_until = valid_until.and_then(|moment| self.shares.instant(moment));
            let next_write = (ready && writing.is_none()).then(|| self.next_write());
            tokio::select! {
                biased;
                () = release.cancelled() => break,
                () = until(valid_until) => {
                    tracing::warn!("the lease wasn't renewed in time: everything stops until it is");
                    self.shares.lapse();
                }
                write = ending(&mut writing) => {
                    writing = None;
                    self.written(write);
                }
                view = ending(&mut handing_over) => {
                    handing_over = None;
                    self.shares.adopt(view);
                }
                () = ending(&mut clearing) => clearing = None,
                event = events.next() => match event {
                    Some(Ok(event)) => ready |= self.saw(event, &mut listed),
                    Some(Err(error)) => tracing::warn!(%error, namespace = self.options.namespace,
                        "leases can't be watched; the controller's account needs get, list, watch, create, update and \
                         delete on leases there"),
                    None => events = self.watch(),
                },
                () = until(next_write) => writing = Some(self.write()),
            }
            let silent = self.shares.with_membership(|m, now| m.is_watch_silent(now)).unwrap_or_default();
            if silent {
                tracing::info!("the watch on leases is silent; it is begun anew");
                events = self.watch();
                listed = None;
            }
            if ready && handing_over.is_none() {
                handing_over = self.follow_view();
            }
            let now = self.shares.with_membership(|m, now| m.situation(now));
            if now != situation {
                situation = now;
                self.shares.tell();
            }
            if clearing.is_none() {
                clearing = self.clear_away();
            }
        }
        drop(writing);
        self.release().await;
    }

    fn watch(&self) -> Events {
        self.shares.with_membership(|m, now| m.watch_begun(now));
        let config =
            watcher::Config::default().labels(&format!("{}={}", names::REPLICA, names::REPLICA_CONTROLLER));
        watcher(self.leases.clone(), config).default_backoff().boxed()
    }

    /// Takes in an event; true where the list is complete. A list counts as a whole: its pages are no order.
    fn saw(&self, event: watcher::Event<Lease>, listed: &mut Option<Vec<Lease>>) -> bool {
        match event {
            watcher::Event::Init => *listed = Some(Vec::new()),
            watcher::Event::InitApply(lease) => listed.get_or_insert_default().push(lease),
            watcher::Event::InitDone => {
                let leases = listed.take().unwrap_or_default();
                self.shares.with_membership(|m, now| {
                    m.listed(&leases.iter().map(kube::ResourceExt::name_any).collect());
                    leases.iter().for_each(|lease| m.saw(lease::seen(lease), now));
                });
                return true;
            }
            watcher::Event::Apply(lease) => {
                self.shares.with_membership(|m, now| m.saw(lease::seen(&lease), now));
            }
            watcher::Event::Delete(lease) => {
                let seen = lease::seen(&lease);
                self.shares.with_membership(|m, now| {
                    let released = seen.released;
                    let replica = seen.replica.clone();
                    if released {
                        m.saw(seen, now);
                    }
                    m.gone(&replica);
                });
            }
        }
        false
    }

    /// Where others are alive than are published: stops what that takes away, then says so.
    fn follow_view(&self) -> Option<BoxFuture<'static, BTreeSet<String>>> {
        let (alive, same) = self.shares.with_membership(|m, _| {
            let alive = m.alive();
            let same = alive == *m.view();
            (alive, same)
        })?;
        if same {
            return None;
        }
        tracing::info!(replicas = alive.iter().map(String::as_str).collect::<Vec<_>>().join(" "), "replicas");
        let ended = self.shares.hand_over(&alive);
        Some(ended.map(|()| alive).boxed())
    }

    fn next_write(&self) -> Instant {
        let news = self.shares.with_membership(|m, _| m.has_news()).unwrap_or_default();
        if news { self.not_before } else { self.due.max(self.not_before) }
    }

    /// Sends a publication.
    fn write(&mut self) -> BoxFuture<'static, Write> {
        let Some((publication, sent)) = self.shares.with_membership(|m, now| (m.publish(now), now)) else {
            return futures::future::pending().boxed();
        };
        self.due = Instant::now() + self.options.timing.renew_every();
        let lease = lease::written(self.stored.as_ref(), &self.options, &publication, (self.clock)());
        let exists = self.stored.is_some();
        let (client, leases, options) = (self.client.clone(), self.leases.clone(), self.options.clone());
        async move {
            let outcome = write(&client, &leases, &options, lease, exists).await;
            Write { sent, outcome }
        }
        .boxed()
    }

    fn written(&mut self, write: Write) {
        let now = Instant::now();
        self.not_before = now;
        match write.outcome {
            Outcome::Renewed(lease) => {
                self.stored = Some(*lease);
                return self.shares.answered(write.sent);
            }
            Outcome::Reread(lease) => self.stored = lease.map(|lease| *lease),
            Outcome::Deleted => {
                tracing::warn!("this replica's lease was deleted: everything stops until there is one again");
                self.stored = None;
                self.shares.lapse();
            }
            Outcome::Failed => {}
        }
        self.not_before = now + AFTER_FAILURE.min(self.options.timing.renew_every() / 2);
        self.due = self.not_before;
    }

    /// Takes away the Leases of replicas that died, so that they don't pile up.
    fn clear_away(&mut self) -> Option<BoxFuture<'static, ()>> {
        let dead = self.shares.with_membership(|m, _| m.dead()).unwrap_or_default();
        let (replica, version) = dead.into_iter().find(|dead| self.cleared.insert(dead.clone()))?;
        tracing::info!(replica, "a replica is gone; what it did is taken over");
        let preconditions = Preconditions { uid: None, resource_version: Some(version) };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let (leases, patience) = (self.leases.clone(), self.options.timing.renew_deadline() / 3);
        let delete = async move {
            let outcome = tokio::time::timeout(patience, leases.delete(&replica, &params)).await;
            if !matches!(outcome, Ok(Ok(_))) {
                tracing::debug!(replica, ?outcome, "a dead replica's lease stays");
            }
        };
        Some(delete.boxed())
    }

    /// Says that everything has stopped, so that others needn't wait.
    async fn release(mut self) {
        let patience = self.options.timing.renew_deadline() / 3;
        let release = async {
            // What was written last may not have been answered.
            if let Ok(lease) = self.leases.get_opt(&self.options.replica).await {
                self.stored = lease;
            }
            let Some(lease) = self.stored.take() else { return Ok(()) };
            let name = self.options.replica.clone();
            self.leases.replace(&name, &PostParams::default(), &lease::released(lease)).await?;
            self.leases.delete(&name, &DeleteParams::default()).await.map(|_| ())
        };
        if let Ok(Err(error)) = tokio::time::timeout(patience, release).await {
            tracing::debug!(%error, "the lease wasn't released; others take over when it runs out");
        }
    }
}

/// Writes a Lease; with the version that was read last, so that a late write never covers a newer one.
async fn write(
    client: &Client,
    leases: &Api<Lease>,
    options: &LeaseOptions,
    lease: Lease,
    exists: bool,
) -> Outcome {
    let params = PostParams::default();
    let patience = options.timing.renew_deadline() / 3;
    let write = async {
        match exists {
            true => leases.replace(&options.replica, &params, &lease).await,
            false => leases.create(&params, &lease).await,
        }
    };
    let reread = async {
        match tokio::time::timeout(patience, leases.get_opt(&options.replica)).await {
            Ok(Ok(lease)) => Outcome::Reread(lease.map(Box::new)),
            Ok(Err(_)) | Err(_) => Outcome::Failed,
        }
    };
    match tokio::time::timeout(patience, write).await {
        Ok(Ok(lease)) => Outcome::Renewed(Box::new(lease)),
        Ok(Err(kube::Error::Api(refusal))) if refusal.code == 404 && exists => Outcome::Deleted,
        Ok(Err(kube::Error::Api(refusal))) if refusal.code == 404 => {
            make_namespace(client, options).await;
            Outcome::Failed
        }
        Ok(Err(kube::Error::Api(refusal))) if refusal.code == 409 => reread.await,
        Ok(Err(error)) => {
            tracing::warn!(%error, lease = options.replica, namespace = options.namespace, "the lease isn't renewed");
            Outcome::Failed
        }
        Err(_) => {
            tracing::warn!(lease = options.replica, "no answer to the lease's renewal");
            reread.await
        }
    }
}

async fn make_namespace(client: &Client, options: &LeaseOptions) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(options.namespace.clone());
    let params = PostParams::default();
    let made = namespaces.create(&params, &namespace);
    if let Ok(Err(error)) = tokio::time::timeout(options.timing.renew_deadline() / 3, made).await {
        tracing::warn!(%error, namespace = options.namespace,
            "the namespace for leases isn't there and can't be made; make it, or name another");
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

async fn ending<T>(work: &mut Option<BoxFuture<'static, T>>) -> T {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}
