//! Taking away what is old: runs beyond a number, and revisions beyond a number that nothing needs. What there would be
//! to go back to stays, however many runs failed since.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::{ApplicationRevision, Run, names};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams};

use super::revisions;
use crate::context::Context;
use crate::records::rollback;
use crate::turn::walk::Walk;

/// Takes away the oldest runs and revisions beyond the limits, some at once so that not every run pays for it. What
/// can't be deleted now is found and deleted the next time.
pub(crate) async fn forget_old(ctx: &Context, walk: &mut Walk) {
    let runs = ctx.options.kept_runs.max(1);
    let revisions = ctx.options.kept_revisions.max(1);
    if walk.begun < runs.min(revisions) {
        return;
    }
    walk.begun = 0;
    if let Err(error) = forget(ctx, walk, runs, revisions).await {
        let (namespace, application) = (&walk.key.0, &walk.key.1);
        tracing::warn!(namespace, application, %error, "old runs and revisions stay for now");
    }
}

async fn forget(ctx: &Context, walk: &Walk, runs: usize, revisions: usize) -> Result<(), kube::Error> {
    let mine =
        ListParams::default().labels(&format!("{}={}", names::APPLICATION, names::short_label(&walk.key.1)));
    let api: Api<Run> = Api::namespaced(ctx.hub.client.clone(), &walk.key.0);
    let mut found = super::runs_of(&ctx.hub.client, walk).await?;
    let kept = rollback::kept(&found);
    let old: Vec<Run> = found.drain(..found.len().saturating_sub(runs)).collect();
    let (kept, old): (Vec<Run>, Vec<Run>) = old.into_iter().partition(|run| kept.contains(&run.spec.number));
    found.extend(kept);
    for run in old {
        match api.delete(&run.name_any(), &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    let mut needed: BTreeSet<String> = found.into_iter().map(|run| run.spec.revision).collect();
    needed.extend(walk.needed_revisions());
    let layers = walk.inventory.targets.iter().flat_map(|target| target.layers.iter().chain(&target.begun));
    needed.extend(layers.map(|layer| layer.revision.clone()));
    needed.extend(walk.revisions.keys().cloned());
    needed.extend(walk.revision.iter().map(|revision| revision.name.clone()));
    let api: Api<ApplicationRevision> = Api::namespaced(ctx.hub.client.clone(), &walk.key.0);
    let listed = api.list_metadata(&mine).await?.items;
    // Parts carry the hash of the whole; the whole is as old as its newest part.
    let mut there: BTreeMap<String, Timestamp> = BTreeMap::new();
    for part in listed.iter().filter(|part| part.owner_references().iter().any(|o| o.uid == walk.uid)) {
        let Some(hash) = part.labels().get(names::REVISION_HASH) else { continue };
        let made = part.creation_timestamp().map_or(Timestamp::MIN, |time| time.0);
        let name = names::derived_name(&walk.key.1, hash);
        there.entry(name).and_modify(|known| *known = made.max(*known)).or_insert(made);
    }
    for name in surplus(&there, &needed, revisions) {
        revisions::forget_revision(ctx, &walk.key.0, &name).await;
    }
    Ok(())
}

/// The revisions that go: all but the newest, and but those that something needs.
fn surplus(there: &BTreeMap<String, Timestamp>, needed: &BTreeSet<String>, kept: usize) -> Vec<String> {
    let mut newest: Vec<(&Timestamp, &String)> = there.iter().map(|(name, made)| (made, name)).collect();
    newest.sort_by(|a, b| b.cmp(a));
    newest
        .into_iter()
        .skip(kept)
        .map(|(_, name)| name.clone())
        .filter(|name| !needed.contains(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A revision that a target still holds is the only record of what stands there: without it garbage collection
    /// and drift have nothing to go by.
    #[test]
    fn what_is_needed_stays_however_old_it_is() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let there: BTreeMap<String, Timestamp> = (0..6).map(|n| (format!("web-{n}"), at(n))).collect();
        let needed = BTreeSet::from(["web-1".to_owned(), "web-5".to_owned(), "gone".to_owned()]);
        assert_eq!(surplus(&there, &needed, 2), ["web-3", "web-2", "web-0"]);
        assert_eq!(surplus(&there, &needed, 10), Vec::<String>::new());
        assert_eq!(surplus(&there, &BTreeSet::new(), 1).len(), 5);
    }
}
