//! `fleetctl uninstall`: the controllers end, the Applications stay, and what was delivered stays.

use std::time::Duration;

use fleet_api::{Application, names};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::watcher;
use serde_json::json;

use super::manifests::{CONTROLLER, NAME_LABEL, NAMESPACE_NOTE};
use super::{apply, namespace, optional};
use crate::access::Cluster;
use crate::args::{Global, UninstallArgs};
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};

/// The pods of the controllers, whoever installed them.
const PODS: &str = "app.kubernetes.io/name=fleetctl,app.kubernetes.io/component=controller";
/// How often a finalizer is released that somebody else writes to at the same time.
const TRIES: u32 = 10;

pub(super) async fn run(environment: &Environment, global: &Global, arguments: &UninstallArgs) -> Outcome {
    let hub = crate::controller::hub(environment, global).await?;
    // The account of the chart's hook may read no more than it needs.
    let role = if arguments.finalizers_only { None } else { apply::role(&hub).await? };
    if let Some(release) = role.as_ref().and_then(apply::helm) {
        return Err(Failure::refused(format!(
            "helm installed this, as {release}; uninstall it with helm. Where its hook can't run: fleetctl uninstall --finalizers-only, then helm uninstall --no-hooks"
        )));
    }
    let place = role.as_ref().and_then(|role| role.annotations().get(NAMESPACE_NOTE).cloned());
    let namespace = match (&global.namespace, place) {
        (None, Some(place)) => place,
        _ => namespace(global)?,
    };
    agree(environment, arguments, &hub).await?;
    stop(&hub, &namespace, arguments.timeout).await?;
    release(environment, &hub).await?;
    if arguments.finalizers_only {
        return Ok(());
    }
    for object in apply::ours(&hub).await? {
        apply::delete(&hub, &object).await?;
        environment.streams.line(&format!("{} deleted", apply::title(&object)))?;
    }
    if arguments.delete_crds {
        return definitions(environment, &hub, arguments.timeout).await;
    }
    environment.streams.note(&format!(
        "the definitions of the kinds stay, and with them Applications, records and members; namespace {namespace} stays, it may hold members' credentials"
    ));
    Ok(())
}

/// Asks, unless the answer is given.
async fn agree(environment: &Environment, arguments: &UninstallArgs, hub: &Cluster) -> Outcome {
    if arguments.yes {
        return Ok(());
    }
    let streams = &environment.streams;
    if !streams.in_is_terminal {
        let message = "uninstalling has to be agreed to and there is no terminal to ask on; --yes answers it";
        return Err(Failure::new(Exit::CannotAsk, message));
    }
    let crds = if arguments.delete_crds {
        " The definitions of the kinds go, and with them EVERY Application, record and member on this hub; what was delivered stays."
    } else {
        " Applications stay on the hub, what was delivered stays on the members."
    };
    streams.print(&format!("Stop the controllers on {} ({})?{crds} [y/N] ", hub.context, hub.server))?;
    let line = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let answer = line.await.map_err(|error| Failure::failed(error.to_string()))?.unwrap_or_default();
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(Exit::Waiting, "nothing was changed"))
}

/// Takes the Deployment away and waits until its pods are gone: they would set the finalizers again.
async fn stop(hub: &Cluster, namespace: &str, patience: Duration) -> Outcome {
    let deployments: Api<Deployment> = Api::namespaced(hub.client.clone(), namespace);
    let params = DeleteParams::background();
    let doing = format!("Deployment {CONTROLLER} in {namespace}");
    if optional(hub, &doing, deployments.delete(CONTROLLER, &params)).await?.is_none() {
        return Ok(());
    }
    let pods: Api<Pod> = Api::namespaced(hub.client.clone(), namespace);
    let gone = tokio::time::timeout(patience, none_left(&pods, PODS, "the controllers' pods")).await;
    gone.unwrap_or_else(|_| {
        Err(Failure::new(
            Exit::Waiting,
            format!(
                "controllers still run in namespace {namespace} after {} s; no finalizer was released. See: kubectl get pods -n {namespace} -l {PODS}; then repeat",
                patience.as_secs()
            ),
        ))
    })
}

/// Follows the objects of a label until there is none.
async fn none_left<K>(all: &Api<K>, label: &str, what: &str) -> Outcome
where
    K: kube::Resource + Clone + std::fmt::Debug + Send + serde::de::DeserializeOwned + 'static,
{
    use futures::TryStreamExt as _;
    use kube::runtime::WatchStreamExt as _;
    let config = watcher::Config::default().labels(label);
    let mut changes = std::pin::pin!(watcher::watcher(all.clone(), config).default_backoff());
    let mut left = std::collections::BTreeSet::new();
    let mut listed = false;
    loop {
        // Interruptions are tried again; what ends this is the caller's patience.
        let event = match changes.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return Ok(()),
            Err(watcher::Error::InitialListFailed(error @ kube::Error::Api(_))) => {
                return Err(Failure::kube(what, &error));
            }
            Err(_) => continue,
        };
        match event {
            watcher::Event::Init => left.clear(),
            watcher::Event::InitApply(one) | watcher::Event::Apply(one) => {
                left.insert(one.name_any());
            }
            watcher::Event::InitDone => listed = true,
            watcher::Event::Delete(one) => {
                left.remove(&one.name_any());
            }
        }
        if listed && left.is_empty() {
            return Ok(());
        }
    }
}

/// Releases every Application: it can be deleted without a controller then, and what it delivered stays.
async fn release(environment: &Environment, hub: &Cluster) -> Outcome {
    let all: Api<Application> = Api::all(hub.client.clone());
    let Some(applications) = optional(hub, "the Applications", all.list(&ListParams::default())).await?
    else {
        return Ok(());
    };
    let (mut released, mut left) = (0_u32, 0_u32);
    for application in &applications.items {
        if application.finalizers().iter().any(|name| name == names::FINALIZER) {
            let deleting = application.metadata.deletion_timestamp.is_some();
            one(hub, application).await?;
            released += 1;
            if deleting {
                environment.streams.note(&format!(
                    "Application {} in {} was being deleted and is gone now; what it delivered stays",
                    application.name_any(),
                    application.namespace().unwrap_or_default()
                ));
            }
        }
        if application.finalizers().iter().any(|name| name == names::ORPHAN_FINALIZER) {
            left += 1;
        }
    }
    if left > 0 {
        environment.streams.note(&format!(
            "{left} Applications keep the finalizer {}, which somebody else set",
            names::ORPHAN_FINALIZER
        ));
    }
    environment.streams.line(&format!("{released} Applications released"))
}

async fn one(hub: &Cluster, application: &Application) -> Outcome {
    let (name, namespace) = (application.name_any(), application.namespace().unwrap_or_default());
    let api: Api<Application> = Api::namespaced(hub.client.clone(), &namespace);
    let doing = format!("Application {name} in {namespace}");
    let mut now = Some(application.clone());
    for _ in 0..TRIES {
        let Some(application) = now.take() else { return Ok(()) };
        let kept: Vec<&String> =
            application.finalizers().iter().filter(|name| *name != names::FINALIZER).collect();
        let patch = json!({ "metadata": {
            "finalizers": kept,
            "resourceVersion": application.resource_version(),
        }});
        let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
        match optional(hub, &doing, api.patch(&name, &params, &patch)).await {
            Ok(_) => return Ok(()),
            // Somebody wrote meanwhile: read again.
            Err(failure) if failure.exit == Exit::Refused => {
                now = optional(hub, &doing, api.get(&name)).await?;
                let ours = |a: &Application| a.finalizers().iter().any(|name| name == names::FINALIZER);
                if now
                    .as_ref()
                    .is_some_and(|after| after.resource_version() == application.resource_version())
                {
                    return Err(failure);
                }
                now = now.filter(ours);
            }
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::refused(format!(
        "{doing}: somebody writes to it all the time; is a controller still running?"
    )))
}

/// Deletes the definitions that are ours, and waits until they are gone: a next installation would meet them.
async fn definitions(environment: &Environment, hub: &Cluster, patience: Duration) -> Outcome {
    let api: Api<CustomResourceDefinition> = Api::all(hub.client.clone());
    let all = fleet_api::crds::all().map_err(|error| Failure::failed(error.to_string()))?;
    for name in all.iter().map(super::manifests::name) {
        let doing = format!("definition {name}");
        let Some(there) = optional(hub, &doing, api.get(name)).await? else { continue };
        if there.labels().get(NAME_LABEL).is_none_or(|part| part != "fleetctl") {
            environment.streams.note(&format!("definition {name} isn't ours and stays"));
            continue;
        }
        optional(hub, &doing, api.delete(name, &DeleteParams::background())).await?;
        environment.streams.line(&format!("customresourcedefinition/{name} deleted"))?;
    }
    let label = format!("{NAME_LABEL}=fleetctl");
    let gone = tokio::time::timeout(patience, none_left(&api, &label, "the definitions")).await;
    gone.unwrap_or_else(|_| {
        Err(Failure::new(
            Exit::Waiting,
            format!(
                "definitions are still being deleted after {} s: objects of theirs have finalizers. See: kubectl get crd -l {label}",
                patience.as_secs()
            ),
        ))
    })
}
