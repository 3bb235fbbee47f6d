//! A controller in a process of its own, so that what it weighs is nobody else's: it reaches hub and members by TLS.
//!
//! The process is the benchmark's own program, started with an argument by which it becomes the controller.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::Context as _;
use fleetctl::environment::{Called, Environment};
use fleetctl::output::Streams;
use futures::StreamExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Scales;
use crate::Fleet;

/// The argument by which a benchmark's program is the controller.
const CONTROLLER: &str = "--controller";

/// Runs the controller, where that is what this process was started for. False where it wasn't.
///
/// # Errors
/// Where it doesn't end in order.
#[expect(clippy::disallowed_methods, reason = "it is a main of its own")]
pub fn is_controller(runtime: &tokio::runtime::Runtime, arguments: &[String]) -> anyhow::Result<bool> {
    let [first, kubeconfig] = arguments else { return Ok(false) };
    if first != CONTROLLER {
        return Ok(false);
    }
    let environment = Environment {
        streams: Streams::standard(),
        clock: Arc::new(jiff::Timestamp::now),
        seed: 7,
        kubeconfig: None,
        home: None,
        temporary: std::env::temp_dir(),
        executable: std::env::current_exe()?,
        process: std::process::id(),
        called: Called::Fleetctl,
        redraws: false,
    };
    let arguments = ["fleetctl", "controller", "--kubeconfig", kubeconfig].map(Into::into);
    let exit = runtime.block_on(fleetctl::run(&environment, &arguments));
    anyhow::ensure!(exit.code() == 0, "the controller ended with {}", exit.code());
    Ok(true)
}

/// A controller apart. It is killed when this is dropped.
pub struct Apart {
    child: Child,
    _folder: TempDir,
}

impl Apart {
    /// Starts a controller of a fleet that listens, under a profiler where one is given.
    ///
    /// # Errors
    /// Where it can't be started.
    pub async fn start(fleet: &Fleet, members: &[&str], under: &[String]) -> anyhow::Result<Self> {
        let kubeconfig = fleet.embedded().kubeconfig(None)?.context("the fleet doesn't listen")?;
        credentials(fleet, members, &kubeconfig).await?;
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("kubeconfig");
        std::fs::write(&path, &kubeconfig)?;
        Ok(Self { child: spawn(&path, under)?, _folder: folder })
    }

    /// Weighs it; under a profiler only once that has started it.
    pub fn scales(&self) -> Scales {
        Scales::of(&self.child)
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// Where it isn't there any more.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let stopped = Command::new("kill").arg("-INT").arg(self.scales().process()).status()?;
        anyhow::ensure!(stopped.success(), "the controller isn't there any more");
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(kubeconfig: &Path, under: &[String]) -> anyhow::Result<Child> {
    let own = std::env::current_exe()?;
    let mut command = match under {
        [] => Command::new(&own),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(&own);
            command
        }
    };
    Ok(command.arg(CONTROLLER).arg(kubeconfig).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn()?)
}

/// The members' credentials as Secrets on the hub.
async fn credentials(fleet: &Fleet, members: &[&str], kubeconfig: &str) -> anyhow::Result<()> {
    let kubeconfig: Value = serde_saphyr::from_str(kubeconfig)?;
    let entry = |list: &str, name: &str, key: &str| {
        let mut entries = kubeconfig.get(list).and_then(Value::as_array).into_iter().flatten();
        let entry = entries.find(|entry| entry.get("name") == Some(&json!(name)));
        entry.and_then(|entry| entry.get(key)).cloned().unwrap_or_default()
    };
    let system = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fleetctl-system"}});
    fleet.apply("hub", &system).await?;
    for name in members {
        let (cluster, user) =
            (entry("clusters", name, "cluster"), entry("users", &format!("{name}-admin"), "user"));
        let secret = json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "namespace": "fleetctl-system",
                "labels": {"cluster.core.oam.dev/cluster-credential-type": "X509Certificate"}},
            "stringData": {"endpoint": cluster.get("server")},
            "data": {"ca.crt": cluster.get("certificate-authority-data"),
                "tls.crt": user.get("client-certificate-data"), "tls.key": user.get("client-key-data")}});
        fleet.apply("hub", &secret).await?;
    }
    Ok(())
}

/// Applies manifests to the hub, 16 at a time.
///
/// # Errors
/// Where it refuses one.
pub async fn apply_all(fleet: &Fleet, manifests: &[Value]) -> anyhow::Result<()> {
    let sends = manifests.iter().map(|manifest| fleet.apply("hub", manifest));
    let sends: Vec<_> = sends.collect();
    let outcomes: Vec<_> = futures::stream::iter(sends).buffer_unordered(16).collect().await;
    outcomes.into_iter().try_for_each(|outcome| outcome.map(|_| ()))
}
