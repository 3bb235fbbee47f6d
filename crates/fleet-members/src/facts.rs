//! What a member says about itself: its version, and what its nodes hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_json::quantity::Quantity;
use kube::api::ListParams;
use serde::Deserialize;

use crate::{Member, MemberError};

/// Nodes are asked for so many at a time: one is some 20 KiB, and only two maps of it are kept.
const PAGE: u32 = 50;

/// What the nodes of a member hold together, by resource name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Capacity {
    /// Of all nodes.
    pub capacity: BTreeMap<String, Quantity>,
    /// What pods may use, of those nodes that take new ones.
    pub allocatable: BTreeMap<String, Quantity>,
}

#[derive(Debug, Clone, Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMeta,
    #[serde(default)]
    items: Vec<Node>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct PageMeta {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Node {
    #[serde(default)]
    spec: NodeSpec,
    #[serde(default)]
    status: NodeStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct NodeSpec {
    #[serde(default)]
    unschedulable: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct NodeStatus {
    #[serde(default)]
    capacity: BTreeMap<String, String>,
    #[serde(default)]
    allocatable: BTreeMap<String, String>,
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
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let request = kube::core::Request::new("/api/v1/nodes").list(&params);
            let client = self.client();
            let page: Page = self
                .ask("list", &"nodes", async move {
                    client.request(request.map_err(kube::Error::BuildRequest)?).await
                })
                .await?;
            for node in page.items {
                add(&mut sum.capacity, &node.status.capacity);
                if !node.spec.unschedulable {
                    add(&mut sum.allocatable, &node.status.allocatable);
                }
            }
            match page.metadata.next.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(sum),
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
