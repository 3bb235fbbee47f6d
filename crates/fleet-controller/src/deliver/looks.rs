//! Objects of others: what an Application only reads is looked at by its name on the member, and waited for; of what it
//! shares it hears, whoever owns it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet_api::ObjectId;
use fleet_health::HealthStatus;
use fleet_members::Member;
use fleet_plan::Claim;

use crate::context::Context;
use crate::deliver::drift;
use crate::turn::walk::Walk;

/// By member, what an Application looks at there. Dropped, it looks no more.
#[derive(Default)]
pub(crate) struct Looks {
    looker: String,
    at: BTreeMap<String, (Arc<Member>, BTreeSet<ObjectId>)>,
    /// Those of which others' watches bring what changes.
    shared: BTreeSet<(String, ObjectId)>,
}

impl Drop for Looks {
    fn drop(&mut self) {
        for (member, _) in self.at.values() {
            member.look(&self.looker, &BTreeSet::new());
        }
    }
}

/// Looks at what was delivered, or is being delivered, as read-only or shared; and no longer at anything else.
pub(crate) fn settle(ctx: &Context, walk: &mut Walk) {
    let loaded = walk.revision.iter().chain(walk.revisions.values());
    let concerned = loaded.into_iter().any(|revision| revision.policies.concerns_others());
    if !concerned && walk.looks.at.is_empty() && walk.looks.shared.is_empty() {
        return;
    }
    let mut wanted: BTreeMap<String, BTreeSet<ObjectId>> = BTreeMap::new();
    let mut shared = BTreeSet::new();
    for target in drift::targets(walk) {
        let mut layers = walk.layers(&target);
        layers.extend(walk.sent(&target));
        layers.extend(walk.begun(&target));
        for desired in walk.overlay(&layers, &target) {
            match desired.claim {
                Claim::Own => {}
                Claim::Observe => {
                    wanted.entry(target.cluster.clone()).or_default().insert(desired.id);
                }
                Claim::Share => {
                    shared.insert((target.cluster.clone(), desired.id));
                }
            }
        }
    }
    wanted.retain(|_, ids| !ids.is_empty());
    let mut changed = walk.looks.shared != shared;
    walk.looks.shared = shared;
    walk.looks.looker.clone_from(&walk.owner);
    walk.looks.at.retain(|cluster, (member, _)| {
        let stays = wanted.contains_key(cluster);
        if !stays {
            member.look(&walk.owner, &BTreeSet::new());
            changed = true;
        }
        stays
    });
    for (cluster, ids) in wanted {
        let Ok(member) = ctx.members.get(&cluster) else { continue };
        let known = walk.looks.at.get(&cluster);
        if known.is_some_and(|(known, at)| Arc::ptr_eq(known, &member) && *at == ids) {
            continue;
        }
        member.look(&walk.owner, &ids);
        walk.looks.at.insert(cluster, (member, ids));
        changed = true;
    }
    if changed {
        let at = walk
            .looks
            .at
            .iter()
            .flat_map(|(cluster, (_, ids))| ids.iter().map(|id| (cluster.clone(), id.clone())));
        ctx.due.look(&walk.key, at.chain(walk.looks.shared.iter().cloned()));
    }
}

/// What is waited for of an object that is only read; nothing where it is there and well.
pub(crate) fn judge(member: &Arc<Member>, id: &ObjectId) -> Option<(&'static str, String)> {
    let cluster = member.name();
    let Some(seen) = member.seen(id) else {
        if let Some(why) = member.cannot_see(id) {
            return Some(("CannotWatch", format!("{id}: {why}")));
        }
        if !member.sees(id) {
            return Some(("NotListed", format!("{id} isn't listed on the member yet")));
        }
        let advice = "a read-only policy says that it is somebody else's; create it there, or take it out of the policy";
        return Some(("ReadOnlyMissing", format!("{id} isn't on {cluster}: {advice}")));
    };
    if seen.deleting {
        return Some((
            "ReadOnlyMissing",
            format!("{id} on {cluster} is being deleted; a read-only policy waits for it"),
        ));
    }
    match seen.health.status {
        HealthStatus::Healthy | HealthStatus::Suspended => None,
        HealthStatus::Unknown => Some(("Unknown", format!("{id}: {}", seen.health.message))),
        HealthStatus::Progressing => Some(("Progressing", format!("{id}: {}", seen.health.message))),
        HealthStatus::Degraded => Some(("Degraded", format!("{id}: {}", seen.health.message))),
    }
}
