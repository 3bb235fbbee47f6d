//! `fleetctl controller`: the controller alone, for a hub elsewhere.

mod endpoints;

use std::net::SocketAddr;
use std::sync::Arc;

use fleet_controller::{Controller, LeaseOptions, OnDrift, Options};
use fleet_members::{Remote, RemoteOptions};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::args::{ControllerArgs, Drift, Global, ReplicaArgs};
use crate::environment::Environment;
use crate::exit::{Failure, Outcome, innermost};
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
    let hub = hub(environment, global).await?;
    let lease_namespace = lease_namespace(&hub, &arguments.replicas);
    let Hub { client: hub, shown, .. } = hub;
    let options = options(environment, arguments, &lease_namespace);
    let (stop, mut endpoints) = (CancellationToken::new(), JoinSet::new());
    if let Some(listener) = listener {
        let sources = Sources::new(options.metrics.clone(), options.health.clone(), hub.clone());
        endpoints.spawn(serve(listener, sources, stop.child_token()));
    }
    if arguments.install_crds {
        crate::embedded::install_definitions(&hub)
            .await
            .map_err(|error| Failure::failed(error.to_string()))?;
    }
    let mut remote = RemoteOptions::new(Arc::clone(&environment.clock));
    remote.plugins = arguments.work.allow_exec_plugins.iter().cloned().collect();
    if !arguments.work.credentials_namespaces.is_empty() {
        remote.namespaces.clone_from(&arguments.work.credentials_namespaces);
    }
    let remote = Remote::open(hub.clone(), remote, stop.child_token())
        .await
        .map_err(|error| Failure::kube(&format!("the members' credentials on {shown}"), &error))?;
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
    options.kept_runs = usize::from(keep.kept_runs);
    options.kept_revisions = usize::from(keep.kept_revisions);
    options.leases =
        replicas.leases.then(|| LeaseOptions::new(lease_namespace, &replicas.replica_name, environment.seed));
    options
}

/// Where the Leases are: in a pod, the pod's own namespace.
fn lease_namespace(hub: &Hub, replicas: &ReplicaArgs) -> String {
    let pod = hub.in_pod.then(|| hub.client.default_namespace().to_owned());
    replicas.lease_namespace.clone().or(pod).unwrap_or_else(|| "fleetctl-system".to_owned())
}

/// The hub, and how it was found.
struct Hub {
    client: kube::Client,
    shown: String,
    in_pod: bool,
}

/// The hub of the kubeconfig; in a pod without one, the cluster that it runs in.
async fn hub(environment: &Environment, global: &Global) -> Outcome<Hub> {
    let asked = global.kubeconfig.is_some() || global.context.is_some();
    let failure = match Access::load(environment, global) {
        Ok(access) => {
            let hub = access.hub().await?;
            let shown = format!("context {:?}, {}", hub.context, hub.server);
            return Ok(Hub { client: hub.client, shown, in_pod: false });
        }
        Err(failure) if asked => return Err(failure),
        Err(failure) => failure,
    };
    match kube::Config::incluster() {
        Ok(config) => {
            let shown = config.cluster_url.to_string();
            let client = kube::Client::try_from(config).map_err(|error| Failure::kube("the hub", &error))?;
            Ok(Hub { client, shown, in_pod: true })
        }
        Err(error) => Err(Failure::failed(format!("{failure}; and this is no pod ({})", innermost(&error)))),
    }
}
