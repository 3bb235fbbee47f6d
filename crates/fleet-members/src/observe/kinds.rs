//! Which places are followed: a kind everywhere, or, where the account may not, in each namespace that matters.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet_api::ObjectId;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use kube::api::{Api, DynamicObject, ListParams, PartialObjectMeta};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::follow::{End, Pace};
use super::judged::is_seen_by_metadata;
use super::{Kind, Place};
use crate::Member;
use crate::registry::MemberEvent;
use crate::resource::ResourcePath;

/// Rights may have been given since: when to look.
pub(super) const AFTER_REFUSAL: Duration = Duration::from_secs(30);
/// The same for rights over all namespaces, where each is followed by itself.
const TRY_EVERYWHERE: Duration = Duration::from_secs(600);

/// What is asked to be watched.
#[derive(Default)]
pub(crate) struct Watched(Mutex<BTreeMap<Kind, Wanted>>);

#[derive(Default)]
struct Wanted {
    namespaces: BTreeSet<String>,
    grown: Arc<Notify>,
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Kind, Wanted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers how to hear of more namespaces, where the kind is new.
    fn want(&self, kind: &Kind, namespace: &str) -> Option<Arc<Notify>> {
        let mut all = self.lock();
        if let Some(wanted) = all.get_mut(kind) {
            if !wanted.namespaces.contains(namespace) {
                wanted.namespaces.insert(namespace.to_owned());
                wanted.grown.notify_one();
            }
            return None;
        }
        let wanted = all.entry(kind.clone()).or_default();
        wanted.namespaces.insert(namespace.to_owned());
        Some(Arc::clone(&wanted.grown))
    }

    fn namespaces(&self, kind: &Kind) -> BTreeSet<String> {
        self.lock().get(kind).map(|wanted| wanted.namespaces.clone()).unwrap_or_default()
    }

    fn forget(&self, kind: &Kind, namespace: &str) {
        if let Some(wanted) = self.lock().get_mut(kind) {
            wanted.namespaces.remove(namespace);
        }
    }
}

impl Member {
    /// Watches an object's kind from now on, where it is. Called again it does nothing.
    pub fn watch(self: &Arc<Self>, id: &ObjectId, path: &ResourcePath) {
        self.begin_to_watch(id, Some(path.clone()));
    }

    /// The same where nobody has asked yet where the kind is: as soon as the member serves it and says so.
    pub fn watch_when_served(self: &Arc<Self>, id: &ObjectId) {
        self.begin_to_watch(id, None);
    }

    fn begin_to_watch(self: &Arc<Self>, id: &ObjectId, path: Option<ResourcePath>) {
        let kind = (id.api_version.clone(), id.kind.clone());
        let Some(grown) = self.watched.want(&kind, &id.namespace) else { return };
        let everywhere = Place::ours(&kind, None);
        self.observations.enter(&everywhere);
        let (member, id) = (Arc::clone(self), id.clone());
        let follow = async move {
            let path = match path {
                Some(path) => path,
                None => member.served(&id, &everywhere).await,
            };
            member.follow_kind(kind, path, grown).await;
        };
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(follow));
    }

    /// Where a kind is, once the member says so.
    async fn served(self: &Arc<Self>, id: &ObjectId, place: &Place) -> ResourcePath {
        let mut pace = Pace::new(self.name(), place);
        loop {
            self.at_hand().await;
            // Whoever else asks may be answered first.
            let mut found = pin!(self.discovered.found());
            found.as_mut().enable();
            match self.path(id).await {
                Ok(path) => return path,
                Err(error) => tracing::debug!(cluster = self.name(), %place, %error, "can't be watched yet"),
            }
            tokio::select! {
                () = found => {}
                () = pace.wait() => {}
            }
        }
    }

    async fn follow_kind(self: Arc<Self>, kind: Kind, path: ResourcePath, grown: Arc<Notify>) {
        let everywhere = Place::ours(&kind, None);
        let mut told = false;
        loop {
            self.observations.enter(&everywhere);
            let End::Forbidden(why) = self.follow_as(&everywhere, &path).await else { continue };
            let narrow = path.namespaced;
            if !std::mem::replace(&mut told, true) {
                let how =
                    if narrow { "each namespace is watched by itself" } else { "nothing is seen of it" };
                tracing::warn!(cluster = self.name(), kind = %everywhere, why, "may not be watched everywhere; {how}");
            }
            self.shared.options.telemetry.watch_narrowed(self.name(), &kind.1);
            if narrow {
                self.observations.leave(&everywhere);
                self.follow_namespaces(&kind, &path, &grown).await;
            } else {
                self.observations.set_blind(&everywhere, &missing(&why));
                tokio::time::sleep(AFTER_REFUSAL).await;
            }
        }
    }

    pub(super) async fn follow_as(self: &Arc<Self>, place: &Place, path: &ResourcePath) -> End {
        loop {
            let mut judging = self.shared.judges.judging().await;
            let end = match is_seen_by_metadata(&judging.rules, &place.kind) {
                true => self.follow::<PartialObjectMeta<DynamicObject>>(place, path, &mut judging).await,
                false => self.follow::<DynamicObject>(place, path, &mut judging).await,
            };
            if !matches!(end, End::Rejudged) {
                return end;
            }
            tracing::debug!(cluster = self.name(), %place, "judged by other rules");
        }
    }

    /// Follows each namespace that something of ours is in, until the kind may be listed everywhere.
    async fn follow_namespaces(self: &Arc<Self>, kind: &Kind, path: &ResourcePath, grown: &Notify) {
        let mut following: FuturesUnordered<BoxFuture<'_, (Place, End)>> = FuturesUnordered::new();
        let mut there = BTreeSet::new();
        let mut look = Instant::now() + TRY_EVERYWHERE;
        loop {
            for namespace in self.watched.namespaces(kind) {
                if !there.contains(&namespace) {
                    there.insert(namespace.clone());
                    let place = Place::ours(kind, Some(namespace));
                    self.observations.enter(&place);
                    following.push(self.follow_after(Duration::ZERO, place, path).boxed());
                }
            }
            tokio::select! {
                () = grown.notified() => {}
                Some((place, end)) = following.next(), if !following.is_empty() => match end {
                    // Who still wants it says so, now that it is looked at again.
                    End::Deserted | End::Rejudged => {
                        let namespace = place.namespace.clone().unwrap_or_default();
                        self.observations.leave(&place);
                        self.watched.forget(kind, &namespace);
                        there.remove(&namespace);
                        self.shared.send(MemberEvent::Synced { cluster: self.name().to_owned() });
                    }
                    End::Forbidden(why) => {
                        self.observations.set_blind(&place, &missing(&why));
                        self.shared.send(MemberEvent::Synced { cluster: self.name().to_owned() });
                        following.push(self.follow_after(AFTER_REFUSAL, place, path).boxed());
                    }
                },
                () = tokio::time::sleep_until(look) => {
                    look = Instant::now() + TRY_EVERYWHERE;
                    let api: Api<PartialObjectMeta<DynamicObject>> =
                        Api::all_with(self.client(), &path.resource);
                    let one = ListParams::default().labels(fleet_api::names::OWNER).limit(1);
                    if self.ask("list", &kind.1, api.list(&one)).await.is_ok() {
                        break;
                    }
                }
            }
        }
        for namespace in there {
            self.observations.leave(&Place::ours(kind, Some(namespace)));
        }
    }

    async fn follow_after(
        self: &Arc<Self>,
        wait: Duration,
        place: Place,
        path: &ResourcePath,
    ) -> (Place, End) {
        tokio::time::sleep(wait).await;
        let end = self.follow_as(&place, path).await;
        (place, end)
    }
}

pub(super) fn missing(why: &str) -> String {
    format!("{why}; give the account that fleetctl uses there list and watch")
}
