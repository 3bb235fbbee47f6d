//! The webhook that records authors on a hub of somebody else's: whether it is there, and lets nothing pass.

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;

use super::AuthorRecord;
use crate::context::{Context, lock};
use futures::StreamExt as _;

/// The name of the configuration, and of the webhook in it.
pub const AUTHORS_WEBHOOK: &str = "authors.fleetctl.dev";
/// The group of the kinds whose changes have an author.
const GROUP: &str = "core.oam.dev";
/// Their plurals.
const RESOURCES: [&str; 3] = ["applications", "policies", "workflows"];
/// Where nobody's changes are recorded, so that the cluster itself never waits for the webhook.
const SPARED: &str = "kube-system";
/// Asked only about what changes the content, or the author itself.
const CONDITION: &str = "request.operation == 'CREATE' \
    || object.?spec != oldObject.?spec || object.?type != oldObject.?type \
    || object.?properties != oldObject.?properties || object.?mode != oldObject.?mode \
    || object.?steps != oldObject.?steps \
    || object.metadata.?annotations[?'app.oam.dev/service-account-name'] \
    != oldObject.metadata.?annotations[?'app.oam.dev/service-account-name'] \
    || object.metadata.?annotations[?'fleetctl.dev/author'] \
    != oldObject.metadata.?annotations[?'fleetctl.dev/author'] \
    || object.metadata.?annotations[?'fleetctl.dev/authors'] \
    != oldObject.metadata.?annotations[?'fleetctl.dev/authors']";

/// Whether authors are recorded in a namespace, as far as the webhook goes that covers it.
pub(super) fn within(record: AuthorRecord, namespace: &str) -> AuthorRecord {
    match record {
        AuthorRecord::Webhook if namespace == SPARED => {
            AuthorRecord::Missing(format!("nobody records who changes what in {SPARED}"))
        }
        record => record,
    }
}

/// Whether this configuration records every author, and refuses what it can't record.
#[must_use]
pub fn judge(configuration: Option<&MutatingWebhookConfiguration>) -> AuthorRecord {
    let missing = |why: &str| {
        AuthorRecord::Missing(format!(
            "{why}; who changes an Application is recorded by the MutatingWebhookConfiguration {AUTHORS_WEBHOOK} of the chart: install it with --set webhook.enabled=true"
        ))
    };
    let Some(configuration) = configuration else {
        return missing("there is no webhook that records authors");
    };
    let hooks = configuration.webhooks.iter().flatten();
    let Some(hook) = hooks.into_iter().find(|hook| hook.name == AUTHORS_WEBHOOK) else {
        return missing("the webhook that records authors was taken out");
    };
    match weakness(hook) {
        None => AuthorRecord::Webhook,
        Some(why) => missing(&format!("the webhook that records authors was weakened: {why}")),
    }
}

/// What lets changes pass the webhook.
fn weakness(hook: &MutatingWebhook) -> Option<String> {
    if hook.failure_policy.as_deref().is_some_and(|policy| policy != "Fail") {
        return Some("failurePolicy isn't Fail".to_owned());
    }
    if hook.match_policy.as_deref().is_some_and(|policy| policy != "Equivalent") {
        return Some("matchPolicy isn't Equivalent".to_owned());
    }
    if hook.client_config.ca_bundle.as_ref().is_none_or(|bundle| bundle.0.is_empty()) {
        return Some("it has no caBundle yet; the controller fills it in when it starts".to_owned());
    }
    if hook.object_selector.as_ref().is_some_and(|selector| *selector != LabelSelector::default()) {
        return Some("its objectSelector leaves objects out".to_owned());
    }
    if !hook.namespace_selector.as_ref().is_none_or(spares_the_system_only) {
        return Some("its namespaceSelector leaves namespaces out".to_owned());
    }
    if !hook.match_conditions.iter().flatten().all(is_ours) {
        return Some("its matchConditions aren't those of the chart".to_owned());
    }
    let rules = hook.rules.as_deref().unwrap_or_default();
    let uncovered = RESOURCES.iter().find(|resource| !rules.iter().any(|rule| covers(rule, resource)));
    uncovered.map(|resource| format!("its rules leave {resource}.{GROUP} out"))
}

fn spares_the_system_only(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(|labels| labels.is_empty())
        && selector.match_expressions.iter().flatten().all(|expression| {
            expression.key == "kubernetes.io/metadata.name"
                && expression.operator == "NotIn"
                && expression.values.as_deref() == Some(&[SPARED.to_owned()])
        })
}

fn is_ours(condition: &MatchCondition) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    plain(&condition.expression) == plain(CONDITION)
}

fn covers(rule: &RuleWithOperations, resource: &str) -> bool {
    let has = |list: &Option<Vec<String>>, wanted: &str| {
        list.iter().flatten().any(|entry| entry == "*" || entry == wanted)
    };
    has(&rule.api_groups, GROUP)
        && has(&rule.api_versions, "*")
        && has(&rule.resources, resource)
        && has(&rule.operations, "CREATE")
        && has(&rule.operations, "UPDATE")
        && rule.scope.as_deref().is_none_or(|scope| matches!(scope, "*" | "Namespaced"))
}

/// Keeps what is known of the webhook true, by one watch on that one object.
pub(crate) async fn follow(ctx: Arc<Context>) {
    let api: Api<MutatingWebhookConfiguration> = Api::all(ctx.hub.client.clone());
    let mut states = std::pin::pin!(watch_object(api, AUTHORS_WEBHOOK).default_backoff());
    loop {
        let state = tokio::select! {
            () = ctx.stop.cancelled() => return,
            state = states.next() => state,
        };
        let record = match state {
            Some(Ok(configuration)) => judge(configuration.as_ref()),
            // Interruptions are everyday, and what was true a moment ago still is. What was never seen isn't.
            Some(Err(error)) => {
                let known = lock(&ctx.author_webhook).clone();
                match known {
                    AuthorRecord::Missing(_) => AuthorRecord::Missing(format!(
                        "the webhook that records authors can't be looked at: {}; the controller needs to get, list and watch mutatingwebhookconfigurations",
                        fleet_members::innermost(&error)
                    )),
                    known => known,
                }
            }
            None => return,
        };
        let before = std::mem::replace(&mut *lock(&ctx.author_webhook), record.clone());
        if before != record {
            match &record {
                AuthorRecord::Missing(why) => tracing::info!(why, "authors of changes aren't recorded"),
                _ => tracing::info!("authors of changes are recorded"),
            }
            // Gates may open now, or no longer.
            for app in ctx.hub.applications.state() {
                use kube::ResourceExt as _;
                ctx.due.wake(&(app.namespace().unwrap_or_default(), app.name_any()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn installed() -> Value {
        json!({"metadata": {"name": AUTHORS_WEBHOOK}, "webhooks": [{
            "name": AUTHORS_WEBHOOK,
            "admissionReviewVersions": ["v1"],
            "clientConfig": {"caBundle": "Y2E=", "service": {"name": "fleetctl-webhook", "namespace": "fleetctl-system"}},
            "failurePolicy": "Fail",
            "matchPolicy": "Equivalent",
            "namespaceSelector": {"matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [SPARED]},
            ]},
            "objectSelector": {},
            "matchConditions": [{"name": "content-or-author", "expression": CONDITION.replace(" || ", "\n  || ")}],
            "rules": [{
                "apiGroups": [GROUP], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"],
                "resources": RESOURCES, "scope": "Namespaced",
            }],
            "sideEffects": "None",
        }]})
    }

    fn judged(change: impl FnOnce(&mut Value)) -> AuthorRecord {
        let mut configuration = installed();
        if let Some(hook) = configuration.pointer_mut("/webhooks/0") {
            change(hook);
        }
        judge(Some(&serde_json::from_value(configuration).unwrap()))
    }

    /// A webhook that lets changes pass would let authors approve what they wrote.
    #[test]
    fn every_weakening_is_seen() {
        assert_eq!(judged(|_| {}), AuthorRecord::Webhook);
        assert!(matches!(judge(None), AuthorRecord::Missing(_)));
        let weakenings: [(&str, Value); 9] = [
            ("/name", json!("other.fleetctl.dev")),
            ("/failurePolicy", json!("Ignore")),
            ("/matchPolicy", json!("Exact")),
            ("/objectSelector", json!({"matchLabels": {"a": "b"}})),
            ("/namespaceSelector/matchExpressions/0/values", json!([SPARED, "demo"])),
            ("/matchConditions/0/expression", json!("request.userInfo.username != 'eve'")),
            ("/rules/0/resources", json!(["applications", "workflows"])),
            ("/rules/0/operations", json!(["CREATE"])),
            (
                "/clientConfig",
                json!({"service": {"name": "fleetctl-webhook", "namespace": "fleetctl-system"}}),
            ),
        ];
        for (place, value) in weakenings {
            let record = judged(|hook| *hook.pointer_mut(place).unwrap() = value);
            assert!(matches!(record, AuthorRecord::Missing(_)), "{place}: {record:?}");
        }
        assert!(matches!(within(AuthorRecord::Webhook, SPARED), AuthorRecord::Missing(_)));
        assert_eq!(within(AuthorRecord::BuiltIn, SPARED), AuthorRecord::BuiltIn);
    }
}
