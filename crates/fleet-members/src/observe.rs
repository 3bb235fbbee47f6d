//! What is seen on a member: one watch per kind, on objects that carry our owner label.
//!
//! ```text
//!  watch(id) ──► kinds (everywhere, or namespace by namespace) ──► follow (list, then watch) ──► sight ──► Observations
//! ```
//!
//! Objects aren't kept: only what decides whether they are done, healthy and as we left them. Kinds whose health
//! doesn't come from their status are watched by their metadata alone, so that the values of Secrets and the like
//! never get here. What somebody looks at without owning it is watched object by object (`look`).

mod follow;
mod judged;
mod kinds;
mod look;
mod sight;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fleet_api::ObjectId;
use fleet_health::Health;
use fleet_json::Compact;

use crate::Member;
use crate::registry::MemberEvent;

pub(crate) use judged::Judges;
pub(crate) use kinds::Watched;
pub(crate) use look::Looks;
pub(crate) use sight::{Sight, had, sight};

/// What is known of one object on a member.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// Its UID.
    pub uid: String,
    /// Its resource version.
    pub resource_version: String,
    /// The value of [`fleet_api::names::OWNER`].
    pub owner: String,
    /// The value of [`fleet_api::names::CONTENT`].
    pub content: String,
    /// Hash over our manager's entry in `managedFields`: which fields it owns, and since when. `None` where it owns
    /// none. Whoever changes a field that we own takes it from us, and whoever writes in our name leaves the time.
    pub managed: Option<u64>,
    /// The Applications whose labels say that they share it, by [`fleet_api::names::shared_by`].
    pub sharers: Box<[String]>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Its health, with the controller's observation of this generation included.
    pub health: Health,
    /// Its status, with its type, its generation and what it asks for but for templates; of objects whose owner is
    /// [`crate::Options::shown_of`], where they have one.
    pub shown: Option<Compact>,
}

/// A kind, by apiVersion and name.
pub(crate) type Kind = (String, String);

/// What one watch covers: what is ours of a kind, everywhere or in one namespace; or one object, whosever it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) namespace: Option<String>,
    /// The one object that it covers.
    pub(crate) name: Option<String>,
}

impl Place {
    /// What is ours of a kind, everywhere or in a namespace.
    pub(crate) fn ours(kind: &Kind, namespace: Option<String>) -> Self {
        Self { kind: kind.clone(), namespace, name: None }
    }

    /// One object.
    pub(crate) fn of(id: &ObjectId) -> Self {
        Self {
            kind: (id.api_version.clone(), id.kind.clone()),
            namespace: Some(id.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            name: Some(id.name.clone()),
        }
    }

    fn covers(&self, id: &ObjectId) -> bool {
        self.kind.0 == id.api_version
            && self.kind.1 == id.kind
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == id.namespace)
            && self.name.as_ref().is_none_or(|name| *name == id.name)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.0, self.kind.1)?;
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        match &self.namespace {
            None => Ok(()),
            Some(namespace) => write!(f, " in namespace {namespace}"),
        }
    }
}

impl Observed {
    /// Whether it says the same, at whichever version.
    fn says_as(&self, other: &Self) -> bool {
        // Whoever adds a field decides whether it counts.
        let Self { uid, resource_version: _, owner, content, managed, deleting, health, sharers, shown } =
            self;
        (managed, deleting) == (&other.managed, &other.deleting)
            && (uid, owner, content) == (&other.uid, &other.owner, &other.content)
            && (health, sharers) == (&other.health, &other.sharers)
            && *shown == other.shown
    }
}

struct Entry {
    /// Shared: every turn looks at each of its objects several times.
    seen: Arc<Observed>,
    era: u64,
    /// The list that it was seen in last.
    round: u64,
    /// Whose it was before it was another's.
    before: Option<String>,
}

impl Entry {
    /// Who hears of it: whose it is, and whose it was.
    fn owners(&self) -> Vec<String> {
        std::iter::once(&self.seen.owner).chain(&self.before).cloned().collect()
    }
}

/// What is known of a place.
#[derive(Debug, Default, Clone)]
struct Ground {
    /// Resource versions are comparable within one era: one cluster, whose versions only grow.
    era: u64,
    /// The highest version that was seen here in this era.
    highest: u64,
    /// The UID of the cluster that was listed.
    cluster: Option<String>,
    synced: bool,
    /// Why it can't be watched.
    blind: Option<String>,
}

/// The observer's memory.
#[derive(Default)]
pub(crate) struct Observations(Mutex<State>);

#[derive(Default)]
struct State {
    objects: BTreeMap<ObjectId, Entry>,
    places: BTreeMap<Place, Ground>,
    /// Objects of which every change is news.
    closely: BTreeSet<ObjectId>,
    /// The last era that was begun.
    eras: u64,
    /// The last list that was begun.
    rounds: u64,
    /// Whether each place is one object.
    by_name: bool,
}

impl State {
    fn ground(&self, id: &ObjectId) -> Option<&Ground> {
        if self.by_name {
            return self.places.get(&Place::of(id));
        }
        let kind = (id.api_version.clone(), id.kind.clone());
        let wide = Place { kind, namespace: None, name: None };
        self.places
            .get(&wide)
            .or_else(|| self.places.get(&Place { namespace: Some(id.namespace.clone()), ..wide }))
    }
}

/// A list that is being taken in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listing {
    era: u64,
    round: u64,
    /// The version that it shows, where that can be read.
    version: Option<u64>,
    /// Whether the server is another one, or one that has gone backwards.
    pub(crate) anew: bool,
}

/// What a complete list says of what was known.
#[derive(Debug, Default)]
struct Closed {
    /// What isn't there any more, with its owners.
    gone: Vec<(ObjectId, Vec<String>)>,
    /// What is known from answers that are younger than the list, with their versions. A watch from it on shows that, unless
    /// the server was set back between.
    younger: BTreeMap<ObjectId, String>,
}

impl Observations {
    /// Of single objects.
    fn by_name() -> Self {
        Self(Mutex::new(State { by_name: true, ..State::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, id: &ObjectId) -> Option<Arc<Observed>> {
        self.lock().objects.get(id).map(|entry| Arc::clone(&entry.seen))
    }

    /// Whether the first list that covers an object has arrived.
    pub(crate) fn is_synced(&self, id: &ObjectId) -> bool {
        self.lock().ground(id).is_some_and(|ground| ground.synced)
    }

    /// Why an object can't be watched, where it can't.
    pub(crate) fn blind(&self, id: &ObjectId) -> Option<String> {
        self.lock().ground(id).and_then(|ground| ground.blind.clone())
    }

    /// Begins to look at a place.
    fn enter(&self, place: &Place) {
        let mut state = self.lock();
        let era = state.eras;
        state.places.entry(place.clone()).or_insert_with(|| Ground { era, ..Ground::default() });
    }

    fn leave(&self, place: &Place) {
        self.lock().places.remove(place);
    }

    /// Leaves a place and forgets what was seen there.
    fn forget(&self, place: &Place) {
        let mut state = self.lock();
        state.places.remove(place);
        state.objects.retain(|id, _| !place.covers(id));
    }

    fn set_blind(&self, place: &Place, why: &str) {
        if let Some(ground) = self.lock().places.get_mut(place) {
            ground.blind = Some(why.to_owned());
        }
    }

    /// The era in which an object is seen now; what is asked for in it says nothing in a later one.
    pub(crate) fn era(&self, id: &ObjectId) -> u64 {
        let state = self.lock();
        state.ground(id).map_or(state.eras, |ground| ground.era)
    }

    /// The highest version that was seen at a place; asked for before it is listed.
    fn highest(&self, place: &Place) -> u64 {
        self.lock().places.get(place).map_or(0, |ground| ground.highest)
    }

    /// A list has arrived, of this version. Lists are consistent reads, so one that shows less than was seen before it
    /// was asked for comes from a server that has gone backwards: from then on another era counts.
    fn open(&self, place: &Place, version: &str, cluster: Option<String>, before: u64) -> Listing {
        let said = version.parse::<u64>().ok();
        let version = said.unwrap_or(u64::MAX);
        let mut state = self.lock();
        let known = state.places.get(place).cloned().unwrap_or_default();
        let other = known.cluster.is_some() && known.cluster != cluster;
        let anew = other || version < before;
        if anew {
            state.eras += 1;
        }
        let era = if anew { state.eras } else { known.era };
        let highest = if anew { 0 } else { known.highest };
        state.rounds += 1;
        let round = state.rounds;
        let ground = Ground { era, highest, cluster, synced: known.synced, blind: None };
        state.places.insert(place.clone(), ground);
        Listing { era, round, version: said, anew }
    }

    /// The list is complete: what it doesn't show is gone, unless it is younger.
    fn close(&self, place: &Place, listing: Listing, version: &str) -> Closed {
        let mut state = self.lock();
        let mut closed = Closed::default();
        let mut highest = version.parse().unwrap_or(0);
        state.objects.retain(|id, entry| {
            if !place.covers(id) {
                return true;
            }
            let younger = entry.era == listing.era && is_older(version, &entry.seen.resource_version);
            let stays = younger || entry.round == listing.round;
            if younger {
                closed.younger.insert(id.clone(), entry.seen.resource_version.clone());
                highest = highest.max(entry.seen.resource_version.parse().unwrap_or(0));
            }
            if !stays {
                closed.gone.push((id.clone(), entry.owners()));
            }
            stays
        });
        if let Some(ground) = state.places.get_mut(place) {
            ground.synced = true;
            ground.highest = ground.highest.max(highest);
        }
        closed
    }

    /// A watch has come this far.
    fn progress(&self, place: &Place, version: u64) {
        if let Some(ground) = self.lock().places.get_mut(place) {
            ground.highest = ground.highest.max(version);
        }
    }

    /// Whether nothing of ours is known at a place.
    fn is_empty(&self, place: &Place) -> bool {
        !self.lock().objects.keys().any(|id| place.covers(id))
    }

    /// Takes in what was seen in an era, unless something newer is known. The owners to tell, where it says something
    /// new.
    fn put(&self, id: &ObjectId, seen: Observed, era: u64, listing: Option<Listing>) -> Option<Vec<String>> {
        let mut state = self.lock();
        if state.ground(id).is_some_and(|ground| ground.era > era) {
            return None;
        }
        let round = listing.map(|listing| listing.round);
        let (mut news, closely) = (true, state.closely.contains(id));
        if let Some(known) = state.objects.get_mut(id) {
            if known.era > era {
                return None;
            }
            let same_object = known.era == era && known.seen.uid == seen.uid;
            // A list that shows a later version than ours would show ours: the server was set back and has caught up.
            let set_back = listing.and_then(|listing| listing.version).is_some_and(|listed| {
                known.seen.resource_version.parse::<u64>().is_ok_and(|known| known <= listed)
            });
            if same_object && !set_back && is_older(&seen.resource_version, &known.seen.resource_version) {
                known.round = round.unwrap_or(known.round);
                return None;
            }
            let moved = seen.resource_version != known.seen.resource_version;
            news = !seen.says_as(&known.seen) || (closely && moved);
        }
        let version = seen.resource_version.parse().unwrap_or(0);
        let known = state.objects.get(id);
        let round = round.or_else(|| known.map(|known| known.round)).unwrap_or(0);
        let before = known.and_then(|known| match known.seen.owner == seen.owner {
            true => known.before.clone(),
            false => Some(known.seen.owner.clone()),
        });
        let entry = Entry { seen: Arc::new(seen), era, round, before };
        let owners = news.then(|| entry.owners());
        state.objects.insert(id.clone(), entry);
        let kind = (id.api_version.clone(), id.kind.clone());
        let places = match state.by_name {
            true => vec![Place::of(id)],
            false => [None, Some(id.namespace.clone())].map(|namespace| Place::ours(&kind, namespace)).into(),
        };
        for place in places {
            if let Some(ground) = state.places.get_mut(&place) {
                ground.highest = ground.highest.max(version);
            }
        }
        owners
    }

    /// An object was deleted; one that was made anew since then stays. The owners to tell.
    fn remove(&self, id: &ObjectId, uid: &str) -> Option<Vec<String>> {
        let mut state = self.lock();
        if state.objects.get(id).is_some_and(|known| known.seen.uid == uid) {
            return state.objects.remove(id).map(|gone| gone.owners());
        }
        None
    }
}

/// Resource versions are opaque, but those of one object are ordered numbers on every known server.
fn is_older(a: &str, b: &str) -> bool {
    matches!((a.parse::<u64>(), b.parse::<u64>()), (Ok(a), Ok(b)) if a < b)
}

impl Member {
    /// Where it is kept what is seen at a place.
    fn seen_at(&self, place: &Place) -> &Observations {
        if place.name.is_some() { &self.looks.observations } else { &self.observations }
    }

    /// Tells of an object at a place. Who looks at a single one knows of it; whose it is hears of it by its owner label.
    fn tell_of(&self, place: &Place, owners: Vec<String>, id: &ObjectId) {
        self.tell(if place.name.is_some() { vec![String::new()] } else { owners }, id);
    }

    /// From now on every change of an object is told, or only what decides whether it is as we left it. Whoever took a
    /// field of ours may give back its value, and nothing of ours would show it.
    pub fn watch_closely(&self, id: &ObjectId, closely: bool) {
        let mut state = self.observations.lock();
        if closely {
            state.closely.insert(id.clone());
        } else {
            state.closely.remove(id);
        }
    }

    fn tell(&self, owners: Vec<String>, id: &ObjectId) {
        self.changed.notify_waiters();
        for owner in owners {
            self.shared.send(MemberEvent::Object { cluster: self.name().to_owned(), owner, id: id.clone() });
        }
    }

    /// Takes in what is seen at a place.
    fn note_at(&self, place: &Place, id: &ObjectId, seen: Observed, era: u64, listing: Option<Listing>) {
        if let Some(owners) = self.seen_at(place).put(id, seen, era, listing) {
            self.tell_of(place, owners, id);
        }
    }

    /// Takes in an object as the member has it.
    pub(crate) fn note(&self, id: &ObjectId, seen: Observed, era: u64, listing: Option<Listing>) {
        if let Some(owners) = self.observations.put(id, seen, era, listing) {
            self.tell(owners, id);
        }
    }
}
