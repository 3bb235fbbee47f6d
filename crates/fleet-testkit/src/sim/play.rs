//! Plays a script: users and misfortune in their order, then everything is healed and time runs.

mod heal;
mod natives;
mod panics;
mod users;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet_sim::{Fault, Weather};
use fleet_store::{Range, Watcher};
use tokio::time::Instant;

use super::record::{Life, Record};
use super::script::{Action, Script};
use super::wanted::{Thing, member_name};
use super::world::{Base, World};
use users::Users;

/// How long the system has after the last action before it must say what it waits for.
const A_WHILE: Duration = Duration::from_secs(90);

/// What is watched of the store.
const RESOURCES: [&str; 11] = [
    "auditlogs.fleetctl.dev",
    "applications.core.oam.dev",
    "applicationrevisions.core.oam.dev",
    "resourcetrackers.core.oam.dev",
    "runs.fleetctl.dev",
    "approvals.fleetctl.dev",
    "managedclusters.cluster.open-cluster-management.io",
    "events.events.k8s.io",
    "namespaces",
    "leases.coordination.k8s.io",
    "services",
];

/// A play, over.
pub(super) struct Played {
    pub(super) record: Record,
    pub(super) seconds: u64,
    /// What isn't as it should be at the end.
    pub(super) unfinished: Vec<String>,
    /// Where the system didn't say what it waits for.
    pub(super) speechless: Vec<String>,
    pub(super) panics: Vec<String>,
}

/// The replicas that live now, and how long each stays away when it dies.
type Lives = Arc<Mutex<Vec<(Life, Duration)>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Plays it, within a runtime whose time is paused.
pub(super) async fn play(base: &Base, script: &Script) -> anyhow::Result<Played> {
    panics::begin();
    let began = Instant::now();
    let world = Arc::new(World::start(base, script));
    if script.policies {
        natives::strangers(&world).await?;
    }
    let store = world.api.store().clone();
    let from = store.revision();
    let mut watchers: Vec<Watcher> = Vec::new();
    for resource in RESOURCES.into_iter().chain(Thing::RESOURCES) {
        watchers.push(store.watch(Range::everywhere(resource), from)?);
    }
    let lives: Lives = Arc::default();
    let mut replicas = tokio::task::JoinSet::new();
    for replica in 0..script.replicas {
        lock(&lives).push((Life::default(), Duration::ZERO));
        replicas.spawn(supervise(Arc::clone(&world), replica, Arc::clone(&lives)));
    }
    let mut users = Users::new(Arc::clone(&world), script.members);
    users.note_inputs();
    for (pause, action) in &script.actions {
        tokio::time::sleep(*pause).await;
        users.remember();
        match action {
            Action::Fault(member, fault, lasts) => {
                users.excuse_absent(*member, *fault);
                let faults = world.faults.get(&member_name(*member)).cloned().unwrap_or_default();
                faults.set(*fault);
                let (until, fault) = (*lasts, *fault);
                replicas.spawn(async move {
                    tokio::time::sleep(until).await;
                    if faults.get() == fault {
                        faults.set(Fault::None);
                    }
                });
            }
            Action::Unwell(member, lasts) => {
                let (unwell, name, until) = (world.unwell.clone(), member_name(*member), *lasts);
                unwell.set(&name, true);
                replicas.spawn(async move {
                    tokio::time::sleep(until).await;
                    unwell.set(&name, false);
                });
            }
            Action::BreakWatches(member) => {
                let name = member.map_or_else(|| fleet_apiserver::ApiServer::HUB.to_owned(), member_name);
                if let Some(faults) = world.faults.get(&name) {
                    faults.break_watches();
                }
            }
            Action::Crash { replica, writes, carried_out, away } => {
                if let Some((life, absent)) = lock(&lives).get_mut(*replica) {
                    life.end_at(*writes, *carried_out);
                    *absent = *away;
                }
            }
            other => users.act(other).await?,
        }
        users.note_inputs();
    }
    tokio::time::sleep(A_WHILE).await;
    let speechless = users.speechless().await?;
    for faults in world.faults.values() {
        faults.set(Fault::None);
        faults.set_weather(Weather::default());
    }
    for member in 0..script.members {
        world.unwell.set(&member_name(member), false);
    }
    lock(&lives).iter().for_each(|(life, _)| life.spare());
    let unfinished = users.heal().await?;
    let mut record = users.record();
    record.sent = world.log.take();
    record.told_good = world.asked.good();
    for watcher in &mut watchers {
        while let Some(event) = watcher.try_recv() {
            record.events.push(event.map_err(|end| anyhow::anyhow!("the journal broke off: {end:?}"))?);
        }
    }
    record.events.sort_by_key(|event| event.revision);
    replicas.shutdown().await;
    Ok(Played { record, seconds: began.elapsed().as_secs(), unfinished, speechless, panics: panics::end() })
}

/// Runs a replica for ever: who dies, or gives up, starts anew.
async fn supervise(world: Arc<World>, replica: usize, lives: Lives) {
    for incarnation in 0.. {
        let (life, mut task) = world.replica(replica, incarnation);
        if let Some(entry) = lock(&lives).get_mut(replica) {
            *entry = (life.clone(), Duration::from_secs(5));
        }
        let guard = AbortOnDrop(task.abort_handle());
        let killed = life.killed();
        let away = tokio::select! {
            biased;
            () = killed.cancelled() => {
                task.abort();
                let _ = (&mut task).await;
                lock(&lives).get(replica).map_or(Duration::ZERO, |(_, away)| *away)
            }
            // A hub that can't be listed in time ends the process, which is started again then.
            _ = &mut task => Duration::from_secs(5),
        };
        drop(guard);
        tokio::time::sleep(away).await;
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
