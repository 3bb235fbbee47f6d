//! `drift`

use std::time::Duration;

use clap::{Args, Subcommand};

use super::OutputArgs;

/// `drift`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  fleetctl drift list -A\n  \
    fleetctl drift hold web-demo -n demo -m cluster1-beijing --for 2h --reason INC-4711")]
pub struct DriftArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DriftCommand,
}

/// `drift …`
#[derive(Debug, Subcommand)]
pub enum DriftCommand {
    /// List what differs on members from what was delivered, who wrote there, and what becomes of it
    #[command(visible_alias = "ls")]
    List(DriftListArgs),
    /// Leave what differs on members, and send nothing new there, until an end
    Hold(DriftHoldArgs),
    /// End holds: what differs is taken back at once
    Release(DriftReleaseArgs),
    /// List the holds that last
    #[command(after_help = "Example:\n  fleetctl drift holds -A")]
    Holds(DriftHoldsArgs),
}

/// `-m`
#[derive(Debug, Clone, Default, Args)]
pub struct MemberSelection {
    /// Members by name or alias, with commas between
    #[arg(short = 'm', long = "members", value_name = "NAMES", value_delimiter = ',')]
    pub members: Vec<String>,
}

/// `drift list`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  fleetctl drift list -n demo\n  fleetctl drift list web-demo -n demo -m cluster1-beijing -o json"
)]
pub struct DriftListArgs {
    /// The Application; else all
    #[arg(value_name = "APP")]
    pub app: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Where.
    #[command(flatten)]
    pub members: MemberSelection,
    /// How to write it.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `drift hold`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  fleetctl drift hold web-demo -n demo -m cluster1-beijing --for 2h --reason INC-4711\n  \
    fleetctl drift hold web-demo -n demo -m all --for 30m --reason \"load test\"\n\n\
    While it lasts, drift there is shown and left, and a new revision waits. It ends by its time or with drift release."
)]
pub struct DriftHoldArgs {
    /// The Application
    #[arg(value_name = "APP")]
    pub app: String,
    /// Members by name or alias, with commas between, or all
    #[arg(short = 'm', long = "members", value_name = "NAMES", value_delimiter = ',', required = true)]
    pub members: Vec<String>,
    /// How long, such as 30m or 2h
    #[arg(long = "for", value_name = "TIME", value_parser = super::lasting)]
    pub lasts: Duration,
    /// Why; it is shown to everybody who wonders
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// `drift release`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fleetctl drift release web-demo -n demo")]
pub struct DriftReleaseArgs {
    /// The Application
    #[arg(value_name = "APP")]
    pub app: String,
    /// Where; else everywhere.
    #[command(flatten)]
    pub members: MemberSelection,
}

/// `drift holds`
#[derive(Debug, Args)]
pub struct DriftHoldsArgs {
    /// All namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// How to write it.
    #[command(flatten)]
    pub output: OutputArgs,
}
