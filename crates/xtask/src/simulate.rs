//! Plays seeds of the whole-system simulation, built for speed: `cargo xtask simulate --seeds N [--from SEED]`,
//! `--seed ONE` for one that failed.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Builds and runs it with these arguments; what it prints goes to the terminal.
///
/// # Errors
/// Where it can't be built, an argument makes no sense, or a seed breaks a rule.
pub fn run(root: &Path, cargo: Option<OsString>, arguments: &[String]) -> Result<()> {
    let status = Command::new(cargo.unwrap_or_else(|| "cargo".into()))
        .args(["run", "--release", "--quiet", "-p", "fleet-testkit", "--bin", "simulate", "--"])
        .args(arguments)
        .current_dir(root)
        .status()
        .context("running cargo")?;
    if !status.success() {
        bail!("the simulation didn't get through; what it found stands above");
    }
    Ok(())
}
