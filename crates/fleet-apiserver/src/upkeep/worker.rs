//! One cluster's work, piece by piece.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Refusal, Upkeep, Work};
use crate::authorization::aggregation;
use crate::{garbage, namespaces};

/// After that many failures in a row a piece is left alone until the next event brings it up again.
const ATTEMPTS: u32 = 12;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Works until the cluster's queue is empty and nothing waits to be tried again.
pub(super) async fn run(upkeep: Upkeep, cluster: Arc<str>) {
    let Some(wake) = upkeep.queues.wake(&cluster) else { return };
    let mut failures: HashMap<Work, u32> = HashMap::new();
    let mut later: Vec<(Instant, Work)> = Vec::new();
    loop {
        if let Some(work) = upkeep.queues.take(&cluster) {
            match Box::pin(upkeep.work(&cluster, &work)).await {
                Ok(()) => {
                    failures.remove(&work);
                }
                Err(refusal) => {
                    let count = failures.entry(work.clone()).and_modify(|count| *count += 1).or_insert(1);
                    tracing::debug!(%cluster, ?work, %refusal, count = *count, "upkeep refused");
                    if *count < ATTEMPTS {
                        let pause = FIRST_PAUSE.saturating_mul(1 << (*count - 1)).min(LONGEST_PAUSE);
                        later.push((Instant::now() + pause, work));
                    } else {
                        failures.remove(&work);
                        tracing::warn!(%cluster, ?work, %refusal, "upkeep gave up until something changes");
                    }
                }
            }
        } else if let Some(next) = later.iter().map(|(at, _)| *at).min() {
            tokio::select! {
                () = sleep_until(next) => {}
                () = wake.notified() => {}
            }
        } else if upkeep.queues.finish(&cluster) {
            return;
        }
        if !later.is_empty() {
            let now = Instant::now();
            for (_, work) in later.extract_if(.., |(at, _)| *at <= now) {
                upkeep.queues.add(&cluster, work);
            }
        }
    }
}

impl Upkeep {
    async fn work(&self, cluster: &Arc<str>, work: &Work) -> Result<(), Refusal> {
        if self.server.inner.cluster(cluster).is_none() {
            return self.not_served(cluster, work);
        }
        match work {
            Work::Dependent(key) => garbage::dependent(self, key).await,
            Work::Owner(key) => garbage::owner(self, key).await,
            Work::Namespace(name) => namespaces::tend(self, cluster, name).await,
            Work::Roles => aggregation::tend(self, cluster).await,
        }
    }

    /// A cluster's first objects are there before it is served, and its last changes come after: what is still
    /// in the store is tried again.
    fn not_served(&self, cluster: &Arc<str>, work: &Work) -> Result<(), Refusal> {
        let key = match work {
            Work::Dependent(key) | Work::Owner(key) => key.clone(),
            Work::Namespace(name) => namespaces::key_of(cluster, name),
            // Made with their rules; the next change brings them up again.
            Work::Roles => return Ok(()),
        };
        match self.server.store().get(&key) {
            None => Ok(()),
            Some(_) => Err(Refusal::new(404, "the cluster isn't served")),
        }
    }
}
