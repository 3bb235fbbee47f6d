//! Objects that are unhealthy on a cluster: since when, and what is told of it. What follows is placement's to say.

use std::collections::BTreeMap;

use fleet_api::propagation::PurgeMode;
use fleet_api::{ObjectId, Unhealthy};
use fleet_health::{Health, HealthStatus};
use fleet_placement::Trouble;
use fleet_placement::pieces::is_job;
use fleet_plan::may_need;
use fleet_propagation::Policy;

use super::dependents::follows;
use super::distributor::Distributor;
use super::items::{Item, Matter};
use super::sources::Source;

impl Distributor {
    /// Takes down since when an object is unhealthy on clusters, where its policy moves such.
    ///
    /// What it left keeps its mark until the object says something else, so that it doesn't go back to fail again. A cluster that
    /// doesn't answer tells nothing about health.
    pub(super) fn troubles(
        &self,
        id: &ObjectId,
        item: &mut Item,
        policy: &Policy,
        source: &Source,
    ) -> BTreeMap<String, Trouble> {
        // What has pods, and doesn't end.
        let lasts = || {
            !follows(id.group(), &id.kind) && !is_job(&id.api_version, &id.kind) && may_need(&source.tree())
        };
        if policy.rules.failover().application.is_none() || !lasts() {
            item.remembered.unhealthy.clear();
            return BTreeMap::new();
        }
        let generation = source.generation.unwrap_or_default();
        item.remembered.unhealthy.retain(|_, mark| mark.generation == generation);
        for cluster in item.at().cloned().collect::<Vec<_>>() {
            let health = self.health_of(id, item, &cluster);
            match health.map(|health| health.status) {
                Some(HealthStatus::Progressing | HealthStatus::Degraded) => {
                    let mark = Unhealthy { since: self.ctx.now(), generation };
                    item.remembered.unhealthy.entry(cluster).or_insert(mark);
                }
                Some(HealthStatus::Healthy | HealthStatus::Suspended | HealthStatus::Unknown) => {
                    item.remembered.unhealthy.remove(&cluster);
                }
                None if !item.remembered.ceilings.contains_key(&cluster) => {
                    item.remembered.unhealthy.remove(&cluster);
                }
                None => {}
            }
        }
        let marks = item.remembered.unhealthy.iter();
        marks
            .map(|(cluster, mark)| {
                (cluster.clone(), Trouble { unhealthy_since: Some(mark.since), ..Trouble::default() })
            })
            .collect()
    }

    /// The health of what a cluster was told to have, where that is seen there.
    pub(super) fn health_of(&self, id: &ObjectId, item: &Item, cluster: &str) -> Option<Health> {
        let member = self.ctx.members.get(cluster).ok()?;
        if !matches!(member.reachability(), fleet_members::Reachability::Reachable) {
            return None;
        }
        let seen = member.observed(id)?;
        let sent = item.places.get(cluster)?.last.as_ref()?;
        (seen.owner == self.owner() && !seen.deleting && sent.content == seen.content)
            .then(|| seen.health.clone())
    }

    /// What is told of an object that is unhealthy on a cluster.
    pub(super) fn unwell(
        &self,
        id: &ObjectId,
        item: &Item,
        policy: &Policy,
        cluster: &str,
    ) -> Option<Matter> {
        let mark = item.remembered.unhealthy.get(cluster)?;
        let patience = policy.rules.failover().application?;
        let health = self.health_of(id, item, cluster)?;
        let due = mark.since.saturating_add(patience).unwrap_or(mark.since);
        let then = if due > self.ctx.now() {
            format!("from {due} on it moves to a cluster that fits")
        } else {
            "it stays, as far as no other cluster fits or others aren't ready yet".to_owned()
        };
        let message = format!("unhealthy since {}: {}; {then}", mark.since, health.message);
        Some(Matter::passing("Unhealthy", message))
    }
}

/// Whether a copy that was left by rule is released rather than deleted (`purgeMode: Never`).
pub(super) fn is_released(item: &Item, policy: &Policy, cluster: &str) -> bool {
    if item.remembered.ceilings.get(cluster) != Some(&0) {
        return false;
    }
    let Some(failover) = &policy.spec.failover else { return false };
    let application = failover.application.as_ref().and_then(|rule| rule.purge_mode);
    let mode = if item.remembered.unhealthy.contains_key(cluster) {
        application
    } else {
        failover.cluster.as_ref().and_then(|rule| rule.purge_mode)
    };
    mode == Some(PurgeMode::Never)
}
