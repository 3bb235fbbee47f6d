//! Plays seeds of the whole-system simulation, built for speed: `cargo xtask simulate --help`.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

const HELP: &str = "\
Plays seeded scripts against the whole system in virtual time, and judges every write. What a seed does, it does again.

  cargo xtask simulate [--seeds N] [--from SEED] [--only WHAT] [--jobs N] [--keep-going]
  cargo xtask simulate --seed SEED [--only WHAT]

Each seed has two scripts: one about applications, one about policies that distribute native objects.

  --seeds N       how many, 1000 where nothing is said
  --from SEED     the first, 0 where nothing is said
  --seed SEED     this one only
  --only WHAT     applications or policies: the scripts of these only
  --jobs N        so many at once, each on a core; 1 where nothing is said
  --keep-going    play the others after one breaks a rule

The first seed that breaks a rule is shrunk to the fewest actions that still break it, and printed as a script.
Progress goes to stderr. The exit code is 0 only where every rule held.
";

/// Builds and runs it with these arguments; what it prints goes to the terminal.
///
/// # Errors
/// Where it can't be built, an argument makes no sense, or a seed breaks a rule.
pub fn run(root: &Path, cargo: Option<OsString>, arguments: &[String]) -> Result<()> {
    if arguments.iter().any(|argument| matches!(argument.as_str(), "--help" | "-h")) {
        write!(std::io::stdout(), "{HELP}")?;
        return Ok(());
    }
    let status = Command::new(cargo.unwrap_or_else(|| "cargo".into()))
        .args(["run", "--profile", "simulate", "--quiet", "-p", "fleet-testkit", "--bin", "simulate", "--"])
        .args(arguments)
        .current_dir(root)
        .status()
        .context("running cargo")?;
    if !status.success() {
        bail!("the simulation didn't get through; what it found stands above");
    }
    Ok(())
}
