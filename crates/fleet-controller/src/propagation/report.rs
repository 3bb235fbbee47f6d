//! What members show of an object comes to the status of the object on the hub.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet_api::propagation::{PolicyProblem, Severity};
use fleet_api::{ObjectId, names};
use fleet_health::{HealthRules, Report, aggregate, withdrawn};
use fleet_json::{Compact, ContentHash};
use fleet_placement::Standing;
use fleet_propagation::PolicyId;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::dispatch::Done;
use super::distributor::Distributor;
use super::due::Due;
use super::sources::{GroupKind, Source};

/// What changes within this time is shown at once.
const GATHERED: Duration = Duration::from_millis(50);
/// The wait after the hub refused a status.
const AFTER_REFUSAL: Duration = Duration::from_secs(30);
/// Who is overruled so often shows the status of the kind no more.
const OVERRULED: u32 = 5;

/// The last write of an object's status; of statuses their hashes.
struct Written {
    at: Instant,
    wanted: ContentHash,
    /// What the hub made of it.
    answered: ContentHash,
    /// How many writes in a row were overruled by somebody else, up to the one before this.
    overruled: u32,
}

/// Which objects have something to show, and when.
#[derive(Default)]
pub(super) struct Reports {
    due: Due<ObjectId>,
    writing: BTreeSet<ObjectId>,
    /// Those among them that have something to show again.
    again: BTreeSet<ObjectId>,
    written: BTreeMap<ObjectId, Written>,
    /// Of which the hub has shown a status since the last write began.
    echoed: BTreeSet<ObjectId>,
    /// What the hub doesn't let us take back, although no member has it any more.
    unwanted: BTreeSet<ObjectId>,
    /// Kinds of which nothing is shown, and why.
    refused: BTreeMap<GroupKind, String>,
    interval: Duration,
}

fn kind_of(id: &ObjectId) -> GroupKind {
    (id.group().to_owned(), id.kind.clone())
}

impl Reports {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, ..Self::default() }
    }

    /// Something that members show of an object may have changed.
    pub(super) fn touch(&mut self, id: &ObjectId) {
        if self.refused.contains_key(&kind_of(id)) {
            return;
        }
        if self.writing.contains(id) {
            self.again.insert(id.clone());
            return;
        }
        let soon = Instant::now() + GATHERED;
        let at = self.written.get(id).map_or(soon, |written| soon.max(written.at + self.interval));
        self.due.if_none(id, at);
    }

    pub(super) fn forget(&mut self, id: &ObjectId) {
        self.due.remove(id);
        self.again.remove(id);
        self.written.remove(id);
        self.echoed.remove(id);
        self.unwanted.remove(id);
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.due.next()
    }

    /// How many writes in a row were overruled, as the next one is about to be made. Looked at here, and not as each status
    /// is seen: a write's own echo and who overrules it may both come before its answer does.
    fn fought(&mut self, id: &ObjectId, seen: ContentHash) -> u32 {
        let Some(written) = self.written.get_mut(id) else { return 0 };
        if written.answered == seen {
            written.overruled = 0;
        } else if self.echoed.contains(id) {
            written.overruled += 1;
        }
        written.overruled
    }

    fn take(&mut self, now: Instant) -> Vec<ObjectId> {
        std::iter::from_fn(|| self.due.pop(now)).collect()
    }

    /// A write has ended: what was asked for meanwhile keeps the interval, too.
    fn ended(&mut self, id: &ObjectId, next: Instant) {
        self.writing.remove(id);
        if self.again.remove(id) {
            self.due.if_none(id, next);
        }
    }
}

impl Distributor {
    /// Writes the statuses that are due and differ.
    pub(super) fn report(&mut self) {
        for id in self.reports.take(Instant::now()) {
            if self.reports.refused.contains_key(&kind_of(&id))
                || !self.served.has_status(id.group(), &id.kind)
            {
                continue;
            }
            let Some(source) = self.sources.get(&id) else { continue };
            let Some(wanted) = self.shown(&id, source) else { continue };
            let status = source.status.read();
            if wanted == status {
                continue;
            }
            let (hash, seen) = (ContentHash::of_value(&wanted), ContentHash::of_value(&status));
            let settled = |written: &Written| written.wanted == hash && written.answered == seen;
            if self.reports.written.get(&id).is_some_and(settled) {
                continue;
            }
            let Some(resource) = self.served.resource(id.group(), id.version(), &id.kind) else { continue };
            if self.reports.fought(&id, seen) >= OVERRULED {
                let message = format!(
                    "controllers of the hub write the status of {} too, so what members show of it isn't shown there; it is in status.claimed of the policy",
                    id.kind
                );
                self.stop_reporting(&id, message);
                continue;
            }
            let base = if status.is_null() { json!({}) } else { status };
            let patch = json!({ "status": fleet_json::patch::merge_patch_between(&base, &wanted) });
            let client = self.ctx.hub.client.clone();
            let api: Api<DynamicObject> = if id.namespace.is_empty() {
                Api::all_with(client, &resource)
            } else {
                Api::namespaced_with(client, &id.namespace, &resource)
            };
            self.reports.echoed.remove(&id);
            self.reports.writing.insert(id.clone());
            self.jobs.spawn(async move {
                let params = PatchParams {
                    field_manager: Some(names::STATUS_MANAGER.to_owned()),
                    ..PatchParams::default()
                };
                let written = api.patch_status(&id.name, &params, &Patch::Merge(&patch)).await;
                let outcome = written.map(|object| object.data.get("status").cloned().unwrap_or_default());
                Done::Reported { id, wanted: hash, outcome }
            });
        }
    }

    /// The status that an object is to show on the hub; nothing where no member has one, nor had.
    fn shown(&self, id: &ObjectId, source: &Source) -> Option<Value> {
        let item = self.items.get(id)?;
        let there =
            item.places.iter().filter(|(cluster, place)| item.at.contains(*cluster) && !place.leaves());
        let mut seen = Vec::new();
        for (cluster, place) in there {
            let member = self.ctx.members.get(cluster).ok();
            let observed = member.and_then(|member| member.observed(id));
            let shown = observed
                .filter(|seen| seen.owner == self.owner())
                .and_then(|seen| seen.shown.as_ref().map(Compact::read));
            let silent = match self.fleet.get(cluster).map(|member| &member.standing) {
                Some(Standing::Unreachable(Some(since))) => Some(since.to_string()),
                _ => None,
            };
            seen.push((cluster, place.met && place.held.is_none(), shown, silent));
        }
        let reports: Vec<Report<'_>> = seen
            .iter()
            .map(|(cluster, current, shown, silent)| Report {
                cluster,
                object: shown.as_ref(),
                current: *current,
                silent_since: silent.as_deref(),
            })
            .collect();
        let mut content = source.content.read();
        let mut spec = content.get_mut("spec").map(Value::take).unwrap_or_default();
        spec.as_object_mut().map(|spec| spec.remove("template"));
        let hub = json!({
            "apiVersion": id.api_version,
            "kind": id.kind,
            "metadata": {"name": id.name, "namespace": id.namespace, "generation": source.generation},
            "spec": spec,
            "status": source.status.read(),
        });
        let status = aggregate(&hub, &reports, &HealthRules::default()).status;
        if !status.is_null() {
            return Some(status);
        }
        // What was seen before a cluster fell silent, or this process began, isn't taken back: it is there yet.
        let left = |cluster: &String| item.places.get(cluster).is_some_and(|place| place.leaves());
        (source.reported && item.at.iter().all(left)).then(|| withdrawn(&hub))
    }

    /// Whether the object on the hub shows yet what members had that have it no more.
    pub(super) fn is_to_be_withdrawn(&self, id: &ObjectId) -> bool {
        let kept = || self.reports.refused.contains_key(&kind_of(id)) || self.reports.unwanted.contains(id);
        let Some(source) = self.sources.get(id).filter(|source| source.reported && !source.deleting) else {
            return false;
        };
        if kept() || !self.served.has_status(id.group(), &id.kind) {
            return false;
        }
        let Some(wanted) = self.shown(id, source) else { return false };
        let told = self.reports.written.get(id);
        wanted != source.status.read()
            && told.is_none_or(|told| told.wanted != ContentHash::of_value(&wanted))
    }

    pub(super) fn reported(
        &mut self,
        id: &ObjectId,
        wanted: ContentHash,
        outcome: Result<Value, kube::Error>,
    ) {
        let at = Instant::now();
        self.reports.ended(id, at + self.reports.interval);
        match outcome {
            Ok(answered) => {
                let answered = ContentHash::of_value(&answered);
                let overruled = self.reports.written.get(id).map_or(0, |written| written.overruled);
                let written = Written { at, wanted, answered, overruled };
                self.reports.written.insert(id.clone(), written);
            }
            // It is gone, which the watch tells.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(kube::Error::Api(status)) if status.code == 403 => {
                let message = format!(
                    "what members show of {} isn't shown on the hub: {}; give the controller the right to patch its status",
                    id.kind, status.message
                );
                self.stop_reporting(id, message);
            }
            // The kind's schema, or the server's rules, want what was there: asking again changes nothing.
            Err(kube::Error::Api(status)) if status.code == 422 && self.claims.holder(id).is_none() => {
                tracing::warn!(object = %id, message = status.message, "the status of an object can't be taken back");
                self.reports.unwanted.insert(id.clone());
            }
            Err(error) => {
                tracing::warn!(object = %id, %error, "the status of an object can't be written; tried again");
                self.reports.due.set(id, at + AFTER_REFUSAL);
            }
        }
        self.part_if_nowhere(id);
    }

    /// The hub shows a status. Who else writes it again and again has it: two writers would never end.
    pub(super) fn status_seen(&mut self, id: &ObjectId) {
        if self.reports.writing.contains(id) || self.reports.written.contains_key(id) {
            self.reports.echoed.insert(id.clone());
        }
        self.reports.touch(id);
    }

    fn stop_reporting(&mut self, id: &ObjectId, message: String) {
        tracing::warn!(kind = id.kind, "{message}");
        self.reports.refused.insert(kind_of(id), message);
        let ids: Vec<PolicyId> = self.policies.ids().cloned().collect();
        ids.iter().for_each(|id| self.said.touch(id));
    }

    /// Kinds that a policy selects and whose status isn't shown on the hub.
    pub(super) fn not_reported(&self, id: &PolicyId) -> Vec<PolicyProblem> {
        let Some(policy) = self.claims.policy(id) else { return Vec::new() };
        let selectors = policy.selectors.as_slice().iter();
        let refused = selectors.filter_map(|selector| {
            let message = self.reports.refused.get(&(selector.group.clone(), selector.kind.clone()))?;
            Some(PolicyProblem {
                severity: Severity::Warning,
                reason: "StatusNotShown".to_owned(),
                path: selector.path.clone(),
                message: message.clone(),
            })
        });
        refused.collect()
    }
}
