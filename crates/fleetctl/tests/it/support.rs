//! Fleets for tests.

use std::sync::Arc;
use std::time::Duration;

use fleetctl::embedded::{Embedded, EmbeddedOptions};

/// A fleet in memory that listens on a free port, without a controller.
pub async fn fleet() -> Embedded {
    let clock = Arc::new(jiff::Timestamp::now);
    let mut options = EmbeddedOptions::in_memory(clock, 7);
    options.controller = false;
    options.listen = Some("127.0.0.1:0".parse().unwrap());
    Embedded::start(options).await.unwrap()
}

/// A client of a context of the fleet's kubeconfig, over TLS.
pub async fn client(fleet: &Embedded, context: &str) -> kube::Client {
    let text = fleet.kubeconfig(None).unwrap().unwrap();
    let kubeconfig = kube::config::Kubeconfig::from_yaml(&text).unwrap();
    let options = kube::config::KubeConfigOptions { context: Some(context.to_owned()), ..Default::default() };
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    kube::Client::try_from(config).unwrap()
}

/// Waits until a condition holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        while !holds().await {
            pause.tick().await;
        }
    });
    assert!(waited.await.is_ok(), "{what} never came true");
}
