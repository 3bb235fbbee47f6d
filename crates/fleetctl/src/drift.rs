//! `fleetctl drift`: what was changed on members by hand, and leaving it for a time.

mod hold;
mod list;

use crate::args::{DriftArgs, DriftCommand, Global};
use crate::environment::Environment;
use crate::exit::Outcome;

/// Does it.
///
/// # Errors
/// See the exit codes.
pub async fn run(environment: &Environment, global: &Global, arguments: &DriftArgs) -> Outcome {
    match &arguments.command {
        DriftCommand::List(arguments) => list::run(environment, global, arguments).await,
        DriftCommand::Hold(arguments) => hold::hold(environment, global, arguments).await,
        DriftCommand::Release(arguments) => hold::release(environment, global, arguments).await,
        DriftCommand::Holds(arguments) => hold::list(environment, global, arguments).await,
    }
}
