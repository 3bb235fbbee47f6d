//! Watches on the hub: a cache for each kind, what follows its changes, and the wait for the first lists.

mod merge;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use kube::api::Api;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::controller::ControllerError;
use crate::report::health::Health;

/// What a watch brings.
pub(crate) type Events<K> = BoxStream<'static, watcher::Result<watcher::Event<K>>>;

/// The API of a kind in these namespaces, one after the other; in all of them where none is named.
pub(crate) fn within<K>(hub: &kube::Client, namespaces: &BTreeSet<String>) -> Vec<Api<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    if namespaces.is_empty() {
        return vec![Api::all(hub.clone())];
    }
    namespaces.iter().map(|namespace| Api::namespaced(hub.clone(), namespace)).collect()
}

/// A cache and the stream that feeds it.
pub(crate) fn watched<K>(apis: Vec<Api<K>>) -> (Store<K>, Events<K>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + DeserializeOwned + 'static,
{
    watched_by(apis, &watcher::Config::default())
}

/// The same of those objects that a watch is set up for.
pub(crate) fn watched_by<K>(apis: Vec<Api<K>>, config: &watcher::Config) -> (Store<K>, Events<K>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + DeserializeOwned + 'static,
{
    let (store, writer) = reflector::store();
    let stream = merge::several(apis, config, store.clone()).modify(|object| {
        object.managed_fields_mut().clear();
    });
    (store, reflector::reflector(writer, stream).boxed())
}

/// Changes of a kind, of which nothing is kept.
pub(crate) fn followed<K>(apis: Vec<Api<K>>) -> Events<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + DeserializeOwned + 'static,
{
    let each = apis.into_iter().map(|api| watcher::watcher(api, watcher::Config::default()).boxed());
    futures::stream::select_all(each).boxed()
}

/// Runs a stream in the background and hands each event on.
pub(crate) fn follow<K: Send + 'static>(
    ctx: &Arc<Context>,
    kind: &'static str,
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
    handle: impl Fn(&Arc<Context>, &watcher::Event<K>) + Send + 'static,
) {
    let ctx = Arc::clone(ctx);
    let tasks = ctx.tasks.clone();
    let part = ctx.options.health.part(format!("the watch of {kind}"), ctx.stop.clone());
    tasks.spawn(async move {
        let _part = part;
        let mut events = std::pin::pin!(events.default_backoff());
        loop {
            tokio::select! {
                () = ctx.stop.cancelled() => return,
                event = events.next() => match event {
                    Some(Ok(event)) => handle(&ctx, &event),
                    Some(Err(error)) => interrupted(&ctx, kind, &error),
                    None => return,
                },
            }
        }
    });
}

/// A watch on the hub failed and begins anew.
pub(crate) fn interrupted(ctx: &Context, kind: &'static str, error: &watcher::Error) {
    ctx.options.metrics.hub_watch_interrupted(kind);
    let message = fleet_members::innermost(error);
    // A connection that ended is everyday; that nothing can be listed isn't.
    if matches!(error, watcher::Error::InitialListFailed(_)) {
        tracing::warn!(kind, error = message, "the hub doesn't list a kind; tried again");
    } else {
        tracing::debug!(kind, error = message, "a watch on the hub was interrupted");
    }
}

/// Caches whose first lists are waited for.
#[derive(Default)]
pub(crate) struct Lists<'a>(Vec<(&'static str, futures::future::BoxFuture<'a, bool>)>);

impl<'a> Lists<'a> {
    /// A cache of this kind.
    pub(crate) fn with<K>(mut self, kind: &'static str, store: &'a Store<K>) -> Self
    where
        K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    {
        self.0.push((kind, Box::pin(async { store.wait_until_ready().await.is_ok() })));
        self
    }

    /// Waits until each has been listed, or `stop` fires.
    ///
    /// # Errors
    /// [`ControllerError::NotListed`] where that takes too long.
    pub(crate) async fn wait(
        self,
        health: &Health,
        timeout: Duration,
        stop: &CancellationToken,
    ) -> Result<(), ControllerError> {
        health.begin(self.0.iter().map(|(kind, _)| *kind));
        let all = futures::future::join_all(self.0.into_iter().map(|(kind, listed)| async move {
            if listed.await {
                health.listed(kind);
            }
        }));
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = tokio::time::timeout(timeout, all) => match ended {
                Ok(_) => Ok(()),
                Err(_) => Err(ControllerError::NotListed { kinds: health.unlisted(), timeout }),
            },
        }
    }
}
