//! Keeping the status of ManagedClusters true: who answers there, which version, what it holds, when it was last heard.
//!
//! ```text
//!  member events, the hub's watch ──► Touched ──► keep ──► look (member) ──► derive ──► one patch, where it differs
//! ```

mod derive;
pub(crate) mod register;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_api::{ManagedCluster, ManagedClusterStatus, conditions};
use fleet_members::{Capacity, Hold, Member, MemberError, Reachability};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use self::derive::{Reach, Seen, derive};
use crate::context::{Context, lock};
use crate::replicas::Duty;

/// How many members are looked at at once.
const AT_ONCE: usize = 16;
/// The wait after the hub refused a write.
const AFTER_REFUSAL: Duration = Duration::from_secs(5);

/// Members whose status may not be true any more. Everything that sees a change only takes note here.
#[derive(Default)]
pub(crate) struct Touched {
    names: Mutex<BTreeSet<String>>,
    woken: Notify,
}

impl Touched {
    pub(crate) fn touch(&self, name: &str) {
        lock(&self.names).insert(name.to_owned());
        self.woken.notify_one();
    }

    fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut lock(&self.names))
    }
}

/// What was gathered from a member, and when.
struct Gathered {
    at: Instant,
    /// The cluster that it was gathered from.
    uid: Option<String>,
    version: Option<String>,
    capacity: Result<Capacity, String>,
}

type Known = Mutex<BTreeMap<String, Arc<Gathered>>>;

/// Keeps every status true until the controller stops.
pub(crate) async fn keep(ctx: Arc<Context>) {
    let known = Known::default();
    let places = Semaphore::new(AT_ONCE);
    let mut looking = FuturesUnordered::new();
    let mut busy = BTreeSet::new();
    let mut again = BTreeSet::new();
    let mut due: BTreeMap<String, Instant> = BTreeMap::new();
    loop {
        let next = due.values().min().copied();
        let mut wanted = BTreeSet::new();
        tokio::select! {
            () = ctx.stop.cancelled() => return,
            () = ctx.due.touched.woken.notified() => wanted = ctx.due.touched.take(),
            Some((name, at)) = looking.next(), if !looking.is_empty() => {
                let name: String = name;
                busy.remove(&name);
                if again.remove(&name) {
                    wanted.insert(name);
                } else if let Some(at) = at {
                    due.insert(name, at);
                }
            }
            () = sleep_until(next) => {
                let now = Instant::now();
                wanted = due.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.clone()).collect();
            }
        }
        for name in wanted {
            due.remove(&name);
            if busy.contains(&name) {
                again.insert(name);
                continue;
            }
            busy.insert(name.clone());
            let (ctx, known, places) = (&ctx, &known, &places);
            looking.push(async move {
                let Ok(_place) = places.acquire().await else { return (name, None) };
                let at = refresh(ctx, known, &name).await;
                (name, at)
            });
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Looks at one member and writes what differs. Says when to look again even if nothing happens.
async fn refresh(ctx: &Arc<Context>, known: &Known, name: &str) -> Option<Instant> {
    let cluster = ctx.hub.clusters.get(&ObjectRef::new(name));
    let mine = ctx.shares.is_mine(&Duty::Cluster(name.to_owned()));
    let Some(cluster) = cluster.filter(|_| mine) else {
        lock(known).remove(name);
        return None;
    };
    let old = cluster.status.clone().unwrap_or_default();
    let now = ctx.now();
    let mut seen = Seen { now, interval: ctx.options.cluster_refresh, ..Seen::default() };
    let gathered;
    match ctx.members.get(name) {
        Err(error) => seen.reach = Reach::Unaddressed(error.message),
        Ok(member) => {
            check(&member, &old, now).await;
            gathered = gather(ctx, known, name, &member).await;
            let heard = member.heard().and_then(|at| SignedDuration::try_from(at.elapsed()).ok());
            seen.heard = heard.and_then(|ago| now.checked_sub(ago).ok());
            seen.found = member.found_uid();
            let wrong = member.hold().filter(Hold::is_about_identity);
            seen.reach = match (member.reachability(), wrong) {
                // That its credentials are gone says more than that it doesn't answer.
                (Reachability::Unreachable { message, .. }, _) => match ctx.members.addressed(name) {
                    Ok(()) => Reach::No(message),
                    Err(missing) => Reach::Unaddressed(missing),
                },
                (Reachability::Reachable, Some(hold)) => Reach::Wrong(hold),
                (Reachability::Reachable, None) if seen.found.is_none() => Reach::NotYet,
                (Reachability::Reachable, None) => Reach::Yes,
            };
            if let Some(gathered) = &gathered {
                seen.version.clone_from(&gathered.version);
                seen.capacity = Some(gathered.capacity.as_ref().map_err(String::as_str));
                let status = derive(&cluster, &old, &seen);
                return write(ctx, &cluster, &old, status).await;
            }
        }
    }
    let status = derive(&cluster, &old, &seen);
    write(ctx, &cluster, &old, status).await
}

/// Somebody may know better than we that it doesn't answer: who says so later than it was heard is believed until it
/// was asked.
async fn check(member: &Arc<Member>, old: &ManagedClusterStatus, now: Timestamp) {
    let Some(available) = conditions::find(&old.conditions, derive::AVAILABLE).filter(|c| !c.is_true())
    else {
        return;
    };
    let Some(heard) = member.heard() else { return };
    let ago = SignedDuration::try_from(heard.elapsed()).unwrap_or(SignedDuration::MAX);
    let said = available.last_transition_time.map_or(SignedDuration::MAX, |at| now.duration_since(at));
    if said <= ago && member.reachability() == Reachability::Reachable {
        member.doubt();
        // What comes of it is seen in what the member says of itself afterwards.
        let _ = member.recognise().await;
    }
}

/// Version and capacity, asked for at first and then from time to time.
async fn gather(
    ctx: &Arc<Context>,
    known: &Known,
    name: &str,
    member: &Arc<Member>,
) -> Option<Arc<Gathered>> {
    let before = lock(known).get(name).cloned();
    let wrong = member.hold().is_some_and(|hold| hold.is_about_identity());
    if wrong || member.reachability() != Reachability::Reachable || member.found_uid().is_none() {
        return before;
    }
    let uid = member.found_uid();
    let lasts = ctx.options.cluster_refresh.unsigned_abs();
    if let Some(before) = before.as_ref().filter(|b| b.uid == uid && b.at.elapsed() < lasts) {
        return Some(Arc::clone(before));
    }
    let version = match member.version().await {
        Ok(version) => Some(version),
        Err(error) if error.is_transient() => return before,
        Err(_) => None,
    };
    let capacity = match member.capacity().await {
        Ok(capacity) => Ok(capacity),
        Err(error) if error.is_transient() => return before,
        Err(MemberError::Refused { code: 403, .. }) => {
            Err("its account may not list nodes, so what it holds isn't known".to_owned())
        }
        Err(error) => Err(format!("what it holds isn't known: {error}")),
    };
    let gathered = Arc::new(Gathered { at: Instant::now(), uid, version, capacity });
    lock(known).insert(name.to_owned(), Arc::clone(&gathered));
    Some(gathered)
}

/// Writes a status where it differs.
async fn write(
    ctx: &Arc<Context>,
    cluster: &ManagedCluster,
    old: &ManagedClusterStatus,
    new: ManagedClusterStatus,
) -> Option<Instant> {
    let again = Instant::now() + ctx.options.cluster_refresh.unsigned_abs();
    let patch = match difference(old, &new) {
        None => return Some(again),
        Some(status) => json!({
            // Decided on this state: on a newer one it is decided again.
            "metadata": { "resourceVersion": cluster.resource_version() },
            "status": status,
        }),
    };
    let api: Api<ManagedCluster> = Api::all(ctx.hub.client.clone());
    let name = cluster.name_any();
    match api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => {
            crate::report::events::cluster_turned(ctx, cluster, &old.conditions, &new.conditions);
            Some(again)
        }
        // The newer state is on its way, and asks for another look.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Some(again),
        Err(error) => {
            tracing::warn!(cluster = name, %error, "the status of a member can't be written; tried again");
            Some(Instant::now() + AFTER_REFUSAL)
        }
    }
}

/// The merge patch from one status to another; nothing where they are the same.
fn difference(old: &ManagedClusterStatus, new: &ManagedClusterStatus) -> Option<Value> {
    if old == new {
        return None;
    }
    let (old, new) = (serde_json::to_value(old).ok()?, serde_json::to_value(new).ok()?);
    Some(fleet_json::patch::merge_patch_between(&old, &new))
}
