//! Waiting for what is to come.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, pin_mut};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

/// Longer than anything here takes on a busy machine of two cores.
pub const LONG: Duration = Duration::from_secs(180);

/// Waits by watch until an object, or its absence, is as wanted. A watch that breaks (its server is under fault) is
/// begun again.
///
/// # Errors
/// After [`LONG`], with the object as it was seen last.
pub async fn until<K>(
    api: Api<K>,
    name: &str,
    what: &str,
    wanted: impl FnMut(Option<&K>) -> bool,
) -> Result<Option<K>>
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned + Send + 'static,
{
    until_within(LONG, api, name, what, wanted).await
}

/// [`until`] with a time of one's own.
///
/// # Errors
/// As [`until`].
pub async fn until_within<K>(
    limit: Duration,
    api: Api<K>,
    name: &str,
    what: &str,
    mut wanted: impl FnMut(Option<&K>) -> bool,
) -> Result<Option<K>>
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned + Send + 'static,
{
    let mut last: Option<Option<K>> = None;
    let mut refused = None;
    let seen = async {
        let seen = watch_object(api, name).default_backoff();
        pin_mut!(seen);
        while let Some(event) = seen.next().await {
            match event {
                Ok(object) if wanted(object.as_ref()) => return Some(object),
                Ok(object) => last = Some(object),
                Err(error) => refused = Some(error.to_string()),
            }
        }
        None
    };
    if let Ok(Some(object)) = tokio::time::timeout(limit, seen).await {
        return Ok(object);
    }
    let shown = match last {
        Some(Some(object)) => serde_saphyr::to_string(&object)?,
        Some(None) => "it doesn't exist".to_owned(),
        None => format!("it was never read ({})", refused.unwrap_or_default()),
    };
    bail!("{name}: not {what} within {limit:?}; seen last:\n{shown}")
}

/// Asks again and again until the answer is there; for what no watch tells.
///
/// # Errors
/// After [`LONG`], with the last refusal.
pub async fn eventually<T, F, W>(what: &str, mut ask: F) -> Result<T>
where
    F: FnMut() -> W,
    W: Future<Output = Result<T>>,
{
    let deadline = Instant::now() + LONG;
    loop {
        let error = match tokio::time::timeout(Duration::from_secs(10), ask()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(_) => anyhow::anyhow!("no answer within 10 s"),
        };
        if Instant::now() > deadline {
            return Err(error).with_context(|| format!("{what}: not within {LONG:?}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
