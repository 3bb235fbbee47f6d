//! Kubeconfigs, written and read.

use std::path::Path;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use crate::pki::Identity;

/// How a client proves who it is.
#[derive(Debug, Clone)]
pub enum User {
    /// By a certificate.
    Certificate(Identity),
    /// By a token, such as a ServiceAccount's.
    Token(String),
}

fn user(user: &User) -> Value {
    match user {
        User::Certificate(identity) => json!({
            "client-certificate-data": STANDARD.encode(&identity.certificate),
            "client-key-data": STANDARD.encode(&identity.key),
        }),
        User::Token(token) => json!({ "token": token }),
    }
}

/// The same cluster for another user.
pub fn with_user(kubeconfig: &Value, other: &User) -> Value {
    let mut changed = kubeconfig.clone();
    if let Some(place) = changed.pointer_mut("/users/0/user") {
        *place = user(other);
    }
    changed
}

/// Leaves the current context, with cluster, user and context of one name.
///
/// # Errors
/// Where it has no current context, or that names what isn't there.
pub fn rename(kubeconfig: &mut Value, name: &str) -> Result<()> {
    let entry = |list: &str, name: &Value| {
        let all = kubeconfig.get(list).and_then(Value::as_array)?;
        all.iter().find(|one| one.get("name") == Some(name)).cloned()
    };
    let current = kubeconfig.get("current-context").context("the kubeconfig has no current-context")?;
    let context = entry("contexts", current).context("its current context isn't there")?;
    let part = |list: &str, key: &str| -> Result<Value> {
        let named = context.pointer(&format!("/context/{key}")).with_context(|| format!("no {key}"))?;
        entry(list, named)
            .and_then(|found| found.get(key).cloned())
            .with_context(|| format!("no {key} {named}"))
    };
    let (cluster, user) = (part("clusters", "cluster")?, part("users", "user")?);
    *kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": name,
        "clusters": [{ "name": name, "cluster": cluster }],
        "users": [{ "name": name, "user": user }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
    });
    Ok(())
}

/// A kubeconfig of one context, named as the cluster.
pub fn render(name: &str, server: &str, authority: &str, who: &User) -> Value {
    let user = user(who);
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": name,
        "clusters": [{ "name": name, "cluster": { "server": server, "certificate-authority-data": STANDARD.encode(authority) } }],
        "users": [{ "name": name, "user": user }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
    })
}

/// Puts several into one, with the first one's current context.
pub fn merge(all: &[Value]) -> Value {
    let list = |key: &str| -> Vec<Value> {
        all.iter().filter_map(|one| one.get(key)?.as_array()).flatten().cloned().collect()
    };
    json!({
        "apiVersion": "v1", "kind": "Config",
        "current-context": all.first().and_then(|one| one.get("current-context")),
        "clusters": list("clusters"), "users": list("users"), "contexts": list("contexts"),
    })
}

/// Writes one. JSON is YAML.
///
/// # Errors
/// Where the file can't be written.
pub fn write(path: &Path, kubeconfig: &Value) -> Result<()> {
    std::fs::write(path, serde_json::to_string_pretty(kubeconfig)?)
        .with_context(|| path.display().to_string())
}

/// A client for its current context.
///
/// # Errors
/// Where it can't be read.
pub async fn client(kubeconfig: &Value) -> Result<kube::Client> {
    // kube would choose a provider; one for all.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let read: Kubeconfig = serde_json::from_value(kubeconfig.clone())?;
    let config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    Ok(kube::Client::try_from(config)?)
}
