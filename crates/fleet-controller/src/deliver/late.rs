//! Late creations: what a replica that has lost its Lease sent long ago, and what arrives after it was collected.
//!
//! An apply has no precondition, so one that was held up on its way can make anew what a newer revision has deleted. It
//! is told from anything that is to stay: this process deleted an object of that name itself, nothing of ours is to be
//! there, and what is there again carries our owner label.

use std::sync::Arc;

use fleet_api::Target;

use crate::context::{Context, Noted};
use crate::deliver::prune::{self, Parting};
use crate::hub::tenancy;
use crate::turn::walk::Walk;

/// Takes away what came back after it was collected.
pub(crate) fn take_back(ctx: &Arc<Context>, walk: &Walk, noted: &Noted) {
    // What bears the label of the distribution may have been made by it since.
    if walk.owner == ctx.distribution.owner() {
        return;
    }
    for (cluster, id) in &noted.objects {
        if !walk.board.was_collected(cluster, id) {
            continue;
        }
        let here = walk.inventory.targets.iter().filter(|entry| entry.target.cluster == *cluster);
        if here.into_iter().any(|entry| entry.objects.contains_key(id)) || walk.held.contains(cluster) {
            continue;
        }
        let seen = ctx.members.get(cluster).ok().and_then(|member| member.observed(id));
        if !seen.is_some_and(|seen| seen.owner == walk.owner && !seen.deleting) {
            continue;
        }
        let target = Target::new(cluster.as_str(), id.namespace.as_str());
        let (ctx, owner, id) = (Arc::clone(ctx), walk.owner.clone(), id.clone());
        let account = tenancy::account(&ctx, walk, cluster);
        walk.hold.spawn(async move {
            match prune::part_with_all(&ctx, &target, &[Parting::Delete(id.clone())], &owner, account).await {
                Ok(()) => {
                    tracing::info!(cluster = target.cluster, object = %id, "a late write is taken back")
                }
                Err(error) => {
                    tracing::warn!(cluster = target.cluster, object = %id, %error, "a late write stays");
                }
            }
        });
    }
}
