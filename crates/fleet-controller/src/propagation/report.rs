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
use super::paced::Paced;
use super::sources::{GroupKind, Source};

/// The wait after the hub refused a status.
const AFTER_REFUSAL: Duration = Duration::from_secs(30);
/// Who is overruled so often shows the status of the kind no more.
const OVERRULED: u32 = 5;

/// What a write asks for; of statuses their hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    wanted: ContentHash,
    /// What was seen on the hub: only the differences from it are sent, so what the hub had instead may stay as it was.
    seen: ContentHash,
}

/// The last write of an object's status; of statuses their hashes.
struct Written {
    asked: Asked,
    /// What the hub made of it.
    answered: ContentHash,
    /// How many writes in a row were overruled by somebody else, up to the one before this.
    overruled: u32,
}

/// Which objects have something to show, and when.
pub(super) struct Reports {
    paced: Paced<ObjectId>,
    written: BTreeMap<ObjectId, Written>,
    /// Of which the hub has shown a status since the last write began.
    echoed: BTreeSet<ObjectId>,
    /// What the hub doesn't let us take back, although no member has it any more.
    unwanted: BTreeSet<ObjectId>,
    /// Kinds of which nothing is shown, and why.
    refused: BTreeMap<GroupKind, String>,
}

fn kind_of(id: &ObjectId) -> GroupKind {
    (id.group().to_owned(), id.kind.clone())
}

impl Reports {
    /// `interval` lies between two writes of one object's status.
    pub(super) fn new(interval: Duration) -> Self {
        let (written, echoed, unwanted) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Self { paced: Paced::new(interval), written, echoed, unwanted, refused: BTreeMap::new() }
    }

    pub(super) fn forget(&mut self, id: &ObjectId) {
        self.paced.forget(id);
        self.written.remove(id);
        self.echoed.remove(id);
        self.unwanted.remove(id);
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.paced.next()
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
}

impl Distributor {
    /// Something that members show of an object may have changed.
    pub(super) fn touch_report(&mut self, id: &ObjectId) {
        if self.reports.refused.contains_key(&kind_of(id)) {
            return;
        }
        // All places of the object are looked at only where that makes a difference.
        if self.reports.paced.gathers_longer(id) && self.is_on_its_way(id) {
            self.reports.paced.touch_on_its_way(id);
        } else {
            self.reports.paced.touch(id);
        }
    }

    /// Writes the statuses that are due and differ.
    pub(super) fn report(&mut self) {
        for id in self.reports.paced.take() {
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
            let asked = Asked { wanted: hash, seen };
            // Asked for the same, the hub would say the same.
            let settled = |written: &Written| written.asked == asked && written.answered == seen;
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
            self.reports.paced.begin(&id);
            self.jobs.spawn(async move {
                let params = PatchParams {
                    field_manager: Some(names::STATUS_MANAGER.to_owned()),
                    ..PatchParams::default()
                };
                let written = api.patch_status(&id.name, &params, &Patch::Merge(&patch)).await;
                let outcome = written.map(|object| object.data.get("status").cloned().unwrap_or_default());
                Done::Reported { id, write: asked, outcome }
            });
        }
    }

    /// The status that an object is to show on the hub; nothing where no member has one, nor had.
    fn shown(&self, id: &ObjectId, source: &Source) -> Option<Value> {
        let item = self.items.get(id)?;
        let there = item.places.iter().filter(|(_, place)| place.may_have() && !place.leaves());
        let mut seen = Vec::new();
        for (cluster, place) in there {
            let shown = self.observed(id, cluster).and_then(|seen| seen.shown.as_ref().map(Compact::read));
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
        (source.reported && item.at().all(left)).then(|| withdrawn(&hub))
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
            && told.is_none_or(|told| told.asked.wanted != ContentHash::of_value(&wanted))
    }

    pub(super) fn reported(&mut self, id: &ObjectId, asked: Asked, outcome: Result<Value, kube::Error>) {
        match outcome {
            Ok(answered) => {
                let answered = ContentHash::of_value(&answered);
                let overruled = self.reports.written.get(id).map_or(0, |written| written.overruled);
                let written = Written { asked, answered, overruled };
                self.reports.written.insert(id.clone(), written);
                self.reports.paced.taken(id);
            }
            // It is gone, which the watch tells.
            Err(kube::Error::Api(status)) if status.code == 404 => self.reports.paced.over(id),
            Err(kube::Error::Api(status)) if status.code == 403 => {
                self.reports.paced.over(id);
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
                self.reports.paced.over(id);
            }
            Err(error) => {
                tracing::warn!(object = %id, %error, "the status of an object can't be written; tried again");
                self.reports.paced.failed(id, AFTER_REFUSAL);
            }
        }
        // What is nowhere any more goes off the record as it is settled, which tells what stays for it.
        if self.items.get(id).is_some_and(|item| item.is_nowhere()) {
            self.touch(id);
        }
    }

    /// The hub shows a status. Who else writes it again and again has it: two writers would never end.
    pub(super) fn status_seen(&mut self, id: &ObjectId) {
        if self.reports.paced.is_writing(id) || self.reports.written.contains_key(id) {
            self.reports.echoed.insert(id.clone());
        }
        self.touch_report(id);
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
