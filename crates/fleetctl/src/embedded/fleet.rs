//! Who is a member of this process's fleet, in which order they joined, and who answers.

use std::sync::{Arc, PoisonError, RwLock};

use fleet_api::{Condition, ManagedCluster, conditions, names};
use fleet_apiserver::{ApiServer, ClusterProfile};
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::install::MANAGER;
use super::{EmbeddedError, MemberSpec, in_process};
use crate::environment::Clock;
use crate::exit::said;

/// On a ManagedCluster: this process runs it.
pub(crate) const EMBEDDED: &str = "fleetctl.dev/embedded";
/// On a ManagedCluster that this process runs: it doesn't answer, on purpose.
const STOPPED: &str = "fleetctl.dev/stopped";
/// How many members are brought up at once.
const AT_ONCE: usize = 32;
/// The Kubernetes version that members behave like.
const VERSION: &str = "v1.35.0";

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberState {
    /// Its name.
    pub name: String,
    /// Its human name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Whether it answers.
    pub running: bool,
}

/// The members of this process. Clones share them.
#[derive(Clone)]
pub struct Fleet {
    api: ApiServer,
    hub: kube::Client,
    clock: Clock,
    members: Arc<RwLock<Vec<MemberState>>>,
}

impl Fleet {
    pub(super) fn new(api: ApiServer, hub: kube::Client, clock: Clock) -> Self {
        Self { api, hub, clock, members: Arc::default() }
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// All members, in the order of joining.
    pub fn members(&self) -> Vec<MemberState> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Brings up the members that the hub knows, then the new ones; where there would be none, the first ones.
    pub(super) async fn open(
        &self,
        wanted: &[MemberSpec],
        first: &[MemberSpec],
    ) -> Result<(), EmbeddedError> {
        let known: Api<ManagedCluster> = Api::all(self.hub.clone());
        let listed = ListParams::default().labels(&format!("{EMBEDDED}=true"));
        let listed = known.list(&listed).await.map_err(|error| refused("the list of members", &error))?;
        let mut kept = listed.items;
        let wanted = if kept.is_empty() && wanted.is_empty() { first } else { wanted };
        kept.sort_by_key(ManagedCluster::join_order);
        let mut last = kept.last().map_or(0, ManagedCluster::join_order);
        let mut all: Vec<(MemberState, u64, Option<&ManagedCluster>)> = Vec::new();
        for cluster in &kept {
            let name = cluster.name_any();
            let given = wanted.iter().find(|spec| spec.name == name);
            let alias =
                given.and_then(|spec| spec.alias.clone()).or_else(|| cluster.alias().map(str::to_owned));
            let running = !cluster.annotations().contains_key(STOPPED);
            all.push((MemberState { name, alias, running }, cluster.join_order(), Some(cluster)));
        }
        for spec in wanted {
            if all.iter().any(|(state, ..)| state.name == spec.name) {
                continue;
            }
            last += 1;
            let state = MemberState { name: spec.name.clone(), alias: spec.alias.clone(), running: true };
            all.push((state, last, None));
        }
        unambiguous(&all)?;
        // Together, some at a time: a store on disk keeps many writes with one.
        let ready =
            futures::stream::iter(&all).map(|(state, joined, before)| self.bring_up(state, *joined, *before));
        ready.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        *self.members.write().unwrap_or_else(PoisonError::into_inner) =
            all.into_iter().map(|(state, ..)| state).collect();
        Ok(())
    }

    async fn bring_up(
        &self,
        state: &MemberState,
        joined: u64,
        before: Option<&ManagedCluster>,
    ) -> Result<(), EmbeddedError> {
        let name = state.name.as_str();
        if name == names::LOCAL_CLUSTER || name == ApiServer::HUB {
            let why = "the name means the hub itself; choose another one";
            return Err(EmbeddedError::Member { name: name.to_owned(), why });
        }
        self.api.create_cluster(name, ClusterProfile { workloads: true }).await?;
        let client = in_process(&self.api, name);
        fleet_sim::seed_member(&client).await.map_err(|error| EmbeddedError::Install {
            what: format!("the node of {name}"),
            cause: error.to_string(),
        })?;
        let system: Api<Namespace> = Api::all(client);
        let uid =
            system.get("kube-system").await.map_err(|error| refused(name, &error))?.uid().unwrap_or_default();
        self.register(state, joined, &uid, before).await?;
        if !state.running {
            self.api.set_reachable(name, false);
        }
        Ok(())
    }

    async fn register(
        &self,
        state: &MemberState,
        joined: u64,
        uid: &str,
        before: Option<&ManagedCluster>,
    ) -> Result<(), EmbeddedError> {
        let name = state.name.as_str();
        let mut annotations = serde_json::Map::new();
        annotations.insert(names::JOIN_ORDER.to_owned(), json!(joined.to_string()));
        if let Some(alias) = &state.alias {
            annotations.insert(names::CLUSTER_ALIAS.to_owned(), json!(alias));
        }
        let mut object = json!({
            "apiVersion": "cluster.open-cluster-management.io/v1",
            "kind": "ManagedCluster",
            "metadata": { "name": name, "annotations": annotations, "labels": { EMBEDDED: "true" } },
        });
        let api: Api<ManagedCluster> = Api::all(self.hub.clone());
        if before.is_none() {
            // What a person decides is given once, when it joins, and then left to them.
            if let Some(fields) = object.as_object_mut() {
                fields.insert("spec".to_owned(), json!({ "hubAcceptsClient": true }));
            }
            let made: ManagedCluster = serde_json::from_value(object).map_err(|error| {
                EmbeddedError::Install { what: name.to_owned(), cause: error.to_string() }
            })?;
            let params =
                kube::api::PostParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
            api.create(&params, &made).await.map_err(|error| refused(name, &error))?;
        } else {
            let patch = Patch::Merge(&object);
            api.patch(name, &PatchParams::default(), &patch).await.map_err(|error| refused(name, &error))?;
        }
        let old = before.and_then(|cluster| cluster.status.clone()).unwrap_or_default();
        let recorded = old.cluster_claims.iter().find(|claim| claim.name == names::CLUSTER_ID_CLAIM);
        let status = json!({ "status": {
            "conditions": conditions::settle(&old.conditions, state_conditions(state.running), self.now()),
            "version": { "kubernetes": VERSION },
            // The first identity counts: a member that was made anew is told by the difference.
            "clusterClaims": [{
                "name": names::CLUSTER_ID_CLAIM,
                "value": recorded.map_or(uid, |claim| claim.value.as_str()),
            }],
        }});
        let patch = Patch::Merge(&status);
        api.patch_status(name, &PatchParams::default(), &patch)
            .await
            .map_err(|error| refused(name, &error))?;
        Ok(())
    }

    /// Lets a member answer or not, and keeps that over restarts.
    ///
    /// # Errors
    /// [`EmbeddedError::Member`] where there is no such member; [`EmbeddedError::Install`] where the hub doesn't
    /// take the note.
    pub async fn set_running(
        &self,
        name_or_alias: &str,
        running: bool,
    ) -> Result<MemberState, EmbeddedError> {
        let members = self.members();
        let found = members
            .into_iter()
            .find(|m| m.name == name_or_alias || m.alias.as_deref() == Some(name_or_alias));
        let Some(member) = found else {
            return Err(EmbeddedError::Member {
                name: name_or_alias.to_owned(),
                why: "there is no such member",
            });
        };
        let api: Api<ManagedCluster> = Api::all(self.hub.clone());
        let before = api.get(&member.name).await.map_err(|error| refused(&member.name, &error))?;
        let stopped = if running { json!(null) } else { json!("true") };
        let patch = json!({ "metadata": { "annotations": { STOPPED: stopped } } });
        let params = PatchParams::default();
        api.patch(&member.name, &params, &Patch::Merge(&patch))
            .await
            .map_err(|e| refused(&member.name, &e))?;
        self.api.set_reachable(&member.name, running);
        let old = before.status.unwrap_or_default().conditions;
        let settled = conditions::settle(&old, state_conditions(running), self.now());
        let patch = json!({ "status": { "conditions": settled } });
        api.patch_status(&member.name, &params, &Patch::Merge(&patch))
            .await
            .map_err(|e| refused(&member.name, &e))?;
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        let changed = members.iter_mut().find(|m| m.name == member.name);
        if let Some(changed) = changed {
            changed.running = running;
        }
        Ok(MemberState { running, ..member })
    }
}

/// A member is addressed by name or alias, so none of them may mean two.
fn unambiguous(all: &[(MemberState, u64, Option<&ManagedCluster>)]) -> Result<(), EmbeddedError> {
    let mut seen = std::collections::BTreeSet::new();
    for (state, ..) in all {
        let words =
            std::iter::once(&state.name).chain(state.alias.as_ref().filter(|alias| **alias != state.name));
        for word in words {
            if !seen.insert(word) {
                let why = "another member has it as its name or alias; choose another one";
                return Err(EmbeddedError::Member { name: word.clone(), why });
            }
        }
    }
    Ok(())
}

fn state_conditions(running: bool) -> Vec<Condition> {
    let mut available =
        Condition::new("Available", running, "ManagedClusterAvailable", "the member's API server answers");
    if !running {
        available.status = "Unknown".to_owned();
        available.reason = "ManagedClusterStopped".to_owned();
        available.message = "stopped on purpose; `fleetctl local start` lets it answer again".to_owned();
    }
    vec![
        Condition::new("HubAccepted", true, "HubClusterAdminAccepted", "accepted when it was made"),
        Condition::new("Joined", true, "ManagedClusterJoined", "the member runs in the hub's process"),
        available,
    ]
}

fn refused(what: &str, error: &kube::Error) -> EmbeddedError {
    EmbeddedError::Install { what: what.to_owned(), cause: said(error) }
}
