//! Fleets for tests, and the command line against them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fleet_api::{Application, Phase};
use fleetctl::embedded::{Embedded, EmbeddedOptions};
use fleetctl::environment::{Called, Environment};
use fleetctl::output::Streams;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

/// A fleet in memory that listens on a free port.
pub(crate) async fn fleet_with(controller: bool) -> Embedded {
    fleet_of(controller, 7).await
}

/// A fleet whose clusters are others than those of another seed.
pub(crate) async fn fleet_of(controller: bool, seed: u64) -> Embedded {
    let mut options = EmbeddedOptions::in_memory(Arc::new(jiff::Timestamp::now), seed);
    options.controller = controller;
    options.listen = Some("127.0.0.1:0".parse().unwrap());
    Embedded::start(options).await.unwrap()
}

/// A fleet without a controller.
pub(crate) async fn fleet() -> Embedded {
    fleet_with(false).await
}

/// A client of a context of the fleet's kubeconfig, over TLS.
pub(crate) async fn client(fleet: &Embedded, context: &str) -> kube::Client {
    client_of(&fleet.kubeconfig(None).unwrap().unwrap(), context).await
}

/// A client of a context of a kubeconfig.
pub(crate) async fn client_of(kubeconfig: &str, context: &str) -> kube::Client {
    let kubeconfig = kube::config::Kubeconfig::from_yaml(kubeconfig).unwrap();
    let options = kube::config::KubeConfigOptions { context: Some(context.to_owned()), ..Default::default() };
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    kube::Client::try_from(config).unwrap()
}

/// Waits until a condition holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        while !holds().await {
            pause.tick().await;
        }
    });
    assert!(waited.await.is_ok(), "{what} never came true");
}

/// Waits until the Application of the example is in a phase.
pub(crate) async fn in_phase(hub: &kube::Client, phase: Phase) {
    let apps: Api<Application> = Api::namespaced(hub.clone(), "demo");
    eventually(phase.as_str(), async || {
        let app = apps.get_opt("web-demo").await.unwrap();
        app.and_then(|app| app.status).is_some_and(|status| status.status == phase)
    })
    .await;
}

/// The example of the three centres, on a hub.
pub(crate) async fn apply_example(hub: &kube::Client) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/three-centres");
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: { name: demo }\n".to_owned();
    let files = ["app-meta.yaml", "app.yaml"].map(|name| std::fs::read_to_string(root.join(name)).unwrap());
    for text in [namespace].iter().chain(&files) {
        for object in fleetctl::yaml::read_all(text).unwrap() {
            apply(hub, &object).await;
        }
    }
}

/// Applies one object.
pub(crate) async fn apply(client: &kube::Client, object: &Value) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("/apiVersion").split_once('/').unwrap_or(("", text("/apiVersion")));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("/kind")));
    let api: Api<DynamicObject> = match text("/metadata/namespace") {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let params = PatchParams::apply("test").force();
    api.patch(text("/metadata/name"), &params, &Patch::Apply(object)).await.unwrap();
}

/// The command line with a kubeconfig of its own.
pub(crate) struct CommandLine {
    _folder: tempfile::TempDir,
    pub(crate) kubeconfig: PathBuf,
}

/// What a command wrote, and its exit code.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: u8,
}

impl CommandLine {
    /// For a fleet.
    pub(crate) fn of(fleet: &Embedded) -> Self {
        Self::with(&fleet.kubeconfig(None).unwrap().unwrap())
    }

    /// With a kubeconfig.
    pub(crate) fn with(kubeconfig: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        std::fs::write(&path, kubeconfig).unwrap();
        Self { _folder: folder, kubeconfig: path }
    }

    /// Runs one line, words with blanks between.
    pub(crate) async fn run(&self, line: &str) -> Ran {
        let words: Vec<std::ffi::OsString> = line.split(' ').map(Into::into).collect();
        let (streams, out, err) = Streams::captured();
        let environment = Environment {
            streams,
            clock: Arc::new(jiff::Timestamp::now),
            seed: 1,
            kubeconfig: Some(self.kubeconfig.clone().into_os_string()),
            home: None,
            temporary: std::env::temp_dir(),
            executable: PathBuf::from(env!("CARGO_BIN_EXE_fleetctl")),
            process: std::process::id(),
            called: Called::by(&words[0].to_string_lossy()),
            redraws: false,
        };
        let exit = Box::pin(fleetctl::run(&environment, &words)).await;
        Ran { out: out.text(), err: err.text(), code: exit.code() }
    }

    /// Runs a line that must do what it says.
    pub(crate) async fn done(&self, line: &str) -> String {
        let ran = self.run(line).await;
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        ran.out
    }

    /// Runs a line that must fail with a code; answers what it said.
    pub(crate) async fn fails(&self, line: &str, code: u8) -> String {
        let ran = self.run(line).await;
        assert_eq!(ran.code, code, "{line}: {ran:?}");
        assert!(ran.err.starts_with("error: ") || ran.err.is_empty(), "{line}: {ran:?}");
        assert_eq!(ran.err.trim_end().lines().count().max(1), 1, "more than one line: {line}: {ran:?}");
        ran.err
    }
}

/// Takes the last column, which is an age, out of tables.
pub(crate) fn ageless(text: &str) -> String {
    let line = |line: &str| match line.rsplit_once(' ') {
        Some((head, age)) if age.ends_with(['s', 'm']) && age[..age.len() - 1].parse::<u32>().is_ok() => {
            format!("{head} AGE")
        }
        _ => line.to_owned(),
    };
    text.lines().map(|text| line(text) + "\n").collect()
}
