//! What keeps clusters in order behind the requests: garbage collection, the life of namespaces, aggregated roles.
//!
//! ```text
//! Store ─► Feed ─────────► garbage::Graph ─► Queues ─► one worker per cluster with work ─► ApiServer::handle
//!          every change    who owns whom     by cluster  garbage::collect, namespaces::tend,
//!                                                      aggregation::tend
//! ```
//!
//! One task hears every change of all clusters and decides what is worth a look; workers look at the store as it
//! is then, so an event too many or out of order does no harm. Nothing polls, and a cluster without work has
//! neither task nor memory here. A cluster that doesn't answer holds up its own worker only.

mod call;
mod feed;
mod meta;
mod queues;
mod worker;

use std::sync::Arc;

use fleet_store::{Entry, Event, EventKind};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use call::{Refusal, gone_is_fine, object_path};
pub(crate) use meta::{Meta, OwnerReference};
pub(crate) use queues::{Queues, Work};

use crate::authorization::aggregation;
use crate::garbage::{self, Graph};
use crate::namespaces;
use crate::server::ApiServer;
use feed::Feed;

const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// What the workers share.
#[derive(Clone)]
pub(crate) struct Upkeep {
    pub(crate) server: ApiServer,
    pub(crate) graph: Arc<Mutex<Graph>>,
    pub(crate) queues: Arc<Queues>,
}

/// Collects garbage and tends namespaces in all clusters of a server until `shutdown` fires or the store closes.
///
/// Begins with everything that the store holds, so what was under way when the process ended goes on. Call it
/// once, after the clusters that the store knows have been created; clusters may be created later, too.
pub async fn run(server: ApiServer, shutdown: CancellationToken) {
    let upkeep = Upkeep { server, graph: Arc::default(), queues: Arc::default() };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = upkeep.run() => {}
    }
}

impl Upkeep {
    async fn run(self) {
        let mut feed = Feed::new(self.server.store().clone());
        let builtin = self.server.inner.definitions.builtin();
        for kind in builtin.stored_kinds() {
            self.begin(&mut feed, &kind.store_name);
        }
        // Dropped with this future, which ends them.
        let mut workers = JoinSet::new();
        loop {
            tokio::select! {
                change = feed.next() => match change {
                    feed::Change::Event(event) => self.changed(&mut feed, &event),
                    feed::Change::Lagged(resource) => self.lagged(&mut feed, &resource),
                    feed::Change::Closed => return,
                },
                cluster = self.queues.next_start() => {
                    workers.spawn(worker::run(self.clone(), cluster));
                }
                Some(ended) = workers.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a cluster's upkeep failed");
                    }
                }
            }
        }
    }

    /// Hears of a resource from now on, and looks at what is there.
    fn begin(&self, feed: &mut Feed, resource: &Arc<str>) {
        for entry in feed.add(resource) {
            self.found(feed, &entry);
        }
    }

    fn found(&self, feed: &mut Feed, entry: &Entry) {
        garbage::found(self, entry);
        namespaces::found(self, &entry.key);
        aggregation::changed(self, &entry.key.cluster, &entry.key.resource);
        if &*entry.key.resource == DEFINITIONS {
            self.begin(feed, &entry.key.name);
        }
    }

    fn changed(&self, feed: &mut Feed, event: &Event) {
        garbage::changed(self, event);
        namespaces::changed(self, event);
        aggregation::changed(self, &event.key.cluster, &event.key.resource);
        // A definition is named as the store names its resource.
        if &*event.key.resource == DEFINITIONS && event.kind != EventKind::Deleted {
            self.begin(feed, &event.key.name);
        }
    }

    /// Changes of a resource were missed: what it is now is read anew, and whatever may hang on it is looked at.
    fn lagged(&self, feed: &mut Feed, resource: &Arc<str>) {
        tracing::debug!(resource = &**resource, "upkeep fell behind and reads anew");
        self.graph.lock().forget_resource(resource);
        for entry in feed.add(resource) {
            self.found(feed, &entry);
        }
        garbage::look_at_all(self);
        namespaces::look_at_all(self);
        aggregation::look_at_all(self);
    }
}

#[cfg(test)]
mod tests;
