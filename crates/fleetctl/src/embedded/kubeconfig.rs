//! The kubeconfig of a fleet: a context for the hub and one for each member, named as it.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet_apiserver::pki::Authority;
use fleet_apiserver::{ApiServer, Identity};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{ADMIN_USER, EmbeddedError};

/// Where the hub is.
pub fn hub_url(address: SocketAddr) -> String {
    format!("https://{address}")
}

/// Where a member is.
pub fn member_url(address: SocketAddr, member: &str) -> String {
    format!("https://{address}/clusters/{member}")
}

/// The kubeconfig as YAML. Our own entries are made anew; what a person put into `before` stays: the current
/// context, the namespaces of contexts, other clusters.
pub(super) fn write(
    authority: &Authority,
    address: SocketAddr,
    members: &[String],
    before: Option<Value>,
    now: Timestamp,
) -> Result<String, EmbeddedError> {
    let mut config = before.filter(Value::is_object).unwrap_or_else(|| json!({}));
    set(&mut config, "apiVersion", json!("v1"));
    set(&mut config, "kind", json!("Config"));
    let hub = (ApiServer::HUB.to_owned(), hub_url(address));
    let members = members.iter().map(|member| (member.clone(), member_url(address, member)));
    for (context, server) in std::iter::once(hub).chain(members) {
        let user = format!("{context}-admin");
        let groups = [Identity::MASTERS.to_owned()];
        let certificate = authority.client(&user, ADMIN_USER, &groups, now)?;
        let namespace = entry(&config, "contexts", &context)
            .and_then(|old| old.pointer("/context/namespace"))
            .cloned()
            .unwrap_or_else(|| json!("default"));
        put(
            &mut config,
            "clusters",
            &context,
            "cluster",
            json!({
                "server": server,
                "certificate-authority-data": STANDARD.encode(authority.certificate_pem()),
            }),
        );
        put(
            &mut config,
            "users",
            &user,
            "user",
            json!({
                "client-certificate-data": STANDARD.encode(&certificate.certificate_pem),
                "client-key-data": STANDARD.encode(&certificate.key_pem),
            }),
        );
        put(
            &mut config,
            "contexts",
            &context,
            "context",
            json!({
                "cluster": context, "user": user, "namespace": namespace,
            }),
        );
    }
    let current = config.get("current-context").and_then(Value::as_str).unwrap_or_default();
    if entry(&config, "contexts", current).is_none() {
        set(&mut config, "current-context", json!(ApiServer::HUB));
    }
    crate::yaml::write(&config)
        .map_err(|cause| EmbeddedError::Install { what: "the kubeconfig".to_owned(), cause })
}

fn set(config: &mut Value, key: &str, value: Value) {
    if let Some(fields) = config.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
}

fn entry<'a>(config: &'a Value, list: &str, name: &str) -> Option<&'a Value> {
    let entries = config.get(list)?.as_array()?;
    entries.iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some(name))
}

fn put(config: &mut Value, list: &str, name: &str, key: &str, value: Value) {
    let Some(fields) = config.as_object_mut() else { return };
    let entries = fields.entry(list).or_insert_with(|| json!([]));
    if !entries.is_array() {
        *entries = json!([]);
    }
    let Some(entries) = entries.as_array_mut() else { return };
    let made = json!({ "name": name, key: value });
    match entries.iter_mut().find(|entry| entry.get("name").and_then(Value::as_str) == Some(name)) {
        Some(old) => *old = made,
        None => entries.push(made),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(before: Option<Value>) -> Value {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let authority = Authority::in_memory(now).unwrap();
        let address = "127.0.0.1:6443".parse().unwrap();
        let text = write(&authority, address, &["mc-bj1".to_owned()], before, now).unwrap();
        serde_saphyr::from_str(&text).unwrap()
    }

    /// The promise of `local up`: contexts `hub` and one per member, named as it.
    #[test]
    fn contexts_are_named_as_clusters() {
        let config = config(None);
        assert_eq!(config["current-context"], "hub");
        assert_eq!(config["clusters"][1]["cluster"]["server"], "https://127.0.0.1:6443/clusters/mc-bj1");
        assert_eq!(config["contexts"][1]["name"], "mc-bj1");
    }

    /// `kubectl config set-context --namespace` and `use-context` must survive a restart.
    #[test]
    fn what_a_person_set_stays() {
        let before = json!({
            "current-context": "mc-bj1",
            "contexts": [
                { "name": "mc-bj1", "context": { "cluster": "mc-bj1", "user": "x", "namespace": "demo" } },
                { "name": "other", "context": { "cluster": "other", "user": "other" } },
            ],
        });
        let config = config(Some(before));
        assert_eq!(config["current-context"], "mc-bj1");
        assert_eq!(config["contexts"][0]["context"]["namespace"], "demo");
        assert_eq!(config["contexts"][1]["name"], "other");
        assert_eq!(config["contexts"][2]["name"], "hub");
    }
}
