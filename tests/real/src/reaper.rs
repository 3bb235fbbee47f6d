//! Ends what we started, however we end.
//!
//! A shell in a process group of its own reads from us which children live. When we are gone, killed included, its
//! input ends and it kills what is left. Rust's statics and `Drop` couldn't: neither runs at `kill -9`.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context as _, Result};

const SCRIPT: &str = r#"
pids=" "
while read -r sign pid; do
  case $sign in
    +) pids="$pids$pid " ;;
    -) case $pids in *" $pid "*) pids="${pids%% "$pid" *} ${pids#* "$pid" }" ;; esac ;;
  esac
done
for pid in $pids; do kill -9 "$pid" 2>/dev/null; done
[ -e "$1/failed" ] || rm -rf "$1"
"#;

struct Reaper {
    _shell: Child,
    input: ChildStdin,
}

static REAPER: OnceLock<Mutex<Reaper>> = OnceLock::new();

/// Starts it; `folder` is removed at the end unless a file `failed` lies in it.
///
/// # Errors
/// Where there is no shell.
pub(crate) fn start(folder: &Path) -> Result<()> {
    let mut shell = Command::new("sh")
        .args(["-c", SCRIPT, "reaper"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("starting sh")?;
    let input = shell.stdin.take().context("the shell's input")?;
    let _ = REAPER.set(Mutex::new(Reaper { _shell: shell, input }));
    Ok(())
}

fn say(sign: char, pid: u32) {
    if let Some(reaper) = REAPER.get() {
        let mut reaper = reaper.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(reaper.input, "{sign} {pid}");
    }
}

/// A child lives.
pub(crate) fn lives(pid: u32) {
    say('+', pid);
}

/// A child has ended and was waited for.
pub(crate) fn ended(pid: u32) {
    say('-', pid);
}
