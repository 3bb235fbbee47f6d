//! What a member says about itself: its version, what its nodes hold, and what is used of that.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_json::quantity::Quantity;
use jiff::Timestamp;
use kube::api::ListParams;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Member, MemberError};

/// Nodes are asked for so many at a time: one is some 20 KiB, and only two maps of it are kept.
const PAGE: u32 = 50;
/// The same of pods, of which only what they request is kept.
const PODS_PAGE: u32 = 250;

/// What the nodes of a member hold together, by resource name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Capacity {
    /// Of all nodes.
    pub capacity: BTreeMap<String, Quantity>,
    /// What pods may use, of those nodes that take new ones.
    pub allocatable: BTreeMap<String, Quantity>,
}

/// What each of its nodes that take new pods lets pods use, and what the pods on it are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Occupancy {
    /// By node.
    pub allocatable: BTreeMap<String, BTreeMap<String, Quantity>>,
    /// The node and the spec of each pod that runs or is to run there, containers with their resources only.
    pub pods: Vec<(String, Value)>,
}

/// A pod that the scheduler finds no node for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PendingPod {
    /// Where it is.
    pub namespace: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// What the scheduler says.
    pub message: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Waiting {
    #[serde(default)]
    metadata: WaitingMeta,
    #[serde(default)]
    status: WaitingStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct WaitingMeta {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct WaitingStatus {
    #[serde(default)]
    conditions: Vec<PodCondition>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    last_transition_time: Option<Timestamp>,
}

#[derive(Debug, Clone, Deserialize)]
struct Page<T> {
    #[serde(default)]
    metadata: PageMeta,
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct PageMeta {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Node {
    #[serde(default)]
    metadata: NodeMeta,
    #[serde(default)]
    spec: NodeSpec,
    #[serde(default)]
    status: NodeStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct NodeMeta {
    #[serde(default)]
    name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct NodeSpec {
    #[serde(default)]
    unschedulable: bool,
    #[serde(default)]
    taints: Vec<NodeTaint>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct NodeTaint {
    #[serde(default)]
    effect: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct NodeCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Pod {
    spec: PodSpec,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    #[serde(default)]
    node_name: String,
    #[serde(default)]
    init_containers: Vec<Container>,
    #[serde(default)]
    containers: Vec<Container>,
    #[serde(default)]
    overhead: Value,
}

/// What of a container says how much it requests.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    restart_policy: String,
    #[serde(default)]
    resources: Value,
}

impl Node {
    /// Whether the scheduler sends pods there that tolerate nothing.
    fn takes_pods(&self) -> bool {
        let ready = self.status.conditions.iter().find(|condition| condition.type_ == "Ready");
        let kept_out = self.spec.taints.iter().any(|taint| taint.effect != "PreferNoSchedule");
        !self.spec.unschedulable && !kept_out && ready.is_some_and(|ready| ready.status == "True")
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
struct NodeStatus {
    #[serde(default)]
    capacity: BTreeMap<String, String>,
    #[serde(default)]
    allocatable: BTreeMap<String, String>,
    #[serde(default)]
    conditions: Vec<NodeCondition>,
}

impl Member {
    /// The Kubernetes version of its API server (`v1.35.0`).
    ///
    /// # Errors
    /// Where the member doesn't answer or refuses.
    pub async fn version(self: &Arc<Self>) -> Result<String, MemberError> {
        let client = self.client();
        let version = self.ask("read", &"/version", async move { client.apiserver_version().await }).await?;
        Ok(version.git_version)
    }

    /// What its nodes hold together.
    ///
    /// # Errors
    /// Where the member doesn't answer, or the account may not list nodes.
    pub async fn capacity(self: &Arc<Self>) -> Result<Capacity, MemberError> {
        let mut sum = Capacity::default();
        let mut take = |node: Node| {
            add(&mut sum.capacity, &node.status.capacity);
            if !node.spec.unschedulable {
                add(&mut sum.allocatable, &node.status.allocatable);
            }
        };
        self.each("nodes", &ListParams::default().limit(PAGE), &mut take).await?;
        Ok(sum)
    }

    /// What its nodes let pods use, and the pods that do.
    ///
    /// # Errors
    /// Where the member doesn't answer, or the account may not list nodes or pods.
    pub async fn occupancy(self: &Arc<Self>) -> Result<Occupancy, MemberError> {
        let mut found = Occupancy::default();
        let mut take = |node: Node| {
            if node.takes_pods() {
                let mut there = BTreeMap::new();
                add(&mut there, &node.status.allocatable);
                found.allocatable.insert(node.metadata.name, there);
            }
        };
        self.each("nodes", &ListParams::default().limit(PAGE), &mut take).await?;
        // What has ended uses nothing.
        let params = ListParams::default()
            .limit(PODS_PAGE)
            .fields("spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed");
        let mut take = |pod: Pod| {
            let PodSpec { node_name, init_containers, containers, overhead } = pod.spec;
            if found.allocatable.contains_key(&node_name) {
                let spec = json!({ "initContainers": init_containers, "containers": containers, "overhead": overhead });
                found.pods.push((node_name, spec));
            }
        };
        self.each("pods", &params, &mut take).await?;
        Ok(found)
    }

    /// The pods that the scheduler finds no node for, in all namespaces.
    ///
    /// # Errors
    /// Where the member doesn't answer, or the account may not list pods.
    pub async fn pending_pods(self: &Arc<Self>) -> Result<Vec<PendingPod>, MemberError> {
        let mut found = Vec::new();
        let params = ListParams::default().limit(PODS_PAGE).fields("spec.nodeName=,status.phase=Pending");
        let mut take = |pod: Waiting| {
            let Waiting { metadata, status } = pod;
            let none = |condition: &PodCondition| {
                condition.type_ == "PodScheduled"
                    && condition.status == "False"
                    && condition.reason == "Unschedulable"
            };
            if let Some(condition) = status.conditions.into_iter().find(none) {
                found.push(PendingPod {
                    namespace: metadata.namespace,
                    labels: metadata.labels,
                    since: condition.last_transition_time,
                    message: condition.message,
                });
            }
        };
        self.each("pods", &params, &mut take).await?;
        Ok(found)
    }

    /// Hands on everything of a kind, page by page.
    async fn each<T: DeserializeOwned + Clone + std::fmt::Debug>(
        self: &Arc<Self>,
        plural: &'static str,
        params: &ListParams,
        take: &mut (impl FnMut(T) + Send),
    ) -> Result<(), MemberError> {
        let mut params = params.clone();
        loop {
            let request = kube::core::Request::new(format!("/api/v1/{plural}")).list(&params);
            let client = self.client();
            let page: Page<T> = self
                .ask("list", &plural, async move {
                    client.request(request.map_err(kube::Error::BuildRequest)?).await
                })
                .await?;
            page.items.into_iter().for_each(&mut *take);
            match page.metadata.next.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(()),
            }
        }
    }
}

fn add(sum: &mut BTreeMap<String, Quantity>, more: &BTreeMap<String, String>) {
    for (name, quantity) in more {
        let Ok(quantity) = Quantity::parse(quantity) else { continue };
        let so_far = sum.get(name).copied();
        sum.insert(name.clone(), so_far.map_or(quantity, |so_far| so_far.plus(quantity)));
    }
}
