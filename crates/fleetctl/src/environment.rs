//! What a command may know of the world: read once in `main`, then handed down.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use crate::output::Streams;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The world around a command.
#[derive(Clone)]
pub struct Environment {
    /// Standard output and error.
    pub streams: Streams,
    /// Tells the time.
    pub clock: Clock,
    /// A number that differs from start to start.
    pub seed: u64,
    /// `$KUBECONFIG`.
    pub kubeconfig: Option<OsString>,
    /// The user's home.
    pub home: Option<PathBuf>,
    /// Where temporary files go.
    pub temporary: PathBuf,
    /// The program's own file, for starting itself in the background.
    pub executable: PathBuf,
    /// The number of this process.
    pub process: u32,
    /// How the program was called: `fleetctl`, or a kubectl plugin.
    pub called: Called,
    /// Whether the terminal understands cursor movements.
    pub redraws: bool,
}

/// How the program was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Called {
    /// By its own name.
    Fleetctl,
    /// As `kubectl fleetctl`.
    KubectlFleetctl,
    /// As `kubectl amc`.
    KubectlAmc,
}

impl Called {
    /// By the name of the program's file.
    pub fn by(program: &str) -> Self {
        let name = program.rsplit(['/', '\\']).next().unwrap_or(program);
        match name.strip_suffix(".exe").unwrap_or(name) {
            "kubectl-fleetctl" => Self::KubectlFleetctl,
            "kubectl-amc" => Self::KubectlAmc,
            _ => Self::Fleetctl,
        }
    }

    /// What the user types.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fleetctl => "fleetctl",
            Self::KubectlFleetctl => "kubectl fleetctl",
            Self::KubectlAmc => "kubectl amc",
        }
    }
}

impl Environment {
    /// Now.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

#[cfg(test)]
mod tests {
    use super::Called;

    /// As a plugin the program must name itself as the user called it.
    #[test]
    fn plugins_know_their_names() {
        assert_eq!(Called::by("/usr/bin/kubectl-amc").as_str(), "kubectl amc");
        assert_eq!(Called::by("kubectl-fleetctl").as_str(), "kubectl fleetctl");
        assert_eq!(Called::by("target/debug/fleetctl").as_str(), "fleetctl");
    }
}
