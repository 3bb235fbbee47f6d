//! Exit codes, and what a command that didn't do what was asked says.

use std::fmt;

use fleet_members::innermost;

/// How a command ended. The numbers are part of the interface: scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Something failed; the message says what.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// An object, a cluster or a resource type that was named isn't there.
    NotFound = 3,
    /// Refused as things stand: the plan has changed, nothing is suspended, it already runs.
    Refused = 4,
    /// It is still waited for something: a deadline of ours ended, or the question was answered with no.
    Waiting = 5,
    /// A cluster doesn't answer.
    Unreachable = 6,
    /// A question has to be answered and there is nobody to ask; `--yes` answers it.
    CannotAsk = 7,
    /// What was looked at would change something, and the command was asked to tell by its code.
    Changes = 8,
    /// Ended by Ctrl-C before it was done.
    Interrupted = 130,
}

impl Exit {
    /// Every code with its meaning, as the documentation lists them.
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::Done, "done"),
        (Self::Failed, "failed; the message says what"),
        (Self::Usage, "the command line makes no sense"),
        (Self::NotFound, "something that was named isn't there"),
        (Self::Refused, "refused as things stand: another plan, nothing suspended, already running"),
        (Self::Waiting, "still waiting: a deadline ended, or the question was answered with no"),
        (Self::Unreachable, "a cluster doesn't answer"),
        (Self::CannotAsk, "a question has to be answered and there is no terminal; --yes answers it"),
        (Self::Changes, "there are changes (plan --exit-code)"),
        (Self::Interrupted, "ended by Ctrl-C before it was done"),
    ];

    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// Why a command didn't do what was asked: place, cause, next step in one line, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What is said behind `error: `; nothing is said where it is empty.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One line, whatever a server or a file put into it.
        let mut words = self.message.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
        if let Some(first) = words.next() {
            f.write_str(first)?;
        }
        words.try_for_each(|line| write!(f, " {line}"))
    }
}

/// What commands answer.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure with a code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// [`Exit::Failed`].
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// [`Exit::Usage`].
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// [`Exit::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }

    /// [`Exit::Refused`].
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, message)
    }

    /// Ends with a code and says nothing more: everything was said already.
    pub fn silent(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// What a Kubernetes API answered to `doing`.
    pub fn kube(doing: &str, error: &kube::Error) -> Self {
        let (exit, cause) = match error {
            kube::Error::Api(status) => {
                let exit = match status.code {
                    404 => Exit::NotFound,
                    409 | 403 | 401 => Exit::Refused,
                    503 | 504 => Exit::Unreachable,
                    _ => Exit::Failed,
                };
                (exit, status.message.clone())
            }
            kube::Error::Service(_) | kube::Error::HyperError(_) => (Exit::Unreachable, innermost(error)),
            other => (Exit::Failed, innermost(other)),
        };
        Self::new(exit, format!("{doing}: {cause}"))
    }

    /// What the system said of a file.
    pub fn file(path: &std::path::Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let path = path.display();
        let message = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                format!("{path}: the disk is full; free some space and repeat")
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                format!(
                    "{path}: can't be written or read ({error}); check its permissions or choose another folder with --data"
                )
            }
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                format!("{path}: the path is, or leads through, a file; choose another folder with --data")
            }
            _ => format!("{path}: {error}"),
        };
        Self::failed(message)
    }
}

/// What a Kubernetes API said, without the codes around it.
pub fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => innermost(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A changed number breaks scripts.
    #[test]
    fn the_numbers_stay() {
        let numbers: Vec<u8> = Exit::ALL.iter().map(|(exit, _)| exit.code()).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 130]);
    }

    /// An error of several lines would break what reads stderr line by line.
    #[test]
    fn one_line() {
        let failure = Failure::failed("first\n  second\r\n\nthird");
        assert_eq!(failure.to_string(), "first second third");
    }
}
