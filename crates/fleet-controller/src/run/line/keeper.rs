//! Keeps the line: reads it by watch, and writes what runs ask for, all that is asked at once in one write.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleet_api::{Run, names};
use fleet_workflow::line::Blocker;
use fleet_workflow::{Claimant, Line};
use futures::StreamExt as _;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt as _, watcher};

use super::Asked;
use crate::context::{AppKey, Context};

/// The Lease that holds the line.
const NAME: &str = "fleetctl-runs";
/// What is waited for after the hub refused a write.
const AFTER_FAILURE: Duration = Duration::from_millis(500);
/// Annotations of an object take 256 KiB: what doesn't fit asks again when somebody has left.
const MOST_BYTES: usize = 200 * 1024;

/// The line as it was read or written last, and the Lease that it stands in.
#[derive(Default)]
struct Known {
    lease: Option<Lease>,
    line: Line,
}

/// Keeps the line until the controller stops.
pub(crate) async fn keep(ctx: Arc<Context>) {
    let _part = ctx.options.health.part("the line of runs".to_owned(), ctx.stop.clone());
    let namespace = ctx.options.leases.as_ref().map(|leases| leases.namespace.clone());
    let namespace = namespace.unwrap_or_else(|| names::SYSTEM_NAMESPACE.to_owned());
    let leases: Api<Lease> = Api::namespaced(ctx.hub.client.clone(), &namespace);
    let only = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
    let mut events = std::pin::pin!(watcher(leases.clone(), only).default_backoff());
    let mut known = Known::default();
    let mut listed = false;
    let mut failed = false;
    loop {
        let again = async {
            if failed {
                tokio::time::sleep(AFTER_FAILURE).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = ctx.stop.cancelled() => return,
            () = ctx.line.news.notified() => {}
            () = again => {}
            event = events.next() => match event {
                Some(Ok(watcher::Event::Init)) => {
                    listed = false;
                    continue;
                }
                Some(Ok(watcher::Event::InitApply(lease))) => {
                    listed = true;
                    known.see(Some(lease));
                }
                Some(Ok(watcher::Event::Apply(lease))) => known.see(Some(lease)),
                Some(Ok(watcher::Event::Delete(_))) => known.see(None),
                Some(Ok(watcher::Event::InitDone)) => {
                    if !listed {
                        known.see(None);
                    }
                }
                Some(Err(error)) => {
                    crate::hub::watches::interrupted(&ctx, "Leases", &error);
                    continue;
                }
                None => return,
            },
        }
        let outcome = tokio::select! {
            () = ctx.stop.cancelled() => return,
            outcome = bring_up_to_date(&ctx, &leases, &namespace, &mut known) => outcome,
        };
        failed = outcome.is_err();
        if let Err(error) = outcome {
            tracing::warn!(%error, lease = NAME, namespace, "the line of runs can't be written; it is tried again");
        }
    }
}

impl Known {
    /// Takes what the hub shows, unless it is older than what was written here.
    fn see(&mut self, lease: Option<Lease>) {
        let line = lease.as_ref().map(read).unwrap_or_default();
        let anew = match (&lease, &self.lease) {
            (Some(seen), Some(known)) => seen.uid() != known.uid(),
            _ => true,
        };
        if anew || line.sequence >= self.line.sequence {
            *self = Self { lease, line };
        }
    }
}

/// What stands in a Lease. What can't be read holds nothing: everybody asks again.
fn read(lease: &Lease) -> Line {
    let text = lease.annotations().get(names::LINE);
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Writes until everything that is asked for stands in the line.
async fn bring_up_to_date(
    ctx: &Arc<Context>,
    leases: &Api<Lease>,
    namespace: &str,
    known: &mut Known,
) -> Result<(), kube::Error> {
    let mut fresh = false;
    loop {
        let pending = ctx.line.pending();
        let mut next = known.line.clone();
        for gone in gone(ctx, &next).await {
            next.forget(&gone);
        }
        let placed = place(ctx, &mut next, &pending);
        next.settle(ctx.line.limits);
        if next.claims == known.line.claims {
            // That nothing is to be written proves nothing about how old this copy is.
            if !fresh && placed.iter().any(|(_, asked)| asked.landed == 0) {
                *known = reread(leases).await?;
                fresh = true;
                continue;
            }
            tell(ctx, &known.line, &placed);
            return Ok(());
        }
        next.sequence = next.sequence.saturating_add(1);
        match write(leases, known.lease.as_ref(), &next, namespace).await {
            Ok(lease) => {
                *known = Known { lease: Some(lease), line: next };
                tell(ctx, &known.line, &placed);
                if ctx.line.pending().iter().all(|(key, _)| !placed.iter().any(|(placed, _)| placed == key)) {
                    return Ok(());
                }
            }
            Err(kube::Error::Api(refusal)) if refusal.code == 409 => {
                *known = reread(leases).await?;
                fresh = true;
            }
            Err(kube::Error::Api(refusal)) if refusal.code == 404 && known.lease.is_some() => {
                *known = Known::default();
            }
            Err(kube::Error::Api(refusal)) if refusal.code == 404 => {
                make_namespace(ctx, namespace).await?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Puts what is asked for into the line, as far as it fits.
fn place(ctx: &Context, line: &mut Line, pending: &[(AppKey, Asked)]) -> Vec<(AppKey, Asked)> {
    let now = ctx.now();
    let mut placed = Vec::new();
    for (key, asked) in pending {
        let before = line.claims.len();
        line.ask(&asked.who, &asked.clusters, now);
        // Where it grew, nothing but this run came.
        let grows = line.claims.len() > before;
        if grows && serde_json::to_string(&line).map_or(usize::MAX, |text| text.len()) > MOST_BYTES {
            line.forget(&asked.who.uid);
            continue;
        }
        placed.push((key.clone(), asked.clone()));
    }
    placed
}

fn tell(ctx: &Context, line: &Line, placed: &[(AppKey, Asked)]) {
    for key in ctx.line.stands(line.clone(), placed) {
        ctx.due.wake(&key);
    }
}

/// Runs that stand in somebody's way and are over, or not there any more, and that nobody will take out: their
/// Applications are gone.
async fn gone(ctx: &Context, line: &Line) -> Vec<String> {
    if line.claims.iter().all(|claim| claim.waits.is_empty()) {
        return Vec::new();
    }
    let limits = ctx.line.limits;
    let blockers: BTreeSet<Claimant> = line
        .views(limits)
        .into_values()
        .flat_map(|view| view.waits.into_values().flatten())
        .map(|blocker| match blocker {
            Blocker::Holder(who) | Blocker::Earlier(who) | Blocker::Limit(_, who) => who,
        })
        .collect();
    let mut gone = Vec::new();
    for who in blockers {
        let application = ObjectRef::new(&who.application).within(&who.namespace);
        if ctx.hub.applications.get(&application).is_some() {
            continue;
        }
        let runs: Api<Run> = Api::namespaced(ctx.hub.client.clone(), &who.namespace);
        // One that can't be read may well act.
        if let Ok(run) = runs.get_opt(&who.run).await {
            let same = run.filter(|run| run.uid().as_deref() == Some(&who.uid));
            let phase = same.and_then(|run| run.status).map(|status| status.phase);
            if phase.is_none_or(fleet_api::RunPhase::is_over) {
                tracing::info!(
                    namespace = who.namespace,
                    run = who.run,
                    "a run that is gone holds nothing any more"
                );
                gone.push(who.uid);
            }
        }
    }
    gone
}

async fn reread(leases: &Api<Lease>) -> Result<Known, kube::Error> {
    let lease = leases.get_opt(NAME).await?;
    let line = lease.as_ref().map(read).unwrap_or_default();
    Ok(Known { lease, line })
}

async fn write(
    leases: &Api<Lease>,
    stored: Option<&Lease>,
    line: &Line,
    namespace: &str,
) -> Result<Lease, kube::Error> {
    let mut lease = stored.cloned().unwrap_or_default();
    lease.metadata.name = Some(NAME.to_owned());
    lease.metadata.namespace = Some(namespace.to_owned());
    lease.metadata.managed_fields = None;
    let text = serde_json::to_string(line).unwrap_or_default();
    lease.annotations_mut().insert(names::LINE.to_owned(), text);
    let first = line.claims.iter().find(|claim| !claim.holds.is_empty());
    let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
    // For people: who acts for longest.
    spec.holder_identity = first.map(|claim| claim.who.uid.clone());
    match stored {
        Some(_) => leases.replace(NAME, &PostParams::default(), &lease).await,
        None => leases.create(&PostParams::default(), &lease).await,
    }
}

async fn make_namespace(ctx: &Context, name: &str) -> Result<(), kube::Error> {
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(name.to_owned());
    let namespaces: Api<Namespace> = Api::all(ctx.hub.client.clone());
    match namespaces.create(&PostParams::default(), &namespace).await {
        Err(kube::Error::Api(refusal)) if refusal.code == 409 => Ok(()),
        made => made.map(drop),
    }
}
