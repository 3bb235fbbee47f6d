//! Other controllers of our kinds: beside one of them ours must not run, each would undo the other's work.
//!
//! Looked for is what such a controller leaves while it runs (a Deployment, a lease that is renewed) and what it
//! leaves to stand in the way (admission webhooks, a conversion webhook). `docs/moving-over.md` says what to do.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use crate::exit::{Failure, Outcome};

/// The group of Applications.
const GROUP: &str = "core.oam.dev";
/// How long after its last renewal a lease counts as held: clocks differ, and a pod that dies doesn't give it back.
const LEASE_PATIENCE: jiff::SignedDuration = jiff::SignedDuration::from_mins(2);
/// Labels of the Deployments of the established engine, by its chart's versions.
const DEPLOYMENT_LABELS: [&str; 2] =
    ["app.kubernetes.io/name=vela-core", "controller.oam.dev/name=vela-core"];
/// How the established engine's leases begin.
const LEASE_PREFIX: &str = "kubevela";

/// Another controller, by what was found of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Other {
    /// What was found, in words, and what to do about it.
    pub evidence: String,
}

/// Looks for other controllers. What this account may not read is passed over.
pub async fn others(client: &kube::Client, deadline: Duration, now: Timestamp) -> Vec<Other> {
    let looked = tokio::join!(
        Box::pin(within(deadline, deployments(client))),
        Box::pin(within(deadline, leases(client, now))),
        Box::pin(within(deadline, webhooks(client))),
        Box::pin(within(deadline, conversion(client))),
    );
    let mut all: Vec<Other> = [looked.0, looked.1, looked.2, looked.3]
        .into_iter()
        .flatten()
        .map(|evidence| Other { evidence })
        .collect();
    all.sort();
    all.dedup();
    all
}

/// Refuses where there are others.
///
/// # Errors
/// All of them in one line.
pub fn refuse(others: &[Other], hub: &str) -> Outcome {
    if others.is_empty() {
        return Ok(());
    }
    let all: Vec<&str> = others.iter().map(|other| other.evidence.as_str()).collect();
    Err(Failure::refused(format!(
        "another controller of the same kinds is on hub {hub:?}: {}. Each would undo the other's work; docs/moving-over.md has the way from one to the other",
        all.join("; ")
    )))
}

async fn within(
    deadline: Duration,
    looking: impl Future<Output = Result<Vec<String>, kube::Error>>,
) -> Vec<String> {
    match tokio::time::timeout(deadline, looking).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::debug!(%error, "other controllers can't be looked for here");
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}

async fn deployments(client: &kube::Client) -> Result<Vec<String>, kube::Error> {
    let api: Api<Deployment> = Api::all(client.clone());
    let mut found = Vec::new();
    for labels in DEPLOYMENT_LABELS {
        for deployment in api.list(&ListParams::default().labels(labels)).await? {
            let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            if wanted > 0 {
                let (name, namespace) = (deployment.name_any(), deployment.namespace().unwrap_or_default());
                found.push(format!(
                    "KubeVela runs as Deployment {name} in namespace {namespace} (kubectl scale deployment {name} -n {namespace} --replicas=0 stops it)"
                ));
            }
        }
    }
    Ok(found)
}

async fn leases(client: &kube::Client, now: Timestamp) -> Result<Vec<String>, kube::Error> {
    let api: Api<Lease> = Api::all(client.clone());
    let held = |lease: &Lease| {
        let spec = lease.spec.as_ref()?;
        let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())?;
        let renewed = spec.renew_time.as_ref()?.0;
        let held = now.duration_since(renewed) < LEASE_PATIENCE;
        held.then(|| (holder.to_owned(), renewed))
    };
    let leases = api.list(&ListParams::default()).await?;
    let theirs = leases.items.iter().filter(|lease| lease.name_any().starts_with(LEASE_PREFIX));
    Ok(theirs
        .filter_map(|lease| {
            let (holder, renewed) = held(lease)?;
            let (name, namespace) = (lease.name_any(), lease.namespace().unwrap_or_default());
            Some(format!(
                "KubeVela holds lease {name} in namespace {namespace} ({holder}, renewed at {renewed}; it runs out within 2 minutes after its end)"
            ))
        })
        .collect())
}

async fn webhooks(client: &kube::Client) -> Result<Vec<String>, kube::Error> {
    let params = ListParams::default();
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let mut found = Vec::new();
    for configuration in validating.list(&params).await? {
        let hooks = configuration.webhooks.iter().flatten();
        if hooks.flat_map(|hook| hook.rules.iter().flatten()).any(|rule| is_ours(rule.api_groups.as_deref()))
        {
            found.push(in_the_way("validatingwebhookconfiguration", &configuration.name_any()));
        }
    }
    for configuration in mutating.list(&params).await? {
        // Ours records who changes what.
        if configuration.name_any() == fleet_controller::AUTHORS_WEBHOOK {
            continue;
        }
        let hooks = configuration.webhooks.iter().flatten();
        if hooks.flat_map(|hook| hook.rules.iter().flatten()).any(|rule| is_ours(rule.api_groups.as_deref()))
        {
            found.push(in_the_way("mutatingwebhookconfiguration", &configuration.name_any()));
        }
    }
    Ok(found)
}

/// A webhook for everything (`*`) is a guard of the whole cluster, not an engine.
fn is_ours(groups: Option<&[String]>) -> bool {
    groups.unwrap_or_default().iter().any(|group| group == GROUP)
}

fn in_the_way(kind: &str, name: &str) -> String {
    format!("{kind} {name} judges objects of {GROUP} (kubectl delete {kind} {name} takes it away)")
}

async fn conversion(client: &kube::Client) -> Result<Vec<String>, kube::Error> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let Some(definition) = api.get_opt("applications.core.oam.dev").await? else { return Ok(Vec::new()) };
    let conversion = definition.spec.conversion.filter(|conversion| conversion.strategy == "Webhook");
    let service = conversion
        .and_then(|conversion| conversion.webhook?.client_config?.service)
        .map(|service| format!("{}/{}", service.namespace, service.name));
    Ok(service
        .map(|service| {
            format!(
                "the definition applications.core.oam.dev is converted by service {service} of another engine (its chart or operator set that)"
            )
        })
        .into_iter()
        .collect())
}
