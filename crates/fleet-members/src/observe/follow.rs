//! Following one place: list, then watch, for ever.
//!
//! kube's own watcher doesn't show bookmarks, so it can't tell a quiet watch from a dead one, nor a server that has
//! gone backwards; and it connects again without asking who is there. Hence a loop of our own over the same client.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use fleet_api::{ObjectId, names};
use fleet_health::HealthRules;
use futures::StreamExt as _;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use tokio::time::Instant;

use super::judged::Judging;
use super::sight::{Sight, sight};
use super::{Listing, Place, is_older};
use crate::registry::MemberEvent;
use crate::resource::ResourcePath;
use crate::{Member, MemberError};

/// So many objects are listed at a time: one answer is held in memory as a whole.
const PAGE: u32 = 100;
/// A watch that has lasted so long was sound; the next break is a new one.
const SOUND: Duration = Duration::from_secs(10);
/// The wait after the first break in a row.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Why following ended.
#[derive(Debug)]
pub(super) enum End {
    /// The account may not list or watch here; what the member says.
    Forbidden(String),
    /// Nothing of ours is here any more.
    Deserted,
    /// It is judged by other rules now: what is seen may have to be seen otherwise.
    Rejudged,
}

/// Why a watch ended.
enum Pause {
    /// Its time was over: the next goes on where it was.
    Due,
    /// The connection broke.
    Broken,
    /// What happened meanwhile can't be told: list anew.
    Anew(String),
    Forbidden(String),
    Rejudged,
}

/// How far a place is followed.
pub(super) struct Reached {
    listing: Listing,
    version: String,
    /// What answers have shown of later versions than the list's, and no watch yet.
    younger: BTreeMap<ObjectId, String>,
}

/// Waits between breaks: doubling up to a bound, spread over members and places.
pub(super) struct Pace {
    breaks: u32,
    spread: f64,
}

impl Pace {
    pub(super) fn new(member: &str, place: &Place) -> Self {
        let mut hasher = DefaultHasher::new();
        (member, &place.kind, &place.namespace, &place.name).hash(&mut hasher);
        let spread = 0.75 + f64::from(u32::try_from(hasher.finish() % 1000).unwrap_or(0)) / 2000.0;
        Self { breaks: 0, spread }
    }

    pub(super) async fn wait(&mut self) {
        let wait = FIRST_WAIT.saturating_mul(1 << self.breaks.min(10)).min(LONGEST_WAIT);
        self.breaks = self.breaks.saturating_add(1);
        tokio::time::sleep(wait.mul_f64(self.spread)).await;
    }

    /// How long a watch is asked to last: between five and ten minutes, so that they don't all end together.
    fn watch_seconds(&self) -> u32 {
        300 + ((self.spread - 0.75) * 600.0) as u32
    }
}

impl Member {
    pub(super) fn api_at<K: Sight>(&self, place: &Place, path: &ResourcePath) -> Api<K> {
        match &place.namespace {
            Some(namespace) => Api::namespaced_with(self.client(), namespace, &path.resource),
            None => Api::all_with(self.client(), &path.resource),
        }
    }

    /// A place was listed.
    fn tell_listed(&self, place: &Place) {
        match &place.name {
            None => self.shared.send(MemberEvent::Synced { cluster: self.name().to_owned() }),
            Some(_) => self.tell_looked(place),
        }
    }

    /// Follows a place until there is a reason not to.
    pub(super) async fn follow<K: Sight>(
        self: &Arc<Self>,
        place: &Place,
        path: &ResourcePath,
        judging: &mut Judging,
    ) -> End {
        let api: Api<K> = self.api_at(place, path);
        let mut pace = Pace::new(self.name(), place);
        loop {
            self.at_hand().await;
            let why = match self.list(place, &api, &judging.rules).await {
                Ok(reached) => match self.stay(place, &api, reached, &mut pace, judging).await {
                    Ok(why) => why,
                    Err(end) => return end,
                },
                Err(MemberError::Refused { code: 403, message, .. }) => return End::Forbidden(message),
                Err(error) => error.to_string(),
            };
            self.shared.options.telemetry.watch_restarted(self.name());
            tracing::debug!(cluster = self.name(), %place, why, "listed anew");
            pace.wait().await;
        }
    }

    /// Takes in everything that is there.
    pub(super) async fn list<K: Sight>(
        self: &Arc<Self>,
        place: &Place,
        api: &Api<K>,
        rules: &HealthRules,
    ) -> Result<Reached, MemberError> {
        self.seen_at(place).enter(place);
        let before = self.seen_at(place).highest(place);
        let params = match &place.name {
            None => ListParams::default().labels(names::OWNER),
            Some(name) => ListParams::default().fields(&named(name)),
        };
        let mut params = params.limit(PAGE);
        let mut opened = None;
        loop {
            let page = self.ask("list", place, api.list(&params)).await?;
            let version = page.metadata.resource_version.unwrap_or_default();
            let (listing, version) = opened.get_or_insert_with(|| {
                let listing = self.seen_at(place).open(place, &version, self.found_uid(), before);
                if listing.anew {
                    let cluster = self.name();
                    tracing::warn!(cluster, %place, version, before, "the server has gone backwards; compared anew");
                }
                (listing, version)
            });
            for object in page.items {
                if let Some((id, seen)) = sight(&place.kind, object, rules, self.shown_of()) {
                    self.note_at(place, &id, seen, listing.era, Some(*listing));
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => {
                    let closed = self.seen_at(place).close(place, *listing, version);
                    for (id, owners) in closed.gone {
                        self.tell_of(place, owners, &id);
                    }
                    self.tell_listed(place);
                    let (listing, version) = (*listing, version.clone());
                    return Ok(Reached { listing, version, younger: closed.younger });
                }
            }
        }
    }

    /// Follows what changes after a list, over as many watches as it takes. Says why it must be listed anew.
    async fn stay<K: Sight>(
        self: &Arc<Self>,
        place: &Place,
        api: &Api<K>,
        mut reached: Reached,
        pace: &mut Pace,
        judging: &mut Judging,
    ) -> Result<String, End> {
        loop {
            let (opened, outages) = (Instant::now(), self.outages());
            let rules = Arc::clone(&judging.rules);
            let watch = self.watch_once(place, api, &mut reached, pace.watch_seconds(), &rules);
            let pause = tokio::select! {
                pause = watch => pause,
                () = judging.others(&place.kind) => Pause::Rejudged,
            };
            let sound = opened.elapsed() >= SOUND;
            if sound {
                pace.breaks = 0;
            }
            match pause {
                Pause::Due
                    if place.namespace.is_some()
                        && place.name.is_none()
                        && self.seen_at(place).is_empty(place) =>
                {
                    return Err(End::Deserted);
                }
                Pause::Due => {}
                Pause::Broken => {
                    self.doubt();
                    // Where it answers at once, and as the same cluster, nothing was missed.
                    let same = sound && self.recognise().await.is_ok() && self.outages() == outages;
                    if !same {
                        return Ok("the watch broke".to_owned());
                    }
                    self.shared.options.telemetry.watch_restarted(self.name());
                }
                Pause::Anew(why) => return Ok(why),
                Pause::Forbidden(message) => return Err(End::Forbidden(message)),
                Pause::Rejudged => return Err(End::Rejudged),
            }
        }
    }

    /// One watch, from where was reached on.
    async fn watch_once<K: Sight>(
        self: &Arc<Self>,
        place: &Place,
        api: &Api<K>,
        reached: &mut Reached,
        seconds: u32,
        rules: &HealthRules,
    ) -> Pause {
        let params = match &place.name {
            None => WatchParams::default().labels(names::OWNER),
            Some(name) => WatchParams::default().fields(&named(name)),
        };
        let params = params.timeout(seconds);
        let Reached { listing, version, younger } = reached;
        let began = Instant::now();
        let events = match self.ask("watch", place, api.watch(&params, version)).await {
            Ok(events) => events,
            Err(MemberError::Refused { code: 403, message, .. }) => return Pause::Forbidden(message),
            Err(error) => return Pause::Anew(error.to_string()),
        };
        let mut events = pin!(events);
        let silence = self.shared.options.silence;
        loop {
            let event = match tokio::time::timeout(silence, events.next()).await {
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(_))) => return Pause::Broken,
                // A server that is told how long to go on ends the watch at that time; before it, something broke.
                Ok(None)
                    if began.elapsed() + Duration::from_secs(1) >= Duration::from_secs(seconds.into()) =>
                {
                    return Pause::Due;
                }
                Ok(None) => return Pause::Broken,
                // What is silent may be dead, and so may be the cluster.
                Err(_) => {
                    self.doubt();
                    return Pause::Anew(format!("nothing was heard for {} s", silence.as_secs_f32()));
                }
            };
            self.recognition.hear();
            let now = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    let now = object.meta().resource_version.clone().unwrap_or_default();
                    if !is_backwards(version, &now)
                        && let Some((id, seen)) = sight(&place.kind, object, rules, self.shown_of())
                    {
                        younger.retain(|known, answered| *known != id || is_older(&now, answered));
                        self.note_at(place, &id, seen, listing.era, None);
                    }
                    now
                }
                WatchEvent::Deleted(object) => {
                    let now = object.meta().resource_version.clone().unwrap_or_default();
                    if !is_backwards(version, &now)
                        && let Some((id, seen)) = sight(&place.kind, object, rules, self.shown_of())
                    {
                        younger.retain(|known, answered| *known != id || is_older(&now, answered));
                        if let Some(owners) = self.seen_at(place).remove(&id, &seen.uid) {
                            self.tell_of(place, owners, &id);
                        }
                    }
                    now
                }
                // What was answered long ago would have come by now; so the list came from before the server was set back.
                WatchEvent::Bookmark(_) if !younger.is_empty() && began.elapsed() >= SOUND => {
                    return Pause::Anew(format!("{} answered objects aren't shown", younger.len()));
                }
                WatchEvent::Bookmark(bookmark) => bookmark.metadata.resource_version,
                WatchEvent::Error(status) if status.code == 403 => {
                    return Pause::Forbidden(status.message.clone());
                }
                WatchEvent::Error(status) => return Pause::Anew(status.message.clone()),
            };
            if is_backwards(version, &now) {
                return Pause::Anew(format!("the server has gone backwards, from {version} to {now}"));
            }
            if let Ok(number) = now.parse() {
                self.seen_at(place).progress(place, number);
            }
            *version = now;
        }
    }
}

/// The field selector of one object.
fn named(name: &str) -> String {
    format!("metadata.name={name}")
}

/// Within one watch versions only grow.
fn is_backwards(before: &str, now: &str) -> bool {
    matches!((before.parse::<u64>(), now.parse::<u64>()), (Ok(before), Ok(now)) if now < before)
}
