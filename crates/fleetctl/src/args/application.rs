//! `status`, `delete`, `workflow`

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{OutputArgs, RollbackArgs};

/// An application.
#[derive(Debug, Clone, Args)]
pub struct AppArgs {
    /// The Application
    #[arg(value_name = "APP")]
    pub app: String,
}

/// `status`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  fleetctl status web-demo -n demo\n  fleetctl status web-demo -n demo --tree -w"
)]
pub struct StatusArgs {
    /// Which.
    #[command(flatten)]
    pub app: AppArgs,
    /// Show every target and object
    #[arg(long)]
    pub tree: bool,
    /// Go on showing what changes, until the run ends or waits for a person
    #[arg(short, long)]
    pub watch: bool,
    /// How to write it.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `delete`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  fleetctl delete web-demo -n demo --wait\n  \
    fleetctl delete web-demo -n demo --orphan     # what was delivered stays on the members")]
pub struct DeleteArgs {
    /// Which.
    #[command(flatten)]
    pub app: AppArgs,
    /// Leave what was delivered on the members
    #[arg(long)]
    pub orphan: bool,
    /// Don't wait for members that don't answer: what can't be reached is recorded as orphaned
    #[arg(long)]
    pub force: bool,
    /// Wait until it is gone
    #[arg(long)]
    pub wait: bool,
    /// How long to wait; 0 waits for ever
    #[arg(long, value_name = "TIME", default_value = "11m", value_parser = super::limit)]
    pub timeout: Duration,
}

/// `workflow`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fleetctl workflow resume web-demo -n demo")]
pub struct WorkflowArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: WorkflowCommand,
}

/// `workflow …`
#[derive(Debug, Subcommand)]
pub enum WorkflowCommand {
    /// List the runs, those that wait for a person first
    #[command(visible_alias = "ls", after_help = "Example:\n  fleetctl workflow list -A --waiting")]
    List(ListArgs),
    /// Approve: open the gate that waits
    #[command(visible_alias = "approve")]
    Resume(ApprovalArgs),
    /// Refuse the plan that waits: the run ends, what was delivered stays
    Reject(RejectionArgs),
    /// Stop before the next target
    #[command(after_help = "Example:\n  fleetctl workflow suspend web-demo -n demo")]
    Suspend(AppArgs),
    /// End the run; what was delivered stays
    #[command(after_help = "Example:\n  fleetctl workflow terminate web-demo -n demo")]
    Terminate(AppArgs),
    /// Start a new run from what the hub holds now
    #[command(after_help = "Example:\n  fleetctl workflow restart web-demo -n demo")]
    Restart(AppArgs),
    /// Go back to an earlier revision that is on record, through its gates and waves
    Rollback(RollbackArgs),
    /// Try a target again that failed or was skipped, in the same run
    #[command(after_help = "Example:\n  fleetctl workflow retry web-demo -n demo --target cluster2-beijing")]
    Retry(TargetArgs),
    /// Go on without a target; it is left alone until it is retried
    #[command(
        after_help = "Example:\n  fleetctl workflow skip web-demo -n demo --target cluster2-beijing --reason \"rack is being moved\""
    )]
    Skip(SkipArgs),
}

/// A target of a run.
#[derive(Debug, Clone, Args)]
pub struct TargetArgs {
    /// Which.
    #[command(flatten)]
    pub app: AppArgs,
    /// The cluster, by name or alias
    #[arg(long, value_name = "CLUSTER")]
    pub target: String,
    /// Only in this step; else in every step of the run
    #[arg(long, value_name = "STEP")]
    pub step: Option<String>,
}

/// `workflow skip`
#[derive(Debug, Args)]
pub struct SkipArgs {
    /// Which.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Why; kept in the record
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// `workflow list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// All namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only those that wait for a person
    #[arg(long)]
    pub waiting: bool,
    /// How to write it.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A step of a run.
#[derive(Debug, Clone, Args)]
pub struct StepArgs {
    /// The step; else the one whose gate waits longest
    #[arg(long, value_name = "STEP")]
    pub step: Option<String>,
}

/// `workflow resume`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  fleetctl workflow resume web-demo -n demo\n  \
    fleetctl workflow approve web-demo -n demo --plan 8c1f4e09 --reason CHG-1234\n\n\
    The approved plan's hash goes to stderr.")]
pub struct ApprovalArgs {
    /// Which.
    #[command(flatten)]
    pub app: AppArgs,
    /// Which gate.
    #[command(flatten)]
    pub step: StepArgs,
    /// Only this plan, or the first 6 digits or more of its hash: refused if the gate is about another one by now
    #[arg(long, value_name = "HASH", value_parser = plan_hash)]
    pub plan: Option<String>,
    /// Why; kept in the record
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Let the step begin outside its time windows; opens no gate
    #[arg(long, requires_all = ["step", "reason"], conflicts_with = "plan")]
    pub override_window: bool,
}

/// `workflow reject`
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  fleetctl workflow reject web-demo -n demo --reason 'the database comes first'"
)]
pub struct RejectionArgs {
    /// Which.
    #[command(flatten)]
    pub app: AppArgs,
    /// Which gate.
    #[command(flatten)]
    pub step: StepArgs,
    /// Only this plan, or the first 6 digits or more of its hash: refused if the gate is about another one by now
    #[arg(long, value_name = "HASH", value_parser = plan_hash)]
    pub plan: Option<String>,
    /// Why; kept in the record, and shown to everybody
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,
}

/// The shortest beginning of a hash that is taken for it.
const SHORTEST_HASH: usize = 6;

fn plan_hash(text: &str) -> Result<String, String> {
    if text.len() < SHORTEST_HASH {
        return Err(format!(
            "a plan is named by its hash, or by its first {SHORTEST_HASH} digits or more; fleetctl plan shows it"
        ));
    }
    Ok(text.to_owned())
}
