//! `fleetctl controller` as a process, the way a Deployment runs it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{Process, Room, tools};

/// A `fleetctl` of the user's own to test instead of this workspace's.
pub const PROGRAM: &str = "FLEETCTL_REAL_PROGRAM";

/// What a controller under test says.
const LOG: &str = "info,fleet_controller=debug,fleet_members=debug,kube_client=off";

static BUILT: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();

/// The program under test, under its own name.
///
/// # Errors
/// Where it isn't built.
pub(crate) fn program(room: &Room) -> Result<PathBuf> {
    let built = built()?;
    let folder = room.path().join("bin");
    let named = folder.join("fleetctl");
    if !named.exists() {
        std::fs::create_dir_all(&folder)?;
        std::os::unix::fs::symlink(built, &named)?;
    }
    Ok(named)
}

/// The program under test. It is built at the first call.
///
/// # Errors
/// Where it can't be built, or isn't where [`PROGRAM`] says.
pub fn built() -> Result<&'static Path> {
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn build() -> Result<PathBuf> {
    if let Some(said) = std::env::var_os(PROGRAM) {
        let said = tools::root()?.join(said);
        ensure!(said.is_file(), "{PROGRAM}: {} isn't there", said.display());
        return Ok(said);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // A benchmark measures what users run.
    let release: &[&str] = if cfg!(debug_assertions) { &[] } else { &["--release"] };
    let mut command = Command::new(cargo);
    // What cargo says of the test's own package would make build scripts that look at it run again, and rebuild half of
    // the dependencies each time.
    let of_the_test =
        |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(of_the_test) {
            command.env_remove(name);
        }
    }
    let output = command
        .args(["build", "--package", "fleetctl", "--bin", "fleetctl", "--message-format", "json"])
        .args(release)
        .current_dir(tools::root()?)
        .stderr(Stdio::inherit())
        .output()
        .context("running cargo")?;
    ensure!(output.status.success(), "fleetctl can't be built; cargo's own words stand above");
    let said = String::from_utf8_lossy(&output.stdout);
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = messages.filter_map(|message| Some(message.get("executable")?.as_str()?.to_owned()));
    programs.next().map(PathBuf::from).context("cargo names no program")
}

/// A controller process. Dropped, it is killed.
#[derive(Debug)]
pub struct Controller {
    process: Process,
}

impl Controller {
    /// Starts one with a kubeconfig of the hub and arguments of one's own.
    ///
    /// # Errors
    /// Where it can't be started.
    pub fn start(room: &Room, name: &str, kubeconfig: &Path, arguments: &[&str]) -> Result<Self> {
        let mut all: Vec<OsString> = vec!["controller".into(), "--kubeconfig".into(), kubeconfig.into()];
        all.extend(arguments.iter().map(Into::into));
        Self::run(room, name, all, [("FLEETCTL_LOG".to_owned(), LOG.to_owned())])
    }

    /// Starts one whose clock is ahead by so many seconds. `shifted` is this crate's program of that name.
    ///
    /// # Errors
    /// Where it can't be started.
    pub fn shifted(
        room: &Room,
        name: &str,
        kubeconfig: &Path,
        (shifted, seconds): (&Path, i64),
        arguments: &[&str],
    ) -> Result<Self> {
        let mut all: Vec<OsString> = vec![seconds.to_string().into()];
        all.extend(["controller".into(), "--kubeconfig".into(), kubeconfig.into()]);
        all.extend(arguments.iter().map(Into::into));
        let process = Process::new(name, shifted, all, room.log(name)).env("FLEETCTL_LOG", LOG);
        let mut controller = Self { process };
        controller.process.start()?;
        Ok(controller)
    }

    /// Starts one with all its arguments, and its environment.
    ///
    /// # Errors
    /// Where it can't be started.
    pub fn run(
        room: &Room,
        name: &str,
        arguments: Vec<OsString>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let mut process =
            Process::new(name, &program(room)?, arguments, room.log(name)).env("HOME", room.path());
        for (key, value) in environment {
            process = process.env(&key, value);
        }
        let mut controller = Self { process };
        controller.process.start()?;
        Ok(controller)
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again where it has ended.
    ///
    /// # Errors
    /// Where it can't be started.
    pub fn start_again(&mut self) -> Result<()> {
        self.process.start()
    }

    /// Asks it to end, and returns how it did.
    ///
    /// # Errors
    /// Where it doesn't end in time.
    pub async fn stop(&mut self) -> Result<Option<ExitStatus>> {
        self.process.stop().await
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
