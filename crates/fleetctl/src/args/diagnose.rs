//! `diagnose`

use clap::Args;

use super::OutputArgs;

/// `diagnose`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  fleetctl diagnose\n  fleetctl diagnose web-demo -n demo\n  \
    fleetctl diagnose -o json\n\nIt only reads. It ends with 1 where it finds an error, with 0 where it finds warnings, \
    notes or nothing.")]
pub struct DiagnoseArgs {
    /// Look at this Application, and at what all share; else at all
    #[arg(value_name = "APP")]
    pub app: Option<String>,
    /// How to write it.
    #[command(flatten)]
    pub output: OutputArgs,
}
