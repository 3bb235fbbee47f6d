//! The chart's values: their defaults from the chart itself, and what the command line says about them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::args::InstallArgs;
use crate::exit::{Failure, Outcome};

const DEFAULTS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/fleetctl/values.yaml"));

type Strings = BTreeMap<String, String>;

macro_rules! values {
    ($($(#[$doc:meta])* $name:ident { $($(#[$note:meta])* $field:ident: $type:ty),* $(,)? })*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub(super) struct $name { $($(#[$note])* pub(super) $field: $type,)* }
    )* };
}

values! {
    /// Everything that `values.yaml` holds; what each means is said there.
    Values {
        replicas: u32,
        image: Image,
        image_pull_secrets: Vec<Value>,
        controller: Controller,
        crds: Crds,
        take_over: bool,
        members: Members,
        referenced: Referenced,
        rbac: Rbac,
        service_account: ServiceAccount,
        policies: Installed,
        webhook: Webhook,
        resources: Value,
        node_selector: Strings,
        tolerations: Vec<Value>,
        affinity: Map<String, Value>,
        priority_class_name: String,
        topology_spread_constraints: Vec<Value>,
        pod_annotations: Strings,
        pod_labels: Strings,
        termination_grace_period_seconds: u32,
        pod_disruption_budget: Enabled,
        network_policy: NetworkPolicy,
        metrics: Metrics,
        dashboard: Dashboard,
        uninstall_hook: UninstallHook,
    }
    Image { repository: String, tag: String, digest: String, pull_policy: String }
    Controller {
        enabled: bool,
        users: Vec<String>,
        log_level: String,
        log_format: String,
        watch_namespaces: Vec<String>,
        concurrency: u16,
        member_requests: u16,
        member_timeout: String,
        cache_sync_timeout: String,
        deletion_deadline: String,
        drift: String,
        max_runs: u16,
        one_run_per_cluster: bool,
        kept_runs: u16,
        kept_revisions: u16,
        extra_args: Vec<String>,
        extra_env: Vec<Value>,
    }
    Crds { install: bool, managed_clusters: ManagedClusters }
    Members { credentials_namespaces: Vec<String> }
    Referenced { resources: Vec<Readable>, secrets: bool }
    Rbac { create: bool, people: bool, extra_rules: Vec<Value> }
    ServiceAccount { create: bool, name: String, annotations: Strings }
    Installed { install: bool }
    Webhook { enabled: bool, port: u16, url: String, timeout_seconds: u32 }
    Enabled { enabled: bool }
    NetworkPolicy { enabled: bool, api_server_ports: Vec<u16>, extra_egress: Vec<Value> }
    Metrics { address: String, port: u16, service: Service, service_monitor: ServiceMonitor }
    Service { enabled: bool, annotations: Strings }
    ServiceMonitor { enabled: bool, interval: String, labels: Strings }
    Dashboard { enabled: bool, labels: Strings }
    /// For helm alone: `fleetctl uninstall` needs no hook.
    #[expect(dead_code, reason = "taken and checked, as the chart's schema does")]
    UninstallHook { enabled: bool, timeout_seconds: u32 }
}

/// Kinds that Applications may refer to.
#[derive(Debug, Clone, Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Readable {
    pub(super) api_groups: Vec<String>,
    pub(super) resources: Vec<String>,
}

/// Whether the definition of ManagedCluster is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ManagedClusters {
    /// Unless somebody else's is there.
    Auto,
    Always,
    Never,
}

/// What a command line says of the values.
pub(super) fn given(arguments: &InstallArgs) -> Outcome<Value> {
    let mut tree = Value::Object(Map::new());
    for path in &arguments.values {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
        let place = path.display();
        let values: Value = serde_saphyr::from_str(&text)
            .map_err(|error| Failure::usage(format!("{place}: {}", error.to_string().replace('\n', " "))))?;
        merge(&mut tree, values);
    }
    for setting in &arguments.set {
        merge(&mut tree, setting_of(setting)?);
    }
    if let Some(image) = &arguments.image {
        merge(&mut tree, serde_json::json!({ "image": image_of(image)? }));
    }
    if let Some(replicas) = arguments.replicas {
        merge(&mut tree, serde_json::json!({ "replicas": replicas }));
    }
    if arguments.no_controller {
        merge(&mut tree, serde_json::json!({ "controller": { "enabled": false } }));
    }
    if arguments.take_over {
        merge(&mut tree, serde_json::json!({ "takeOver": true }));
    }
    Ok(tree)
}

/// The chart's defaults with what was given.
pub(super) fn complete(given: &Value) -> Outcome<Values> {
    let mut tree: Value = serde_saphyr::from_str(DEFAULTS).map_err(|error| {
        Failure::failed(format!("the chart's values can't be read: {error}; this is a defect"))
    })?;
    merge(&mut tree, given.clone());
    let values = Values::deserialize(&tree).map_err(|error| {
        Failure::usage(format!("the values make no sense: {error}; charts/fleetctl/values.yaml lists them"))
    })?;
    values.check().map_err(|what| Failure::usage(format!("the values make no sense: {what}")))?;
    Ok(values)
}

impl Values {
    /// What types alone don't hold; `values.schema.json` says the same.
    fn check(&self) -> Result<(), String> {
        let bounds = [
            ("replicas", (1..=50).contains(&self.replicas), "1 to 50"),
            ("terminationGracePeriodSeconds", self.termination_grace_period_seconds >= 20, "20 or more"),
            ("metrics.port", self.metrics.port >= 1024, "1024 or more"),
            ("webhook.port", self.webhook.port >= 1024, "1024 or more"),
            ("webhook.timeoutSeconds", (1..=30).contains(&self.webhook.timeout_seconds), "1 to 30"),
            (
                "webhook.url",
                self.webhook.url.is_empty() || self.webhook.url.starts_with("https://"),
                "an https:// address, or nothing",
            ),
            ("uninstallHook.timeoutSeconds", self.uninstall_hook.timeout_seconds >= 30, "30 or more"),
            (
                "networkPolicy.apiServerPorts",
                !self.network_policy.api_server_ports.is_empty(),
                "one port or more",
            ),
            ("networkPolicy.apiServerPorts", !self.network_policy.api_server_ports.contains(&0), "1 or more"),
            ("image.repository", !self.image.repository.is_empty(), "the name of an image"),
            ("serviceAccount.name", is_name(&self.service_account.name), "a name in lower case"),
        ];
        for (place, holds, wanted) in bounds {
            if !holds {
                return Err(format!("{place} must be {wanted}"));
            }
        }
        let policies = ["Always", "IfNotPresent", "Never"];
        if !policies.contains(&self.image.pull_policy.as_str()) {
            return Err(format!("image.pullPolicy must be one of {}", policies.join(", ")));
        }
        // What the controller itself would refuse at its start is refused now.
        crate::args::controller_accepts(&self.arguments("default"))
            .map_err(|why| format!("controller: {}", why.trim()))?;
        if let Some(bad) = self.members.credentials_namespaces.iter().find(|name| !is_name(name)) {
            return Err(format!("members.credentialsNamespaces: {bad:?} is no name of a namespace"));
        }
        Ok(())
    }
}

impl Values {
    /// The controller's arguments, in a namespace.
    pub(super) fn arguments(&self, namespace: &str) -> Vec<String> {
        let settings = &self.controller;
        let mut namespaces = vec![namespace];
        for more in &self.members.credentials_namespaces {
            if !namespaces.contains(&more.as_str()) {
                namespaces.push(more);
            }
        }
        let mut all = vec![
            "controller".to_owned(),
            format!("--namespace={namespace}"),
            format!("--lease-namespace={namespace}"),
            format!("--listen={}:{}", self.metrics.address, self.metrics.port),
            format!("--credentials-namespace={}", namespaces.join(",")),
        ];
        if self.webhook.enabled {
            all.push(format!("--webhook-listen={}:{}", self.metrics.address, self.webhook.port));
        }
        if !settings.watch_namespaces.is_empty() {
            all.push(format!("--watch-namespaces={}", settings.watch_namespaces.join(",")));
        }
        all.extend([
            format!("--log-level={}", settings.log_level),
            format!("--log-format={}", settings.log_format),
            format!("--concurrency={}", settings.concurrency),
            format!("--member-requests={}", settings.member_requests),
            format!("--member-timeout={}", settings.member_timeout),
            format!("--cache-sync-timeout={}", settings.cache_sync_timeout),
            format!("--deletion-deadline={}", settings.deletion_deadline),
            format!("--drift={}", settings.drift),
            format!("--max-runs={}", settings.max_runs),
            format!("--one-run-per-cluster={}", settings.one_run_per_cluster),
            format!("--kept-runs={}", settings.kept_runs),
            format!("--kept-revisions={}", settings.kept_revisions),
        ]);
        all.extend(settings.extra_args.iter().cloned());
        all
    }
}

/// Whether it can be the name of a namespace.
pub(super) fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.first().copied().is_some_and(plain)
        && bytes.last().copied().is_some_and(plain)
        && bytes.iter().all(|byte| plain(*byte) || *byte == b'-')
}

/// Maps are merged, everything else is replaced; as helm does.
pub(super) fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        // An empty file, or an empty map in one.
        (_, Value::Null) => {}
        (into, from) => *into = from,
    }
}

/// A value as helm reads it: `true`, `null` and whole numbers are what they look like, `{a,b}` is a list, everything
/// else is text. Lists may be written as YAML too: `[a, b]`.
fn value_of(text: &str) -> Option<Value> {
    if let Some(list) = text.strip_prefix('{') {
        let list = list.strip_suffix('}')?;
        let parts = list.split(',').filter(|part| !part.is_empty());
        return parts.map(value_of).collect::<Option<Vec<Value>>>().map(Value::Array);
    }
    if text.starts_with('[') {
        return serde_saphyr::from_str(text).ok();
    }
    Some(match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" => Value::Null,
        _ => match text.parse::<i64>() {
            Ok(number) if number.to_string() == text => Value::from(number),
            _ => Value::String(text.to_owned()),
        },
    })
}

/// `a.b=VALUE` as a tree.
fn setting_of(setting: &str) -> Outcome<Value> {
    let bad = |why: &str| {
        Failure::usage(format!("--set {setting}: {why}; write it as KEY=VALUE, such as image.tag=v1"))
    };
    let (path, text) = setting.split_once('=').ok_or_else(|| bad("there is no ="))?;
    if path.is_empty() || path.split('.').any(str::is_empty) {
        return Err(bad("a part of the key is empty"));
    }
    let value = value_of(text).ok_or_else(|| bad("the list isn't closed, or is no YAML"))?;
    Ok(path.rsplit('.').fold(value, |value, key| Value::Object(Map::from_iter([(key.to_owned(), value)]))))
}

fn image_of(image: &str) -> Outcome<Value> {
    if let Some((repository, digest)) = image.split_once('@') {
        return Ok(serde_json::json!({ "repository": repository, "tag": "", "digest": digest }));
    }
    // A colon in the part before the last slash is a registry's port.
    let name = image.rfind('/').map_or(0, |slash| slash + 1);
    match image.get(name..).and_then(|name| name.split_once(':')) {
        Some((_, tag)) if !tag.is_empty() => {
            let repository = image.strip_suffix(tag).and_then(|rest| rest.strip_suffix(':')).unwrap_or(image);
            Ok(serde_json::json!({ "repository": repository, "tag": tag, "digest": "" }))
        }
        _ => {
            Err(Failure::usage(format!("--image {image}: which tag? Write it as NAME:TAG or NAME@sha256:…")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn arguments() -> InstallArgs {
        InstallArgs {
            set: Vec::new(),
            values: Vec::new(),
            image: None,
            replicas: None,
            no_controller: false,
            take_over: false,
            reset_values: false,
            dry_run: false,
            wait: false,
            timeout: std::time::Duration::ZERO,
            output: crate::args::OutputArgs::default(),
        }
    }

    fn with(settings: &[&str]) -> Outcome<Values> {
        complete(&given(&InstallArgs {
            set: settings.iter().map(|s| (*s).to_owned()).collect(),
            ..arguments()
        })?)
    }

    /// The struct above and the chart's file can't drift apart: every value is in both.
    #[test]
    fn the_chart_s_values_are_the_defaults() {
        let values = with(&[]).unwrap();
        assert_eq!((values.replicas, values.referenced.secrets), (2, false));
        let changed = with(&["replicas=3", "image.tag=v9", "members.credentialsNamespaces=[a, b]"]).unwrap();
        assert_eq!((changed.replicas, changed.image.tag.as_str()), (3, "v9"));
        assert_eq!(changed.members.credentials_namespaces, ["a", "b"]);
        let texts =
            with(&["podLabels.a=y", "podLabels.b=07", "members.credentialsNamespaces={c,d}"]).unwrap();
        assert_eq!((texts.pod_labels["a"].as_str(), texts.pod_labels["b"].as_str()), ("y", "07"));
        assert_eq!(texts.members.credentials_namespaces, ["c", "d"]);
    }

    /// A misspelt value must not be passed over in silence.
    #[test]
    fn nonsense_is_refused_with_its_name() {
        for (settings, said) in [
            (&["replica=3"][..], "replica"),
            (&["controller.logs=x"], "logs"),
            (&["controller.concurrency=0"], "controller: "),
            (&["replicas=0"], "replicas must be 1 to 50"),
            (&["replicas=many"], "invalid type"),
            (&["image.pullPolicy=Sometimes"], "image.pullPolicy"),
            (&["members.credentialsNamespaces=[Not_A_Name]"], "Not_A_Name"),
            (&["crds.managedClusters=perhaps"], "perhaps"),
            (&["members.credentialsNamespaces=[a"], "isn't closed"),
            (&["replicas"], "there is no ="),
            (&[".a=1"], "empty"),
        ] {
            let failure = with(settings).unwrap_err();
            assert_eq!(failure.exit, crate::exit::Exit::Usage);
            assert!(failure.message.contains(said), "{settings:?}: {failure}");
        }
    }

    #[test]
    fn images_are_taken_apart() {
        assert_eq!(
            image_of("r:5000/a/b:v1").unwrap(),
            json!({ "repository": "r:5000/a/b", "tag": "v1", "digest": "" })
        );
        assert_eq!(image_of("b:v1").unwrap(), json!({ "repository": "b", "tag": "v1", "digest": "" }));
        assert_eq!(
            image_of("a/b@sha256:0").unwrap(),
            json!({ "repository": "a/b", "tag": "", "digest": "sha256:0" })
        );
        assert!(image_of("r:5000/a/b").is_err() && image_of("a/b:").is_err());
    }
}
