//! How much room members have: asked when a decision needs to know, and reckoned with until it is asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fleet_api::ObjectId;
use fleet_members::{Member, MemberError, Occupancy};
use fleet_placement::room::requests_of_pod;
use fleet_placement::{Resources, Room};
use tokio::time::Instant;

use super::dispatch::Done;
use super::distributor::Distributor;

/// The code of an object that waits for what members say.
pub(super) const MEASURING: &str = "MeasuringRoom";
/// So long what a member said counts; what was decided since is taken off.
const COUNTS: Duration = Duration::from_secs(30);
/// How soon it is asked again where replicas found no room: somebody may have added nodes.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(60);

/// What members said, and who waits for an answer.
#[derive(Default)]
pub(super) struct Rooms {
    known: BTreeMap<String, Known>,
    waiting: BTreeMap<String, BTreeSet<ObjectId>>,
}

struct Known {
    at: Instant,
    /// Nothing where it doesn't answer, or its account may not list nodes and pods.
    room: Option<Room>,
}

impl Rooms {
    /// How many more replicas fit, where that is known.
    pub(super) fn fits(&self, cluster: &str, request: &Resources) -> Option<u64> {
        Some(self.known.get(cluster)?.room.as_ref()?.fits(request))
    }

    /// Whether what is known of a cluster is too old to decide on.
    pub(super) fn is_outdated(&self, cluster: &str, now: Instant) -> bool {
        self.known.get(cluster).is_none_or(|known| now.duration_since(known.at) >= COUNTS)
    }

    /// Replicas were given to a cluster.
    pub(super) fn take(&mut self, cluster: &str, request: &Resources, replicas: u64) {
        if let Some(room) = self.known.get_mut(cluster).and_then(|known| known.room.as_mut()) {
            room.take(request, replicas);
        }
    }

    /// An object waits for what a cluster says. True where it isn't asked already.
    fn wait(&mut self, cluster: &str, id: &ObjectId) -> bool {
        let asked = self.waiting.contains_key(cluster);
        self.waiting.entry(cluster.to_owned()).or_default().insert(id.clone());
        !asked
    }

    /// What a cluster said. Who waited for it.
    fn heard(&mut self, cluster: &str, room: Option<Room>, now: Instant) -> BTreeSet<ObjectId> {
        self.known.insert(cluster.to_owned(), Known { at: now, room });
        self.waiting.remove(cluster).unwrap_or_default()
    }
}

impl Distributor {
    /// Asks clusters how much room they have; the object is settled again when each has said so, or doesn't answer.
    pub(super) fn ask_for_room(&mut self, id: &ObjectId, clusters: &[String]) {
        for cluster in clusters {
            if !self.rooms.wait(cluster, id) {
                continue;
            }
            let member = self.ctx.members.get(cluster).ok();
            let cluster = cluster.clone();
            self.jobs.spawn(async move {
                let room = match member {
                    Some(member) => measured(&member).await,
                    None => None,
                };
                Done::Measured { cluster, room: room.map(Box::new) }
            });
        }
    }

    /// A cluster said how much room it has.
    pub(super) fn measured(&mut self, cluster: &str, room: Option<Room>) {
        for id in self.rooms.heard(cluster, room, Instant::now()) {
            self.touch(&id);
        }
    }
}

async fn measured(member: &Arc<Member>) -> Option<Room> {
    match member.occupancy().await {
        Ok(occupancy) => Some(left(occupancy)),
        Err(MemberError::Refused { code: 403, .. }) => {
            let cluster = member.name();
            tracing::warn!(
                cluster,
                "its account may not list nodes and pods, so its room isn't known, and it gets no replicas by room"
            );
            None
        }
        Err(error) => {
            tracing::debug!(cluster = member.name(), %error, "it doesn't say how much room it has");
            None
        }
    }
}

/// What nodes let pods use, less what pods request.
fn left(occupancy: Occupancy) -> Room {
    let mut nodes = occupancy.allocatable;
    for (node, spec) in occupancy.pods {
        let Some(left) = nodes.get_mut(&node) else { continue };
        for (name, used) in requests_of_pod(&spec) {
            if let Some(left) = left.get_mut(&name) {
                *left = left.minus(used);
            }
        }
    }
    Room::new(nodes.into_values().collect())
}
