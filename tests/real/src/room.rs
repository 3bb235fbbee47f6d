//! The folder of one fleet: certificates, data, logs.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use anyhow::{Context as _, Result};

use crate::reaper;

/// How many lines of the controller's log are shown when a test fails.
const LAST: usize = 25;

static ALL: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A folder below the one of this process. Dropped, it is removed, so that a run needs the space of the tests that are
/// under way; where a test failed it is kept and its place printed.
#[derive(Debug)]
pub struct Room {
    path: PathBuf,
    passed: AtomicBool,
}

impl Room {
    /// Makes one.
    ///
    /// # Errors
    /// Where the temporary folder can't be written.
    pub fn new(name: &str) -> Result<Self> {
        let all = ALL.get_or_init(|| open().map_err(|error| format!("{error:#}")));
        let all = all.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
        let path = all.join(format!("{}-{name}", COUNT.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir_all(path.join("logs"))?;
        Ok(Self { path, passed: AtomicBool::new(false) })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The test has passed; nobody will want the logs.
    pub(crate) fn pass(&self) {
        self.passed.store(true, Ordering::Relaxed);
    }

    /// Where a process writes what it says.
    pub fn log(&self, name: &str) -> PathBuf {
        self.path.join("logs").join(format!("{name}.log"))
    }
}

fn open() -> Result<PathBuf> {
    let folder =
        tempfile::Builder::new().prefix("fleet-real-").tempdir().context("a temporary folder")?.keep();
    reaper::start(&folder)?;
    Ok(folder)
}

#[expect(clippy::print_stderr, reason = "whoever runs the tests must learn where to look")]
impl Drop for Room {
    fn drop(&mut self) {
        if self.passed.load(Ordering::Relaxed) {
            let _ = std::fs::remove_dir_all(&self.path);
            return;
        }
        if let Some(all) = self.path.parent() {
            let _ = std::fs::write(all.join("failed"), "");
        }
        let said = std::fs::read_to_string(self.log("controller")).unwrap_or_default();
        let skipped = said.lines().count().saturating_sub(LAST);
        for line in said.lines().skip(skipped) {
            eprintln!("controller: {line}");
        }
        eprintln!("all logs are in {}", self.path.join("logs").display());
    }
}
