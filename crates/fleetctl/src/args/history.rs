//! `workflow rollback`, `history`, `diff`

use clap::Args;

use super::{AppArgs, OutputArgs};

/// `workflow rollback`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  fleetctl workflow rollback web-demo -n demo --reason 'checkout fails'\n  \
    fleetctl workflow rollback web-demo -n demo --to 3        # what run 3 delivered\n  \
    fleetctl workflow rollback web-demo -n demo --to 8c1f4e\n\n\
    A new run delivers the stored revision with all that it refers to, through its own gates and waves. The spec stays as \
    it is and isn't rolled out until it is edited, or fleetctl workflow restart takes it up again."
)]
pub struct RollbackArgs {
    /// Which.
    #[command(flatten)]
    pub app: AppArgs,
    /// A revision by name or hash (6 digits or more), or the number of a run that delivered it; else the newest that was
    /// completed before what runs now
    #[arg(long, value_name = "REVISION", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub to: Option<String>,
    /// Why; kept in the record
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Pass over clusters that the revision names and that left the fleet
    #[arg(long)]
    pub without_missing: bool,
}

/// `history`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  fleetctl history web-demo -n demo\n  \
    fleetctl history web-demo -n demo --at 2h                        # two hours ago\n  \
    fleetctl history web-demo -n demo --at 2026-11-22T09:30:00Z -o json")]
pub struct HistoryArgs {
    /// The Application; it may be gone
    #[arg(value_name = "APP")]
    pub app: String,
    /// What each target ran at this time, and why: RFC 3339, or how long ago, such as 90s, 2h or 3d
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// How to write it.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `diff`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  fleetctl diff web-demo 2 3 -n demo          # what run 3 delivered other than run 2\n  \
    fleetctl diff web-demo 2 -n demo            # against what the newest run delivers\n  \
    fleetctl diff web-demo 8c1f4e 11aa02 -n demo -o json\n\n\
    Values of Secrets show nowhere; their keys do."
)]
pub struct DiffArgs {
    /// The Application
    #[arg(value_name = "APP")]
    pub app: String,
    /// The earlier revision: by name or hash (6 digits or more), or the number of a run that delivered it
    #[arg(value_name = "REVISION")]
    pub from: String,
    /// The later one; else what the newest run delivers
    #[arg(value_name = "REVISION")]
    pub to: Option<String>,
    /// How to write it.
    #[command(flatten)]
    pub output: OutputArgs,
}
