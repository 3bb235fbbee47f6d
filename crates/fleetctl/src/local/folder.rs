//! The data folder of a local fleet.
//!
//! ```text
//!  version     format of the folder
//!  store.db    the objects
//!  pki/        authority and certificates
//!  kubeconfig  contexts: hub, and one per member
//!  NAME.kubeconfig  the same for a user of that name
//!  address     where it listens; stays, so that an exported KUBECONFIG stays good
//!  pid, lock   of the process that runs; the lock tells whether there is one
//!  log         of a process in the background
//! ```

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::exit::{Failure, Outcome};

/// The format that this program reads and writes.
const VERSION: &str = "fleetctl-data 1";

/// A data folder.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

/// The process that holds a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Its number, once it has written it.
    pub process: Option<u32>,
    /// Where it listens, once it does.
    pub address: Option<SocketAddr>,
}

impl std::fmt::Display for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.process {
            Some(process) => write!(f, "pid {process}")?,
            None => f.write_str("starting")?,
        }
        self.address.map_or(Ok(()), |address| write!(f, " at https://{address}"))
    }
}

impl Folder {
    /// The folder of a path, absolute, so that what is printed works from everywhere.
    ///
    /// # Errors
    /// An empty path.
    pub fn at(path: &Path) -> Outcome<Self> {
        let path = std::path::absolute(path).map_err(|error| Failure::file(path, &error))?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file with the objects.
    pub fn store(&self) -> PathBuf {
        self.path.join("store.db")
    }

    /// The folder with the certificates.
    pub fn pki(&self) -> PathBuf {
        self.path.join("pki")
    }

    /// The kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path.join("kubeconfig")
    }

    /// Where a process in the background writes to.
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Makes the folder where there is none.
    ///
    /// # Errors
    /// A folder of another version or another program; a full disk; missing permissions.
    pub fn prepare(&self) -> Outcome {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.path).map_err(|error| Failure::file(&self.path, &error))?;
        let shown = self.path.display();
        let mut found = self.read("version")?;
        let empty = found.is_some() || self.is_empty()?;
        if !empty {
            // Another process may have begun here between the two looks.
            found = self.read("version")?;
        }
        match found {
            Some(found) if found.trim() == VERSION => Ok(()),
            Some(found) => Err(Failure::refused(format!(
                "{shown}: the data folder is of another version ({:?}, this program reads {VERSION:?}); use the program that made it, or another folder with --data",
                found.trim()
            ))),
            None if empty => self.write("version", &format!("{VERSION}\n")),
            None => Err(Failure::refused(format!(
                "{shown}: the folder isn't empty and no data folder of this program; choose another one with --data"
            ))),
        }
    }

    /// Whether somebody ever ran a fleet here.
    ///
    /// # Errors
    /// Where the folder can't be read.
    pub fn exists(&self) -> Outcome<bool> {
        Ok(self.read("version")?.is_some())
    }

    fn is_empty(&self) -> Outcome<bool> {
        let entries = std::fs::read_dir(&self.path).map_err(|error| Failure::file(&self.path, &error))?;
        // A start that was cut short leaves nothing else behind.
        let others =
            entries.flatten().filter(|entry| !matches!(entry.file_name().to_str(), Some("lock" | "log")));
        Ok(others.filter(|entry| !entry.file_name().to_string_lossy().ends_with(".unfinished")).count() == 0)
    }

    /// Takes the folder for this process; `None` while another one has it. It is given back when the file is dropped,
    /// and by the system when the process dies.
    ///
    /// # Errors
    /// Where the lock can't be had for another reason.
    pub fn lock(&self) -> Outcome<Option<File>> {
        let path = self.path.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| Failure::file(&path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Failure::file(&path, &error)),
        }
    }

    /// The process that holds the folder.
    ///
    /// # Errors
    /// Where the folder can't be read.
    pub fn running(&self) -> Outcome<Option<Running>> {
        if !self.exists()? || self.lock()?.is_some() {
            return Ok(None);
        }
        let process = self.read("pid")?.and_then(|text| text.trim().parse().ok());
        Ok(Some(Running { process, address: self.address()?.filter(|_| process.is_some()) }))
    }

    /// Where it listens, or did last.
    ///
    /// # Errors
    /// Where the folder can't be read.
    pub fn address(&self) -> Outcome<Option<SocketAddr>> {
        Ok(self.read("address")?.and_then(|text| text.trim().parse().ok()))
    }

    /// Notes that this process is ready.
    ///
    /// # Errors
    /// Where the folder can't be written.
    pub fn note_running(&self, process: u32, address: SocketAddr) -> Outcome {
        self.write("address", &format!("{address}\n"))?;
        self.write("pid", &format!("{process}\n"))
    }

    /// Whether there is room for what a fleet writes.
    ///
    /// # Errors
    /// A full disk, missing permissions.
    pub fn probe(&self) -> Outcome {
        const ROOM: usize = 256 * 1024;
        let path = self.path.join("probe.unfinished");
        let written =
            std::fs::write(&path, " ".repeat(ROOM)).map_err(|error| Failure::file(&self.path, &error));
        // Absent, where it couldn't even be made.
        let _ = std::fs::remove_file(path);
        written
    }

    /// Notes that nothing runs any more.
    pub fn note_ended(&self) {
        // The lock is what counts; a number that stays behind is overwritten by the next start.
        let _ = std::fs::remove_file(self.path.join("pid"));
    }

    /// A file's text; `None` where there is no such file.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn read(&self, name: &str) -> Outcome<Option<String>> {
        let path = self.path.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(Failure::file(&path, &error)),
        }
    }

    /// Writes a file whole or not at all, readable by its owner only.
    ///
    /// # Errors
    /// A full disk, missing permissions.
    pub fn write(&self, name: &str, text: &str) -> Outcome {
        write_private(&self.path.join(name), text)
    }
}

/// Writes a file whole or not at all, readable by its owner only.
pub(crate) fn write_private(path: &Path, text: &str) -> Outcome {
    // Two processes that begin at once in one folder write the same file: each by way of its own.
    let unfinished = path.with_extension(format!("{}.unfinished", std::process::id()));
    let written = (|| {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)
    })();
    written.map_err(|error| Failure::file(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(&root.path().join("fleet")).unwrap();
        (root, folder)
    }

    /// Two starts at once: one gets the folder, and the other hears that a fleet runs, not of files that come and go.
    #[test]
    fn a_new_folder_is_made_by_two_at_once() {
        if let Some(path) =
            std::env::args().find_map(|arg| arg.strip_prefix("--skip=made:").map(str::to_owned))
        {
            // One of the processes that the test below starts.
            Folder::at(Path::new(&path)).unwrap().prepare().unwrap();
            return;
        }
        let program = std::env::current_exe().unwrap();
        for _ in 0..8 {
            let (_root, folder) = folder();
            let start = || {
                let named = "local::folder::tests::a_new_folder_is_made_by_two_at_once";
                let mut command = std::process::Command::new(&program);
                command.args(["--exact", named]).arg(format!("--skip=made:{}", folder.path().display()));
                command.stdout(std::process::Stdio::piped()).spawn().unwrap()
            };
            let started: Vec<_> = (0..4).map(|_| start()).collect();
            for child in started {
                let ended = child.wait_with_output().unwrap();
                assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
            }
            assert!(folder.exists().unwrap());
            let left = std::fs::read_dir(folder.path()).unwrap().count();
            assert_eq!(left, 1, "nothing is left behind");
        }
    }

    #[test]
    fn a_new_folder_is_made_and_opened_again() {
        let (_root, folder) = folder();
        assert!(!folder.exists().unwrap());
        folder.prepare().unwrap();
        folder.prepare().unwrap();
        assert!(folder.exists().unwrap());
        assert_eq!(folder.running().unwrap(), None);
    }

    /// Reading it with the wrong program would destroy data.
    #[test]
    fn another_version_is_refused() {
        let (_root, folder) = folder();
        folder.prepare().unwrap();
        folder.write("version", "fleetctl-data 9\n").unwrap();
        let failure = folder.prepare().unwrap_err();
        assert!(failure.message.contains("another version (\"fleetctl-data 9\""), "{failure}");
        assert_eq!(failure.exit.code(), 4);
    }

    /// `--data ~` must not fill somebody's home.
    #[test]
    fn a_folder_of_something_else_is_refused() {
        let (root, _) = folder();
        std::fs::write(root.path().join("letter.txt"), "dear").unwrap();
        let failure = Folder::at(root.path()).unwrap().prepare().unwrap_err();
        assert!(failure.message.contains("isn't empty"), "{failure}");
    }

    /// Two processes on one store would each undo what the other wrote.
    #[test]
    fn one_process_at_a_time() {
        let (_root, folder) = folder();
        folder.prepare().unwrap();
        let held = folder.lock().unwrap().unwrap();
        folder.note_running(42, "127.0.0.1:7443".parse().unwrap()).unwrap();
        assert!(folder.lock().unwrap().is_none());
        let running = folder.running().unwrap().unwrap();
        assert_eq!(running.to_string(), "pid 42 at https://127.0.0.1:7443");
        drop(held);
        assert_eq!(folder.running().unwrap(), None);
    }
}
