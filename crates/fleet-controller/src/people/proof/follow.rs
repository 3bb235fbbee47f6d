//! Keeps what is known of the policy that proves approvals true, by one watch on each of its two objects.

use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watch_object};

use super::{APPROVALS_POLICY, Proof, judge};
use crate::context::{Context, lock};

/// What is said until both objects were looked at.
pub(crate) fn unknown() -> Proof {
    Proof::Weak("whether approvals are proved isn't known yet".to_owned())
}

/// One of the two objects, as far as it is known.
enum Known<K> {
    Seen(Option<K>),
    Unseen(String),
}

impl<K> Known<K> {
    fn take(&mut self, state: watcher::Result<Option<K>>) {
        match (state, &*self) {
            (Ok(object), _) => *self = Self::Seen(object),
            // Interruptions are everyday, and what was true a moment ago still is. What was never seen isn't.
            (Err(error), Self::Unseen(_)) => *self = Self::Unseen(fleet_members::innermost(&error)),
            (Err(_), Self::Seen(_)) => {}
        }
    }
}

/// Follows both objects until the controller stops.
pub(crate) async fn follow(ctx: Arc<Context>) {
    let hub = &ctx.hub.client;
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(hub.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(hub.clone());
    let mut policies = std::pin::pin!(watch_object(policies, APPROVALS_POLICY).default_backoff());
    let mut bindings = std::pin::pin!(watch_object(bindings, APPROVALS_POLICY).default_backoff());
    let mut policy = Known::Unseen("not yet".to_owned());
    let mut binding = Known::Unseen("not yet".to_owned());
    loop {
        tokio::select! {
            () = ctx.stop.cancelled() => return,
            state = next(&mut policies) => policy.take(state),
            state = next(&mut bindings) => binding.take(state),
        }
        let proof = match (&policy, &binding) {
            (Known::Seen(policy), Known::Seen(binding)) => judge(policy.as_ref(), binding.as_ref()),
            (Known::Unseen(why), _) | (_, Known::Unseen(why)) if why == "not yet" => continue,
            (Known::Unseen(why), _) | (_, Known::Unseen(why)) => Proof::Weak(format!(
                "who approves can't be proved: the ValidatingAdmissionPolicy {APPROVALS_POLICY} or its binding can't be looked at: {why}; the hub must have them (Kubernetes 1.30), and the controller the right to get, list and watch them"
            )),
        };
        let before = std::mem::replace(&mut *lock(&ctx.proof), proof.clone());
        if before == proof {
            continue;
        }
        match &proof {
            Proof::Weak(why) => tracing::info!(why, "approvals aren't proved"),
            Proof::Strong(since) => tracing::info!(%since, "approvals are proved"),
        }
        // Gates may open now, or no longer.
        for app in ctx.hub.applications.state() {
            ctx.due.wake(&(app.namespace().unwrap_or_default(), app.name_any()));
        }
    }
}

/// The next state; a watch that ended brings none any more.
async fn next<S: Stream + Unpin>(states: &mut S) -> S::Item {
    match states.next().await {
        Some(state) => state,
        None => std::future::pending().await,
    }
}
