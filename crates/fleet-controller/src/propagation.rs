//! Continuous distribution: native objects of the hub follow policies, from then on every change does.
//!
//! ```text
//!  hub watches ──► Heard ─┐   definitions, policies, the kinds that they select
//!  members, Applications ─┤
//!            └► Inbox ────┴─► Distributor: one task that owns everything below, one turn after another
//!                               claims, overrides, fleet, sources         what is asked for
//!                               settle: one object ─► Goal of each place  pure: claims, placement, moves, overriders
//!                               ledger: what may be where, before it is   one write at a time for each shard
//!                               dispatch: one request at a time for each place ─► members
//!                               said: status of policies, gathered; wellbeing: how well it is there
//!                               report: what members show, on the object of the hub
//!                               stage: where a policy names a Workflow, an Application carries its objects
//! ```
//!
//! The unit of work is one object of the hub. Whatever happens (a change of it, of a policy, an override, a cluster, or what
//! a member shows) puts the objects that it is about on a list; each is settled anew, and what its places are to do then
//! follows from what was settled, what is on record and what members show. Nothing is decided by history, so a crash
//! anywhere changes nothing but time:
//!
//! - What an object may be on is in the inventory before it is sent (design invariant 8), and leaves it when the member
//!   says that it is gone. What placement must remember is in the same record.
//! - Everything that policies distribute has one owner and one field manager, whichever policy it is: another policy takes
//!   an object over without a conflict, in place. What is added are labels of the object itself, never annotations, nothing
//!   in pod templates.
//! - What was written on the hub in one order is acted on in that order: before an edit is acted on, its policy is read once
//!   more, so a mask that was set before holds it.
//! - Nothing leaves a member before everything is listed that could say that it stays; nor since the definition of its policy
//!   went, which the hub deletes after its policies.
//! - One replica distributes at a time ([`crate::replicas::Duty::Distribution`]); when it changes, the next one lists anew.

mod applications;
mod choose;
mod confirm;
mod definitions;
mod dependents;
mod dispatch;
mod distributor;
mod due;
mod explain;
mod follow;
mod full;
mod held;
mod inbox;
mod items;
mod ledger;
mod lingering;
mod namespaces;
mod needs;
mod paced;
mod policies;
mod render;
mod report;
mod rooms;
mod said;
mod send;
mod served;
mod settle;
mod sources;
mod stage;
mod trouble;
mod wake;
mod watch;
mod wellbeing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleet_api::{ObjectId, Remembered};

pub use self::applications::References;
pub use self::explain::{Distributed, LostClaim, distributed};
pub(crate) use self::inbox::Inbox;
pub use self::policies::read_recorded;
pub use self::render::labelled;
use crate::context::Context;
use crate::records::RecordError;
use crate::replicas::Duty;

/// The wait after the hub refused something without which nothing can be distributed.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);

/// What is on record of everything that policies distribute.
///
/// # Errors
/// What the hub refused, or a record that can't be read.
pub(crate) async fn on_record(client: &kube::Client) -> Result<BTreeMap<ObjectId, Remembered>, RecordError> {
    let (_, recorded) = ledger::Ledger::load(client).await?;
    Ok(recorded.objects.into_iter().map(|(id, (remembered, _))| (id, remembered)).collect())
}

/// Hash of the fields of an object that were the distribution's on a cluster when it delivered there last.
///
/// # Errors
/// What the hub refused, or a record that can't be read.
pub(crate) async fn left(
    client: &kube::Client,
    id: &ObjectId,
    cluster: &str,
) -> Result<Option<u64>, RecordError> {
    ledger::Ledger::left(client, id, cluster).await
}

/// Distributes, as long as that is this replica's duty.
pub(crate) async fn follow(ctx: Arc<Context>) {
    if !ctx.options.namespaces.is_empty() {
        // Policies reach beyond namespaces, so they are for a controller that has the whole hub.
        tracing::info!(
            "policies about native objects aren't followed: this controller has some namespaces only"
        );
        return;
    }
    let mut changes = ctx.shares.changes();
    loop {
        let hold = ctx.shares.hold(&Duty::Distribution);
        let again = match hold {
            None => false,
            Some(hold) => match hold.during(distributor::distribute(&ctx)).await {
                Some(Err(error)) => {
                    tracing::warn!(%error, "distribution begins anew");
                    true
                }
                Some(Ok(())) | None => false,
            },
        };
        tokio::select! {
            () = ctx.stop.cancelled() => return,
            () = tokio::time::sleep(AFTER_REFUSAL), if again => {}
            changed = changes.changed(), if !again => if changed.is_err() { return },
        }
    }
}
