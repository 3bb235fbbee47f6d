//! Places that stay as they are, since they are held or what they would get can't be told: what was delivered there last is
//! mended, by a controller that was started later, too.
//!
//! What a place has is on record where the hub says something else by now; where it doesn't, the hub's own content is it.

use std::sync::Arc;

use fleet_api::{ObjectId, names};
use fleet_json::Compact;
use fleet_members::Observed;
use fleet_placement::pieces;
use serde_json::Value;

use super::distributor::Distributor;
use super::items::{Goal, Item, Standing};

impl Distributor {
    /// A place stays as it is. `now` is what it would get if it were let go, where that is known.
    pub(super) fn stand_still(
        &self,
        id: &ObjectId,
        item: &mut Item,
        cluster: &str,
        now: Option<Arc<Standing>>,
    ) {
        let replicas = item.remembered.told.get(cluster).copied();
        let place = item.places.entry(cluster.to_owned()).or_default();
        if place.last.is_none() && place.may_have() {
            let recorded = item.remembered.held.get(cluster).map(|object| standing(object, replicas));
            place.last = recorded.or_else(|| now.clone().filter(|now| self.shows(id, cluster, &now.content)));
        }
        let Some(last) = place.last.clone() else {
            place.goal = Goal::Stay;
            return;
        };
        let differs = now.is_none_or(|now| now.content != last.content);
        if !differs {
            item.remembered.held.remove(cluster);
        } else if !id.is_secret() {
            item.remembered.held.insert(cluster.to_owned(), last.sent(self.owner()));
        }
        place.goal = Goal::Stand(last);
    }

    /// What a cluster last showed of an object, if it is one of ours there.
    pub(super) fn observed(&self, id: &ObjectId, cluster: &str) -> Option<Arc<Observed>> {
        let member = self.ctx.members.get(cluster).ok()?;
        member.observed(id).filter(|seen| seen.owner == self.owner())
    }

    /// Whether a cluster shows that this content was delivered there.
    fn shows(&self, id: &ObjectId, cluster: &str, content: &str) -> bool {
        self.observed(id, cluster).is_some_and(|seen| seen.content == content)
    }
}

/// The replicas that are asked for in what was seen of an object.
pub(super) fn replicas(id: &ObjectId, seen: &Observed) -> Option<u64> {
    pieces::count(&id.api_version, &id.kind, &seen.shown.as_ref()?.read())
}

/// An object as it was sent, from a record.
pub(super) fn standing(object: &Value, replicas: Option<u64>) -> Arc<Standing> {
    let labels = object.pointer("/metadata/labels");
    let content = labels.and_then(|labels| labels.get(names::CONTENT)?.as_str());
    Arc::new(Standing {
        content: content.unwrap_or_default().to_owned(),
        object: Compact::of(object),
        takes_over: false,
        replicas,
    })
}
