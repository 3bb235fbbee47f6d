//! `audit`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::OutputArgs;

/// `audit`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  fleetctl audit show web-demo -n demo\n  \
    fleetctl audit verify web-demo -n demo --key audit.pub\n  \
    fleetctl audit export web-demo -n demo > web-demo.audit.jsonl")]
pub struct AuditArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// `audit …`
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Show what happened to an Application and who decided, the oldest first
    Show(AuditShowArgs),
    /// Check that nothing in the record was changed, taken out or put in
    Verify(AuditVerifyArgs),
    /// Write the record to stdout, one JSON object a line, its end first
    #[command(after_help = "Example:\n  fleetctl audit export web-demo -n demo > web-demo.audit.jsonl\n\n\
        Kept elsewhere, it shows later whether the end of the record was cut off or written anew: \
        fleetctl audit verify web-demo -n demo --against web-demo.audit.jsonl")]
    Export(AuditExportArgs),
}

/// `audit show`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  fleetctl audit show web-demo -n demo\n  fleetctl audit show web-demo -n demo --run 3 -o json"
)]
pub struct AuditShowArgs {
    /// The Application; it may be gone
    #[arg(value_name = "APP")]
    pub app: String,
    /// Only this run, by name or number
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// How to write it.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `audit verify`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  fleetctl audit verify web-demo -n demo\n  \
    fleetctl audit verify web-demo -n demo --key audit.pub --against web-demo.audit.jsonl\n  \
    fleetctl audit verify -f web-demo.audit.jsonl --key audit.pub")]
pub struct AuditVerifyArgs {
    /// The Application; it may be gone
    #[arg(value_name = "APP", required_unless_present = "file")]
    pub app: Option<String>,
    /// An export instead of what is on the hub
    #[arg(short, long, value_name = "FILE", conflicts_with = "app")]
    pub file: Option<PathBuf>,
    /// The public half of the controller's key (PEM): the end of the record must be signed with it
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// An earlier export, with which the record must begin
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
}

/// `audit export`
#[derive(Debug, Args)]
pub struct AuditExportArgs {
    /// The Application; it may be gone
    #[arg(value_name = "APP")]
    pub app: String,
}
