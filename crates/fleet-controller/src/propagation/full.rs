//! Replicas for which a cluster has no room: pods that find no node, and pods that a quota doesn't let be made.
//!
//! ```text
//!  a place isn't well ─► 5 s ─► its cluster is asked once for all that wait ─► counted by selector ─► settle ─► placement
//! ```
//!
//! A workload's own status doesn't say that its pods find no node; watching the pods of all members would cost more than all the
//! rest. So a cluster is asked only while something there doesn't come up: one request for everything that waits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet_api::ObjectId;
use fleet_health::HealthStatus;
use fleet_json::LabelSelector;
use fleet_members::{MemberError, Observed, PendingPod};
use fleet_placement::Trouble;
use fleet_placement::pieces::is_job;
use fleet_propagation::Policy;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::dependents::follows;
use super::dispatch::Done;
use super::distributor::Distributor;
use super::due::Due;
use super::items::{Item, Matter};

/// So long it may take replicas to come up before anybody is asked about them; a cluster isn't asked more often, either.
const ASK_AFTER: Duration = Duration::from_secs(5);
/// How soon it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// What isn't well, and when its cluster is asked about it.
#[derive(Default)]
pub(super) struct ComingUp {
    waiting: BTreeMap<String, BTreeSet<ObjectId>>,
    ask: Due<String>,
}

impl ComingUp {
    /// Something doesn't come up on a cluster.
    fn wait(&mut self, cluster: &str, id: &ObjectId, now: Instant) {
        if self.waiting.entry(cluster.to_owned()).or_default().insert(id.clone()) {
            self.ask.no_later(&cluster.to_owned(), now + ASK_AFTER);
        }
    }

    /// It has come up, or isn't there any more.
    fn forget(&mut self, cluster: &str, id: &ObjectId) {
        let Some(waiting) = self.waiting.get_mut(cluster) else { return };
        waiting.remove(id);
        if waiting.is_empty() {
            self.forget_all(cluster);
        }
    }

    /// The cluster isn't known any more.
    fn forget_all(&mut self, cluster: &str) {
        self.waiting.remove(cluster);
        self.ask.remove(&cluster.to_owned());
    }

    /// When the next cluster is asked.
    pub(super) fn next(&self) -> Option<Instant> {
        self.ask.next()
    }

    /// The clusters that are to be asked now.
    fn due(&mut self, now: Instant) -> Vec<String> {
        let due = self.ask.take(now);
        due.iter().for_each(|cluster| self.ask.set(cluster, now + ASK_AGAIN));
        due
    }
}

/// Replicas of an object for which a cluster has no room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoRoom {
    /// How many.
    replicas: u64,
    /// Of how many that it was told to have.
    told: u64,
    /// Since when all of them.
    since: Timestamp,
    /// A code.
    reason: &'static str,
    /// What the cluster says of it.
    message: String,
}

impl NoRoom {
    /// What is said of an object on a cluster by its pods that wait, and by itself.
    fn of(told: u64, waiting: &[&PendingPod], seen: &Observed, now: Timestamp) -> Option<Self> {
        let since = waiting.iter().filter_map(|pod| pod.since).max();
        if let Some(last) = waiting.last() {
            let replicas = u64::try_from(waiting.len()).unwrap_or(u64::MAX).min(told);
            let (reason, message) =
                ("Unschedulable", format!("{replicas} pods find no node: {}", last.message));
            return Some(Self { replicas, told, since: since.unwrap_or(now), reason, message });
        }
        let shown = seen.shown.as_ref()?.read();
        let status = shown.get("status")?;
        let text = |value: &Value, field: &str| {
            value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let fails = |condition: &&Value| {
            text(condition, "type") == "ReplicaFailure"
                && text(condition, "status") == "True"
                && text(condition, "message").contains("exceeded quota")
        };
        let failure = status.get("conditions")?.as_array()?.iter().find(fails)?;
        let made = status.get("replicas").and_then(Value::as_u64).unwrap_or(0);
        let replicas = told.saturating_sub(made);
        let since = text(failure, "lastTransitionTime").parse().unwrap_or(now);
        let message = format!("{replicas} pods can't be made: {}", text(failure, "message"));
        (replicas > 0).then_some(Self { replicas, told, since, reason: "QuotaExceeded", message })
    }

    /// What of it matters for where the object goes: how many of a share have no room, and since when. A copy that isn't
    /// divided matters where nothing of it has room.
    fn of_share(&self, share: Option<u64>) -> Option<(u64, Timestamp)> {
        let fit = self.told.saturating_sub(self.replicas);
        let stuck = match share {
            Some(share) => share.saturating_sub(fit),
            None if fit == 0 => self.replicas,
            None => 0,
        };
        (stuck > 0).then_some((stuck, self.since))
    }
}

impl Distributor {
    /// Looks whether an object comes up on a cluster; where it doesn't, the cluster is asked after a while.
    pub(super) fn look_after(&mut self, id: &ObjectId, cluster: &str) {
        let Some(item) = self.items.get(id) else { return };
        let well = match self.seen_of(id, cluster) {
            Some(seen) => !matches!(seen.health.status, HealthStatus::Progressing | HealthStatus::Degraded),
            // Who doesn't answer says nothing new.
            None if item.is_at(cluster) => return,
            None => true,
        };
        if !well && self.selector_of(id).is_some() {
            self.coming_up.wait(cluster, id, Instant::now());
            return;
        }
        self.coming_up.forget(cluster, id);
        let item = self.items.get_mut(id);
        if item.is_some_and(|item| item.no_room.remove(cluster).is_some()) {
            self.touch(id);
        }
    }

    fn seen_of(&self, id: &ObjectId, cluster: &str) -> Option<std::sync::Arc<Observed>> {
        self.observed(id, cluster).filter(|seen| !seen.deleting)
    }

    /// How the pods of an object are selected; nothing where it keeps none, or they end.
    fn selector_of(&self, id: &ObjectId) -> Option<LabelSelector> {
        if follows(id.group(), &id.kind) || is_job(&id.api_version, &id.kind) {
            return None;
        }
        let content = self.sources.get(id)?.tree();
        content.pointer("/spec/template/spec")?;
        let selector = LabelSelector::from_json(content.pointer("/spec/selector")?).ok()?;
        (!selector.is_everything()).then_some(selector)
    }

    /// Asks clusters about what doesn't come up there.
    pub(super) fn ask_about_waiting(&mut self) {
        for cluster in self.coming_up.due(Instant::now()) {
            let Ok(member) = self.ctx.members.get(&cluster) else {
                self.coming_up.forget_all(&cluster);
                continue;
            };
            self.jobs.spawn(async move {
                let outcome = member.pending_pods().await;
                Done::AskedForPending { cluster, outcome }
            });
        }
    }

    /// A cluster said which pods find no node.
    pub(super) fn pending_told(&mut self, cluster: &str, outcome: Result<Vec<PendingPod>, MemberError>) {
        let pending = match outcome {
            Ok(pending) => pending,
            Err(MemberError::Refused { code: 403, .. }) => {
                tracing::warn!(
                    cluster,
                    "its account may not list pods, so it isn't known whether they find a node"
                );
                Vec::new()
            }
            Err(error) => {
                tracing::debug!(cluster, %error, "it doesn't say whether pods find a node");
                return;
            }
        };
        let now = self.ctx.now();
        for id in self.coming_up.waiting.get(cluster).cloned().unwrap_or_default() {
            let Some(item) = self.items.get(&id).filter(|item| item.is_at(cluster)) else {
                self.coming_up.forget(cluster, &id);
                continue;
            };
            let (Some(selector), Some(seen)) = (self.selector_of(&id), self.seen_of(&id, cluster)) else {
                continue;
            };
            let its = |pod: &&PendingPod| pod.namespace == id.namespace && selector.matches(&pod.labels);
            let its: Vec<&PendingPod> = pending.iter().filter(its).collect();
            let asked = self.sources.get(&id).and_then(|source| source.replicas);
            let told = item.remembered.told.get(cluster).copied().or(asked);
            // What nobody set on the hub is the member's to say.
            let own = || seen.shown.as_ref()?.read().pointer("/spec/replicas")?.as_u64();
            let found = NoRoom::of(told.or_else(own).unwrap_or(1), &its, &seen, now);
            if found.as_ref() != item.no_room.get(cluster) {
                if let Some(item) = self.items.get_mut(&id) {
                    match found {
                        Some(found) => item.no_room.insert(cluster.to_owned(), found),
                        None => item.no_room.remove(cluster),
                    };
                }
                self.touch(&id);
            }
        }
    }

    /// Adds what placement is to know of full clusters. Where the policy moves things back when a cluster answers, they would
    /// come back at once, and so they stay.
    pub(super) fn add_full(&self, trouble: &mut BTreeMap<String, Trouble>, item: &mut Item, policy: &Policy) {
        item.no_room.retain(|cluster, _| item.places.get(cluster).is_some_and(|place| place.may_have()));
        if policy.rules.failover().moves_back {
            return;
        }
        for (cluster, found) in &item.no_room {
            let share = item.remembered.shares.get(cluster).copied();
            if let Some(stuck) = share.and_then(|share| found.of_share(share)) {
                trouble.entry(cluster.clone()).or_default().stuck = Some(stuck);
            }
        }
    }

    /// What is told of a full cluster.
    pub(super) fn told_of_full(&self, item: &Item, policy: &Policy, cluster: &str) -> Option<Matter> {
        let found = item.no_room.get(cluster)?;
        let share = item.remembered.shares.get(cluster).copied().unwrap_or_default();
        let failover = policy.rules.failover();
        let then = match failover.cluster {
            None => {
                "make room there, or set failover.cluster so that they move to another cluster".to_owned()
            }
            Some(_) if failover.moves_back => {
                "make room there; they stay, since onReturn: MoveBack would bring them back at once"
                    .to_owned()
            }
            Some(_) if share.is_none() && found.of_share(share).is_none() => {
                "make room there; a copy leaves as a whole, and some of this one runs".to_owned()
            }
            Some(patience) if found.since.saturating_add(patience).is_ok_and(|due| due > self.ctx.now()) => {
                let seconds = patience.as_secs();
                format!("{seconds} s after {} they move, as far as others have room", found.since)
            }
            Some(_) => "they move as far as others have room".to_owned(),
        };
        Some(Matter::passing(found.reason, format!("{}; {then}", found.message)))
    }
}

#[cfg(test)]
mod tests {
    use fleet_health::Health;
    use fleet_json::Compact;
    use serde_json::json;

    use super::*;

    fn seen(status: &Value) -> Observed {
        Observed {
            uid: String::new(),
            resource_version: String::new(),
            owner: String::new(),
            content: String::new(),
            managed: None,
            sharers: Box::default(),
            deleting: false,
            health: Health {
                status: HealthStatus::Progressing,
                reason: "ReplicasNotReady".to_owned(),
                message: String::new(),
            },
            shown: Some(Compact::of(&json!({ "status": status }))),
        }
    }

    /// Broken: a quota that is used up is no reason to move, or any other refusal to make pods is one.
    #[test]
    fn a_quota_that_is_used_up_is_a_full_cluster() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let failure = |message: &str| {
            json!({"replicas": 1, "conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
                "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
        };
        let quota = r#"pods "web-x" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=1, limited: pods=1"#;
        let found = NoRoom::of(3, &[], &seen(&failure(quota)), now).unwrap();
        assert_eq!((found.replicas, found.reason), (2, "QuotaExceeded"));
        assert_eq!(found.of_share(Some(3)), Some((2, "2026-01-01T00:00:00Z".parse().unwrap())));
        assert_eq!(found.of_share(Some(1)), None);
        // One copy on each cluster leaves as a whole or not at all.
        assert_eq!(found.of_share(None), None);
        let webhook = "admission webhook \"x\" denied the request";
        assert_eq!(NoRoom::of(3, &[], &seen(&failure(webhook)), now), None);
    }

    /// Broken: a cluster on which many objects don't come up is asked for each of them, or again and again.
    #[tokio::test(start_paused = true)]
    async fn a_cluster_is_asked_once_for_all_that_waits() {
        let id = |name: &str| ObjectId::new("apps/v1", "Deployment", "demo", name);
        let (mut coming, now) = (ComingUp::default(), Instant::now());
        for name in ["a", "b", "c"] {
            coming.wait("one", &id(name), now);
        }
        assert_eq!(coming.next(), Some(now + ASK_AFTER));
        assert!(coming.due(now).is_empty());
        let later = now + ASK_AFTER;
        assert_eq!(coming.due(later), ["one"]);
        coming.wait("one", &id("a"), later);
        assert_eq!(coming.next(), Some(later + ASK_AGAIN));
        coming.wait("one", &id("d"), later);
        assert_eq!(coming.next(), Some(later + ASK_AFTER));
        for name in ["a", "b", "c", "d"] {
            coming.forget("one", &id(name));
        }
        assert_eq!(coming.next(), None);
    }
}
