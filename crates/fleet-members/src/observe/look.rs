//! Single objects that are looked at, whosever they are: each is watched by its name.
//!
//! What is ours is watched by kind and owner label. What an Application only reads has no such label, and whole kinds
//! of other people's objects aren't ours to hold in memory; so each gets a watch of its own, shared by all who look.
//! A connection carries a bounded number of watches: beyond [`WATCHED`] of these, objects are asked for from time to
//! time instead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet_api::ObjectId;
use kube::api::{DynamicObject, PartialObjectMeta};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::follow::End;
use super::judged::is_seen_by_metadata;
use super::kinds::{AFTER_REFUSAL, missing};
use super::{Observations, Observed, Place};
use crate::resource::ResourcePath;
use crate::{Member, MemberError};

/// How many single objects of a member are watched at once.
const WATCHED: usize = 64;
/// How often objects beyond that are asked for.
const ASKED: Duration = Duration::from_secs(15);

/// The single objects that somebody looks at.
pub(crate) struct Looks {
    pub(super) observations: Observations,
    all: Mutex<BTreeMap<ObjectId, Look>>,
    watches: Semaphore,
}

struct Look {
    /// Who looks.
    lookers: BTreeSet<String>,
    stop: CancellationToken,
}

impl Default for Looks {
    fn default() -> Self {
        Self {
            observations: Observations::by_name(),
            all: Mutex::default(),
            watches: Semaphore::new(WATCHED),
        }
    }
}

impl Looks {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectId, Look>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// Somebody looks at these objects from now on, and no longer at others that they looked at before. What changes
    /// of them is told as [`crate::MemberEvent::Object`] without an owner.
    pub fn look(self: &Arc<Self>, looker: &str, at: &BTreeSet<ObjectId>) {
        let mut all = self.looks.lock();
        all.retain(|id, look| {
            if !at.contains(id) {
                look.lookers.remove(looker);
            }
            let stays = !look.lookers.is_empty() || at.contains(id);
            if !stays {
                look.stop.cancel();
                self.looks.observations.forget(&Place::of(id));
            }
            stays
        });
        for id in at {
            if let Some(look) = all.get_mut(id) {
                look.lookers.insert(looker.to_owned());
                continue;
            }
            let stop = self.stop.child_token();
            let lookers = BTreeSet::from([looker.to_owned()]);
            all.insert(id.clone(), Look { lookers, stop: stop.clone() });
            self.looks.observations.enter(&Place::of(id));
            self.tasks.spawn(stop.run_until_cancelled_owned(Arc::clone(self).look_at(id.clone())));
        }
    }

    /// What a look last showed of an object.
    pub fn seen(&self, id: &ObjectId) -> Option<Arc<Observed>> {
        self.looks.observations.get(id)
    }

    /// Whether it is known of an object that is looked at whether it is there.
    pub fn sees(&self, id: &ObjectId) -> bool {
        self.looks.observations.is_synced(id)
    }

    /// Why an object that is looked at can't be seen; nothing where it can.
    pub fn cannot_see(&self, id: &ObjectId) -> Option<String> {
        self.looks.observations.blind(id)
    }

    /// Whoever looks at a place learns that something is known of it now.
    pub(super) fn tell_looked(&self, place: &Place) {
        let looked_at: Vec<ObjectId> =
            self.looks.lock().keys().filter(|id| place.covers(id)).cloned().collect();
        looked_at.iter().for_each(|id| self.tell(vec![String::new()], id));
    }

    async fn look_at(self: Arc<Self>, id: ObjectId) {
        let place = Place::of(&id);
        loop {
            self.at_hand().await;
            let wait = match self.path(&id).await {
                Ok(path) => match self.looks.watches.try_acquire() {
                    Ok(_permit) => match self.follow_as(&place, &path).await {
                        End::Forbidden(why) => {
                            self.look_fails(&place, &missing(&why));
                            AFTER_REFUSAL
                        }
                        End::Deserted | End::Rejudged => Duration::ZERO,
                    },
                    Err(_) => {
                        self.ask_for(&place, &path).await;
                        ASKED
                    }
                },
                Err(error) => {
                    self.look_fails(&place, &error.to_string());
                    ASKED
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    async fn ask_for(self: &Arc<Self>, place: &Place, path: &ResourcePath) {
        let rules = &self.shared.judges.now();
        let listed = match is_seen_by_metadata(rules, &place.kind) {
            true => {
                let api = self.api_at(place, path);
                self.list::<PartialObjectMeta<DynamicObject>>(place, &api, rules).await
            }
            false => self.list::<DynamicObject>(place, &self.api_at(place, path), rules).await,
        };
        match listed {
            Err(MemberError::Refused { code: 403, message, .. }) => {
                self.look_fails(place, &missing(&message))
            }
            Err(error) => tracing::debug!(cluster = self.name(), %place, %error, "can't be asked for"),
            Ok(_) => {}
        }
    }

    fn look_fails(&self, place: &Place, why: &str) {
        self.looks.observations.set_blind(place, why);
        self.tell_looked(place);
    }
}
