//! `fleetctl controller`: the controller alone, for a hub elsewhere.

pub mod authors;
mod endpoints;

use std::net::SocketAddr;
use std::sync::Arc;

use fleet_controller::{Addresses, AuthorSource, Controller, LeaseOptions, OnDrift, Options};
use fleet_members::{Remote, RemoteOptions};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::access::{Access, Cluster};
use crate::args::{ControllerArgs, Drift, Global, ReplicaArgs};
use crate::beside;
use crate::environment::Environment;
use crate::exit::{Failure, Outcome};
use crate::signals::Signals;

pub use endpoints::{Sources, serve};

/// Runs until a signal, or until the controller can't go on.
///
/// # Errors
/// Where the hub can't be reached or the controller fails.
pub async fn run(environment: &Environment, global: &Global, arguments: &ControllerArgs) -> Outcome {
    let mut signals = Signals::new(false)?;
    // Before anything else: a port that is taken ends it while nothing is done yet.
    let listener = match arguments.tell.listen {
        Some(address) => Some(listen(environment, address).await?),
        None => None,
    };
    let webhook = match arguments.tell.webhook_listen {
        Some(address) => Some(TcpListener::bind(address).await.map_err(|error| {
            Failure::failed(format!("--webhook-listen {address}: {error}; choose another address or port"))
        })?),
        None => None,
    };
    let cluster = hub(environment, global).await?;
    let shown = if cluster.in_pod {
        cluster.server.clone()
    } else {
        format!("context {:?}, {}", cluster.context, cluster.server)
    };
    if !arguments.beside_another_controller {
        let others = beside::others(&cluster.client, cluster.deadline, environment.now()).await;
        beside::refuse(&others, &cluster.context)?;
    }
    let version = cluster.ask("the hub's version", cluster.client.apiserver_version()).await;
    let embedded = version.is_ok_and(|version| version.git_version.contains("+fleetctl"));
    if embedded {
        environment.streams.note(
            "this hub is an embedded one: where `fleetctl local` runs it, a controller runs in it already, and two undo each other's work",
        );
    }
    let lease_namespace = lease_namespace(&cluster, &arguments.replicas);
    let hub = cluster.client.clone();
    let mut options = options(environment, arguments, &lease_namespace);
    if embedded {
        options.author = AuthorSource::BuiltIn;
    }
    options.audit_signer = crate::audit::signer(arguments.keep.audit_key.as_deref())?;
    let (stop, mut endpoints) = (CancellationToken::new(), JoinSet::new());
    if let Some(listener) = listener {
        let sources = Sources::new(options.metrics.clone(), options.health.clone(), hub.clone());
        endpoints.spawn(serve(listener, sources, stop.child_token()));
    }
    if let Some(listener) = webhook {
        let webhook = authors::Webhook::new(hub.clone(), &lease_namespace, Arc::clone(&environment.clock));
        let answering = Box::pin(webhook.serve(listener, stop.child_token()));
        endpoints.spawn(async move {
            if let Err(why) = answering.await {
                tracing::error!(why, "the webhook that records authors doesn't answer");
            }
        });
    }
    if arguments.install_crds {
        crate::embedded::install_definitions(&hub)
            .await
            .map_err(|error| Failure::failed(error.to_string()))?;
    }
    if let Some(namespace) = &global.namespace {
        // They are built in all the same; on the hub they are for people to see.
        if let Err(failure) =
            cluster.ask("the definitions", crate::install::definitions(&hub, namespace)).await
        {
            tracing::warn!(%failure, namespace, "the definitions aren't put on the hub");
        }
    }
    let mut remote = RemoteOptions::new(Arc::clone(&environment.clock));
    remote.plugins = arguments.work.allow_exec_plugins.iter().cloned().collect();
    if !arguments.work.credentials_namespaces.is_empty() {
        remote.namespaces.clone_from(&arguments.work.credentials_namespaces);
    }
    let remote = tokio::select! {
        remote = Remote::open(hub.clone(), remote, stop.child_token()) => remote
            .map_err(|error| Failure::kube(&format!("the members' credentials on {shown}"), &error))?,
        () = signals.wait() => return Ok(()),
    };
    let controller = Controller::new(hub, Arc::new(remote.clone()), options);
    environment.streams.note(&format!("controller for {shown}; Ctrl-C ends it"));
    let mut running = std::pin::pin!(controller.run(stop.clone()));
    let ended = tokio::select! {
        ended = &mut running => ended.map_err(|error| Failure::failed(format!("the controller has stopped: {error}"))),
        () = signals.wait() => {
            stop.cancel();
            running.await.map_err(|error| Failure::failed(format!("the controller didn't end well: {error}")))
        }
    };
    stop.cancel();
    remote.finished().await;
    while endpoints.join_next().await.is_some() {}
    ended
}

async fn listen(environment: &Environment, address: SocketAddr) -> Outcome<TcpListener> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Failure::failed(format!("--listen {address}: {error}; choose another address or port"))
    })?;
    // The port may have been left to the system.
    let address = listener.local_addr().unwrap_or(address);
    environment
        .streams
        .note(&format!("metrics and health at http://{address}/metrics, /healthz and /readyz"));
    Ok(listener)
}

/// What the command line says, as the controller takes it.
fn options(environment: &Environment, arguments: &ControllerArgs, lease_namespace: &str) -> Options {
    let (work, keep, replicas) = (&arguments.work, &arguments.keep, &arguments.replicas);
    let mut options = Options::new(Arc::clone(&environment.clock));
    options.concurrency = work.concurrency;
    options.members.requests_at_once = usize::from(work.member_requests);
    options.members.request_timeout = work.member_timeout;
    options.deletion_deadline = work.deletion_deadline.try_into().unwrap_or(options.deletion_deadline);
    options.cache_sync_timeout = work.cache_sync_timeout;
    options.namespaces = work.watch_namespaces.iter().cloned().collect();
    options.on_drift = match work.drift {
        Drift::Repair => OnDrift::Repair,
        Drift::Report => OnDrift::Report,
    };
    if work.allow_local_addresses {
        options.addresses = Addresses::Local;
    }
    options.limits = work.turns.limits();
    options.kept_runs = usize::from(keep.kept_runs);
    options.kept_revisions = usize::from(keep.kept_revisions);
    options.own_namespace = lease_namespace.to_owned();
    options.leases =
        replicas.leases.then(|| LeaseOptions::new(lease_namespace, &replicas.replica_name, environment.seed));
    options
}

/// Where the Leases are: in a pod, the pod's own namespace.
fn lease_namespace(hub: &Cluster, replicas: &ReplicaArgs) -> String {
    let pod = hub.in_pod.then(|| hub.client.default_namespace().to_owned());
    replicas.lease_namespace.clone().or(pod).unwrap_or_else(|| fleet_api::names::SYSTEM_NAMESPACE.to_owned())
}

/// The hub of the kubeconfig; in a pod without one, the cluster that it runs in.
///
/// # Errors
/// Where there is neither.
pub(crate) async fn hub(environment: &Environment, global: &Global) -> Outcome<Cluster> {
    let asked = global.kubeconfig.is_some() || global.context.is_some();
    match Access::load(environment, global) {
        Ok(access) => access.hub().await,
        Err(failure) if asked => Err(failure),
        Err(failure) => {
            Cluster::around(global).map_err(|no_pod| Failure::failed(format!("{failure}; and {no_pod}")))
        }
    }
}
