//! `fleetctl local`: hub and members on this machine, with their data in a folder.

mod control;
mod detach;
mod folder;
mod serve;
mod user;

use crate::args::{LocalArgs, LocalCommand};
use crate::environment::Environment;
use crate::exit::Outcome;

pub use folder::{Folder, Running};

pub(crate) use folder::write_private;

/// Does it.
///
/// # Errors
/// See the exit codes.
pub async fn run(environment: &Environment, arguments: &LocalArgs) -> Outcome {
    match &arguments.command {
        LocalCommand::Up(up) => {
            // Before anything is made on disk.
            up.check_members()?;
            if up.detach { detach::up(environment, up).await } else { serve::up(environment, up).await }
        }
        LocalCommand::Down(data) => control::down(environment, &data.data).await,
        LocalCommand::Status(data) => control::status(environment, &data.data).await,
        LocalCommand::User(arguments) => user::run(environment, arguments),
        LocalCommand::Stop(member) => control::set_running(environment, member, false).await,
        LocalCommand::Start(member) => control::set_running(environment, member, true).await,
    }
}
