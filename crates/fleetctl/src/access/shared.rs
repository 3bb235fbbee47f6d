//! One HTTP/2 connection to a cluster for all that is asked and watched: kube's own client speaks HTTP/1.1, with a connection,
//! its buffers and a TLS handshake for each watch and each request at the same time.

use std::time::Duration;

use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::ConfigExt as _;
use kube::client::retry::RetryPolicy;
use tower::retry::RetryLayer;
use tower::{BoxError, ServiceBuilder};

/// How often the connection is pinged, and how long a ping may stay unanswered; then it is given up.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of a cluster: over one connection where the server offers HTTP/2. Through proxies, and with certificates that
/// plugins make, it is kube's own.
///
/// # Errors
/// Where the authority or the credentials make no sense.
pub(crate) fn client(config: kube::Config) -> Result<kube::Client, kube::Error> {
    let name = config.tls_server_name.clone().map(TryInto::try_into).transpose();
    let (None, None, Ok(name)) = (&config.proxy_url, &config.auth_info.exec, name) else {
        return kube::Client::try_from(config);
    };
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let mut https =
        HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http();
    if let Some(name) = name {
        https = https.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let mut connector = TimeoutConnector::new(https.enable_all_versions().wrap_connector(tcp));
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let client = Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_keep_alive_while_idle(true)
        .build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry())))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(kube::Client::new(service, config.default_namespace))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::{StreamExt as _, TryStreamExt as _};
    use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
    use kube::api::{Api, ListParams, WatchParams};
    use kube::config::{KubeConfigOptions, Kubeconfig};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinSet;

    use super::*;
    use crate::embedded::{Embedded, EmbeddedOptions};

    /// Broken: each watch, and each of many requests at once, has a connection of its own, here and at the server.
    #[tokio::test]
    async fn all_that_is_asked_and_watched_shares_a_connection() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        #[expect(clippy::disallowed_methods, reason = "certificates begin now")]
        let mut options = EmbeddedOptions::in_memory(Arc::new(jiff::Timestamp::now), 7);
        options.controller = false;
        options.listen = Some("127.0.0.1:0".parse().unwrap());
        let fleet = Embedded::start(options).await.unwrap();
        let kubeconfig = Kubeconfig::from_yaml(&fleet.kubeconfig(None).unwrap().unwrap()).unwrap();
        let options = KubeConfigOptions { context: Some("hub".to_owned()), ..KubeConfigOptions::default() };
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        let server = config.cluster_url.authority().unwrap().to_string();
        let between = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = format!("https://{}{}", between.local_addr().unwrap(), config.cluster_url.path());
        config.cluster_url = place.parse().unwrap();
        let made = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        let count = Arc::clone(&made);
        tasks.spawn(async move {
            let mut tunnels = JoinSet::new();
            while let Ok((mut stream, _)) = between.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let server = server.clone();
                tunnels.spawn(async move {
                    let mut there = TcpStream::connect(server).await.unwrap();
                    tokio::io::copy_bidirectional(&mut stream, &mut there).await
                });
            }
        });
        let hub = client(config).unwrap();
        let spaces: Api<Namespace> = Api::all(hub.clone());
        spaces.list(&ListParams::default()).await.unwrap();
        let mut watches = Vec::new();
        for _ in 0..5 {
            let mut watch = spaces.watch(&WatchParams::default(), "0").await.unwrap().boxed();
            watch.try_next().await.unwrap().unwrap();
            watches.push(watch);
        }
        let maps: Api<ConfigMap> = Api::all(hub);
        let all = ListParams::default();
        futures::future::try_join_all((0..40).map(|_| maps.list(&all))).await.unwrap();
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }
}
