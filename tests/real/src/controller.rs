//! `fleetctl controller` as a process, the way a Deployment runs it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{Context as _, Result, ensure};

use crate::{Process, Room};

/// A `fleetctl` of the user's own to test instead of the one that is built beside the tests.
pub const PROGRAM: &str = "FLEETCTL_REAL_PROGRAM";

/// The program under test, under its own name.
///
/// # Errors
/// Where it isn't built.
pub(crate) fn program(room: &Room) -> Result<PathBuf> {
    let built = match std::env::var_os(PROGRAM) {
        Some(said) => PathBuf::from(said),
        // target/debug/deps/it-… and target/debug/fleetctl-real
        None => {
            let tests = std::env::current_exe()?;
            tests.ancestors().nth(2).context("the target folder")?.join("fleetctl-real")
        }
    };
    ensure!(
        built.is_file(),
        "{} isn't there: run `cargo test -p fleet-real --features real`",
        built.display()
    );
    let folder = room.path().join("bin");
    let named = folder.join("fleetctl");
    if !named.exists() {
        std::fs::create_dir_all(&folder)?;
        std::os::unix::fs::symlink(built, &named)?;
    }
    Ok(named)
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
        let log = "info,fleet_controller=debug,fleet_members=debug,kube_client=off";
        Self::run(room, name, all, [("FLEETCTL_LOG".to_owned(), log.to_owned())])
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
