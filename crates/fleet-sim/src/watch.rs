//! One kind over all members: a list, then its watch, for ever.

use std::pin::pin;
use std::time::Duration;

use futures::TryStreamExt;
use http::Request;
use kube::core::WatchEvent;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::Kind;
use crate::client::{SimError, get};
use crate::object::text;

/// Names the member, on objects that a list or watch over all members shows. Never stored.
pub(crate) const CLUSTER: &str = "fleetctl.dev/cluster";
/// The objects of one page of a list.
const PAGE: usize = 500;
/// How long to wait after a failure, at first and at most.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// What a watch has to say.
#[derive(Debug)]
pub(crate) enum Reported {
    /// All objects of a kind, at a resource version.
    Listed { kind: Kind, objects: Vec<Value>, version: u64 },
    /// An object was added or changed.
    Changed { kind: Kind, object: Value },
    /// An object is gone.
    Deleted { kind: Kind, object: Value },
}

/// Runs until nobody listens any more.
pub(crate) async fn run(client: kube::Client, kind: Kind, reports: mpsc::Sender<Reported>) {
    let mut patience = PATIENCE.0;
    loop {
        match list_and_follow(&client, kind, &reports).await {
            Ok(Ended::NobodyListens) => return,
            Ok(Ended::Expired) => patience = PATIENCE.0,
            Err(error) => {
                tracing::warn!(%error, kind = kind.name(), "watch failed; trying again");
                tokio::time::sleep(patience).await;
                patience = (patience * 2).min(PATIENCE.1);
            }
        }
        if reports.is_closed() {
            return;
        }
    }
}

enum Ended {
    NobodyListens,
    /// The server doesn't know our version any more.
    Expired,
}

async fn list_and_follow(
    client: &kube::Client,
    kind: Kind,
    reports: &mpsc::Sender<Reported>,
) -> Result<Ended, SimError> {
    let (objects, mut version) = list_all(client, kind).await?;
    let number = version.parse().unwrap_or(u64::MAX);
    if reports.send(Reported::Listed { kind, objects, version: number }).await.is_err() {
        return Ok(Ended::NobodyListens);
    }
    let mut failures = 0;
    loop {
        match follow(client, kind, &mut version, reports).await {
            Ok(Some(ended)) => return Ok(ended),
            // The server ends watches now and then.
            Ok(None) => failures = 0,
            Err(error) if error.code() == 410 => return Ok(Ended::Expired),
            Err(error) if failures < 3 => {
                failures += 1;
                tracing::debug!(%error, kind = kind.name(), "watch broke; going on");
                tokio::time::sleep(PATIENCE.0).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn list_all(client: &kube::Client, kind: Kind) -> Result<(Vec<Value>, String), SimError> {
    let mut objects = Vec::new();
    let mut token = String::new();
    loop {
        let mut path = format!("{}?limit={PAGE}", kind.path("", ""));
        if !token.is_empty() {
            path.push_str("&continue=");
            path.push_str(&encoded(&token));
        }
        let mut page = get(client, path).await?;
        if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
            objects.extend(items);
        }
        token = text(&page, "/metadata/continue").to_owned();
        if token.is_empty() {
            return Ok((objects, text(&page, "/metadata/resourceVersion").to_owned()));
        }
    }
}

/// A query value with everything escaped that isn't plainly harmless.
fn encoded(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// One watch. `None` if the server ended it in peace.
async fn follow(
    client: &kube::Client,
    kind: Kind,
    version: &mut String,
    reports: &mpsc::Sender<Reported>,
) -> Result<Option<Ended>, SimError> {
    let path = format!("{}?watch=true&allowWatchBookmarks=true&resourceVersion={version}", kind.path("", ""));
    let refused = |source| SimError::Refused {
        method: http::Method::GET,
        path: path.clone(),
        source: Box::new(source),
    };
    let request = Request::get(&path).header("accept", "application/json").body(Vec::new());
    let request = request.map_err(|source| SimError::Request {
        method: http::Method::GET,
        path: path.clone(),
        source,
    })?;
    let events = client.request_events::<Value>(request).await.map_err(refused)?;
    let mut events = pin!(events);
    while let Some(event) = events.try_next().await.map_err(refused)? {
        let report = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                advance(version, &object);
                Reported::Changed { kind, object }
            }
            WatchEvent::Deleted(object) => {
                advance(version, &object);
                Reported::Deleted { kind, object }
            }
            WatchEvent::Bookmark(bookmark) => {
                *version = bookmark.metadata.resource_version;
                continue;
            }
            WatchEvent::Error(status) if status.code == 410 => return Ok(Some(Ended::Expired)),
            WatchEvent::Error(status) => return Err(refused(kube::Error::Api(status))),
        };
        if reports.send(report).await.is_err() {
            return Ok(Some(Ended::NobodyListens));
        }
    }
    Ok(None)
}

fn advance(version: &mut String, object: &Value) {
    let next = text(object, "/metadata/resourceVersion");
    if !next.is_empty() {
        next.clone_into(version);
    }
}

/// The member that an object came from, as the server says over all members; empty for a plain cluster.
pub(crate) fn member_of(object: &Value) -> &str {
    crate::object::annotation(object, CLUSTER).unwrap_or_default()
}

/// An object without a name is none.
pub(crate) fn is_named(object: &Value) -> bool {
    !text(object, "/metadata/name").is_empty()
}
