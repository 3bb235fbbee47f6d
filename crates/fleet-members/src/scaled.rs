//! Who decides how many replicas a workload has on a member.

use std::sync::Arc;

use fleet_api::ObjectId;
use kube::ResourceExt as _;
use kube::api::{DynamicObject, ListParams};

use crate::{Member, MemberError};

/// Every server that has autoscalers has them in this version, whatever they were made in.
const AUTOSCALER: (&str, &str) = ("autoscaling/v1", "HorizontalPodAutoscaler");

impl Member {
    /// The HorizontalPodAutoscaler on the member that scales a workload, by a list of those in its namespace. None where
    /// they may not be listed there.
    ///
    /// # Errors
    /// Where it can't be told for now.
    pub async fn scaled_by(self: &Arc<Self>, id: &ObjectId) -> Result<Option<String>, MemberError> {
        let (api_version, kind) = AUTOSCALER;
        let autoscalers = ObjectId::new(api_version, kind, &id.namespace, "");
        let listed = async {
            let api = self.api(&autoscalers).await?;
            self.ask("list", &autoscalers, api.list(&ListParams::default())).await
        };
        match listed.await {
            Ok(found) => Ok(found.items.iter().find(|found| scales(found, id)).map(|found| found.name_any())),
            Err(error @ (MemberError::Refused { .. } | MemberError::UnknownKind { .. })) => {
                tracing::debug!(cluster = self.name(), object = %id, %error, "whether an autoscaler scales it can't be told");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether an autoscaler is about a workload; versions don't matter.
fn scales(autoscaler: &DynamicObject, id: &ObjectId) -> bool {
    let target = |field: &str| {
        let value = autoscaler.data.pointer("/spec/scaleTargetRef")?.get(field)?;
        Some(value.as_str()?.to_owned())
    };
    let group = target("apiVersion").unwrap_or_default();
    let group = group.split_once('/').map_or("", |(group, _)| group);
    target("kind").as_deref() == Some(id.kind.as_str())
        && target("name").as_deref() == Some(id.name.as_str())
        && group == id.group()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Broken: replicas are left to the autoscaler of another workload, or those of a workload that one scales aren't.
    #[test]
    fn an_autoscaler_is_known_by_its_target() {
        let id = ObjectId::new("apps/v1", "Deployment", "demo", "web");
        let says = |target: Value| {
            let autoscaler = json!({"metadata": {"name": "web"}, "spec": {"scaleTargetRef": target}});
            scales(&serde_json::from_value(autoscaler).unwrap(), &id)
        };
        assert!(says(json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"})));
        assert!(says(json!({"apiVersion": "apps/v1beta2", "kind": "Deployment", "name": "web"})));
        assert!(!says(json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web"})));
        assert!(!says(json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "other"})));
        assert!(!says(json!({"apiVersion": "example.com/v1", "kind": "Deployment", "name": "web"})));
        assert!(!says(json!({})));
    }
}
