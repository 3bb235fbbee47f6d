//! What the hub has on record about what is on a member: inventories and runs, not the member itself.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::{Application, Inventory, ResourceTracker, Run, TargetInventory, TargetPhase, staged};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use crate::access::Cluster;
use crate::exit::{Failure, Outcome};

/// What one Application has in one namespace of a member.
pub(crate) struct Holding {
    /// The Application's namespace.
    pub(crate) namespace: String,
    /// The Application.
    pub(crate) application: String,
    /// It carries a policy: what it delivers bears the label of the distribution.
    pub(crate) carries: bool,
    /// The namespace on the member.
    pub(crate) target: String,
    /// The newest revision that is done there; empty where none is.
    pub(crate) revision: String,
    /// What the inventory lists; `None` where nothing was sent yet.
    pub(crate) entry: Option<TargetInventory>,
    /// What is outstanding there; empty where nothing is.
    pub(crate) pends: String,
}

/// Everything that is on record.
pub(crate) struct Holdings {
    inventories: Vec<(String, String, Inventory)>,
    runs: Vec<(String, String, Run)>,
    /// The Applications that carry a policy.
    carry: BTreeSet<(String, String)>,
}

impl Holdings {
    /// Asks the hub.
    ///
    /// # Errors
    /// Where it doesn't answer, or an inventory can't be read.
    pub(crate) async fn load(hub: &Cluster) -> Outcome<Self> {
        let everything = ListParams::default();
        let trackers: Api<ResourceTracker> = Api::all(hub.client.clone());
        let trackers = hub.ask("the inventories", trackers.list(&everything)).await?;
        let mut inventories = Vec::new();
        for tracker in trackers.items {
            let inventory = tracker.spec.inventory.unpack().map_err(|error| {
                Failure::failed(format!("ResourceTracker {}: {error}", tracker.name_any()))
            })?;
            inventories.push((tracker.spec.application_namespace, tracker.spec.application_name, inventory));
        }
        let applications: Api<Application> = Api::all(hub.client.clone());
        let applications = hub.ask("the list of Applications", applications.list(&everything)).await?;
        let runs: Api<Run> = Api::all(hub.client.clone());
        let runs = hub.ask("the list of Runs", runs.list(&everything)).await?;
        let current = |app: &Application| {
            let name = app.status.as_ref()?.workflow.as_ref()?.run.clone();
            let run =
                runs.items.iter().find(|run| run.name_any() == name && run.namespace() == app.namespace())?;
            Some((app.namespace().unwrap_or_default(), app.name_any(), run.clone()))
        };
        let carries = applications.items.iter().filter(|app| staged::policy_of(app).is_some());
        let carry = carries.map(|app| (app.namespace().unwrap_or_default(), app.name_any())).collect();
        Ok(Self { inventories, runs: applications.items.iter().filter_map(current).collect(), carry })
    }

    /// What is on a member, or on its way there.
    pub(crate) fn on(&self, cluster: &str) -> Vec<Holding> {
        let mut all = Vec::new();
        for (namespace, application, inventory) in &self.inventories {
            for entry in inventory.targets.iter().filter(|entry| entry.target.cluster == cluster) {
                all.push(Holding {
                    namespace: namespace.clone(),
                    application: application.clone(),
                    carries: self.carry.contains(&(namespace.clone(), application.clone())),
                    target: entry.target.namespace.clone(),
                    revision: entry.layers.last().map(|layer| layer.revision.clone()).unwrap_or_default(),
                    entry: Some(entry.clone()),
                    pends: String::new(),
                });
            }
        }
        for (namespace, application, run) in &self.runs {
            for (target, pends) in outstanding(run, cluster) {
                let known = all.iter_mut().find(|holding| {
                    holding.namespace == *namespace
                        && holding.application == *application
                        && holding.target == target
                });
                match (known, pends) {
                    // The inventory isn't written again for a run that has only made what it said it would.
                    (Some(holding), None) => holding.revision.clone_from(&run.spec.revision),
                    (Some(holding), Some(pends)) => holding.pends = pends,
                    (None, None) => {}
                    (None, Some(pends)) => all.push(Holding {
                        namespace: namespace.clone(),
                        application: application.clone(),
                        carries: self.carry.contains(&(namespace.clone(), application.clone())),
                        target,
                        revision: String::new(),
                        entry: None,
                        pends,
                    }),
                }
            }
        }
        all.sort_by(|a, b| {
            (&a.namespace, &a.application, &a.target).cmp(&(&b.namespace, &b.application, &b.target))
        });
        all
    }
}

/// By namespace on the member, what the run has outstanding there, the first step that has; `None` where all is done.
fn outstanding(run: &Run, cluster: &str) -> BTreeMap<String, Option<String>> {
    let mut all = BTreeMap::new();
    let Some(status) = &run.status else { return all };
    for step in &status.steps {
        let there = step.targets.iter().filter(|state| state.target.cluster == cluster && !state.cleared);
        for target in there.filter(|state| state.phase != TargetPhase::Removed) {
            let first: &mut Option<String> = all.entry(target.target.namespace.clone()).or_default();
            if target.phase == TargetPhase::Succeeded || first.is_some() {
                continue;
            }
            let said = match step.shut_gate() {
                Some(gate) => format!("waits for approval of plan {}", gate.plan_hash),
                _ if target.message.is_empty() => target.phase.as_str().to_owned(),
                _ => format!("{}: {}", target.phase.as_str(), target.message),
            };
            let over = if status.phase.is_over() {
                format!("run {} is {}; ", run.name_any(), status.phase.as_str())
            } else {
                String::new()
            };
            *first = Some(format!("{over}{}, step {}: {said}", run.spec.revision, step.name));
        }
    }
    all
}

impl Holding {
    /// `namespace/name`.
    pub(crate) fn shown(&self) -> String {
        if self.namespace.is_empty() && self.application == fleet_api::DISTRIBUTION {
            return "policies".to_owned();
        }
        format!("{}/{}", self.namespace, self.application)
    }

    /// How many objects may be there, without the namespace that was made for them.
    pub(crate) fn objects(&self) -> usize {
        let listed = self.entry.iter().flat_map(|entry| entry.objects.values());
        listed.filter(|owned| !owned.made_namespace).count()
    }

    /// The same in words. What is listed before a delivery is done may never have been made.
    pub(crate) fn objects_in_words(&self) -> String {
        match self.objects() {
            0 => "0".to_owned(),
            some if self.revision.is_empty() => format!("up to {some}"),
            some => some.to_string(),
        }
    }

    /// For programs.
    pub(crate) fn to_value(&self) -> Value {
        json!({
            "namespace": self.namespace, "application": self.application, "targetNamespace": self.target,
            "revision": self.revision, "objects": self.objects(), "pending": self.pends,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What waits must be told of the cluster where it waits, and what is done mustn't.
    #[test]
    fn what_is_outstanding_is_said() {
        let target =
            |cluster: &str, phase: &str| json!({ "cluster": cluster, "namespace": "demo", "phase": phase });
        let run: Run = serde_json::from_value(json!({
            "apiVersion": "fleetctl.dev/v1alpha1", "kind": "Run", "metadata": { "name": "web-2" },
            "spec": { "application": "web", "applicationUid": "u", "revision": "web-v2", "number": 2, "cause": "Created" },
            "status": { "phase": "suspending", "steps": [
                { "name": "first", "type": "deploy", "phase": "succeeded", "targets": [target("a", "succeeded")] },
                { "name": "second", "type": "deploy", "phase": "suspending", "gate": { "planHash": "p1" },
                  "targets": [target("b", "pending")] },
                { "name": "third", "type": "deploy", "phase": "pending", "targets": [target("b", "pending"), target("c", "pending")] },
            ]},
        }))
        .unwrap();
        let said = |cluster: &str| outstanding(&run, cluster).remove("demo");
        assert_eq!(said("a"), Some(None));
        assert_eq!(said("b"), Some(Some("web-v2, step second: waits for approval of plan p1".to_owned())));
        assert_eq!(said("c"), Some(Some("web-v2, step third: pending".to_owned())));
        assert_eq!(said("d"), None);
    }
}
