//! The command line as it is typed.

mod adopt;
mod application;
mod audit;
mod cluster;
mod controller;
mod diagnose;
mod drift;
mod get;
mod history;
mod install;
mod local;
mod plan;
mod promote;
mod replicas;
mod simulate;
mod turns;
mod user;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches as _, Parser, Subcommand, ValueEnum};

pub use adopt::AdoptArgs;
pub use application::{
    AppArgs, ApprovalArgs, DeleteArgs, ListArgs, RejectionArgs, SkipArgs, StatusArgs, StepArgs, TargetArgs,
    WorkflowArgs, WorkflowCommand,
};
pub use audit::{AuditArgs, AuditCommand, AuditExportArgs, AuditShowArgs, AuditVerifyArgs};
pub use cluster::{
    AdminArgs, AliasArgs, ClusterArgs, ClusterCommand, ClusterListArgs, ClusterStatusArgs, CordonArgs,
    DetachArgs, JoinArgs, LabelArgs, ListOutput, ProbeArgs, ProfileName, RejoinArgs, RenameArgs, RotateArgs,
    UncordonArgs,
};
pub use controller::{ControllerArgs, Drift, KeepArgs, LogFormat, TellArgs, WorkArgs};
pub use diagnose::DiagnoseArgs;
pub use drift::{DriftArgs, DriftCommand, DriftHoldArgs, DriftHoldsArgs, DriftListArgs, DriftReleaseArgs};
pub use get::GetArgs;
pub use history::{DiffArgs, HistoryArgs, RollbackArgs};
pub use install::{InstallArgs, UninstallArgs};
pub use local::{DataArgs, LocalArgs, LocalCommand, MemberArgs, UpArgs};
pub use plan::{DryRun, PlanArgs, WhyArgs};
pub use promote::PromoteArgs;
pub use replicas::ReplicaArgs;
pub use simulate::{SimulateArgs, SimulateOutput};
pub use turns::TurnArgs;
pub use user::{UserAddArgs, UserArgs, UserCommand, UserNameArgs};

use crate::environment::Called;

/// Takes applications through a fleet of Kubernetes clusters, one step at a time, with people approving
#[derive(Debug, Parser)]
#[command(name = "fleetctl", version, disable_help_subcommand = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done · 1 failed · 2 usage · 3 not found · 4 refused as things stand · \
    5 still waiting · 6 a cluster doesn't answer · 7 a question and no terminal · 8 there are changes (plan --exit-code) · 130 Ctrl-C";

/// What every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which cluster")]
pub struct Global {
    /// The namespace; else that of the context
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// The kubeconfig context of the hub; else the current one
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The kubeconfig file; else $KUBECONFIG (a list is merged), else ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// How long one request to the hub may take, such as 5s or 1m; 0 waits for ever
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = limit, hide_default_value = false)]
    pub request_timeout: Duration,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show a staged rollout over three clusters, in this process, in a minute
    Demo(DemoArgs),
    /// Run a hub and members on this machine
    Local(LocalArgs),
    /// Show resources of the hub, or of members with -m
    Get(GetArgs),
    /// Show how far an application is
    Status(StatusArgs),
    /// Show what a gate would change, or manifests before they are applied, with hints where that is dangerous
    Plan(PlanArgs),
    /// Show who set each field of an object on a member
    Why(WhyArgs),
    /// Show what ran, what started it and who approved; and what each target ran at some time
    History(HistoryArgs),
    /// Compare what two revisions of an application deliver
    Diff(DiffArgs),
    /// Delete an application with what it delivered
    Delete(DeleteArgs),
    /// See, approve and steer the runs of applications
    #[command(visible_alias = "wf")]
    Workflow(WorkflowArgs),
    /// Join, see and look after the members of the fleet
    Cluster(ClusterArgs),
    /// Find the usual mistakes, and how to mend each
    Diagnose(DiagnoseArgs),
    /// Make an Application of what runs on members, without touching a pod
    Adopt(AdoptArgs),
    /// Bring a running cluster's objects to the hub, from where policies distribute them, without touching a pod
    Promote(PromoteArgs),
    /// See what was changed on members by hand, and leave it for a time
    Drift(DriftArgs),
    /// Rehearse a rollout on a simulated fleet, with faults, in virtual time
    Simulate(Box<SimulateArgs>),
    /// See what happened to an application and who decided, and that nobody changed the record
    Audit(AuditArgs),
    /// Run the controller for a hub
    Controller(Box<ControllerArgs>),
    /// Install the control plane on a hub, or upgrade it
    Install(InstallArgs),
    /// Take the control plane away; what was delivered stays
    Uninstall(UninstallArgs),
    /// Show the version
    Version(VersionArgs),
    /// Write the completion script of a shell
    #[command(after_help = "Example:\n  source <(fleetctl completion bash)")]
    Completion(CompletionArgs),
}

/// `demo`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  fleetctl demo\n  fleetctl demo --yes\n  fleetctl demo --keep")]
pub struct DemoArgs {
    /// Answer the question at the gate with yes
    #[arg(short, long)]
    pub yes: bool,
    /// Leave everything running at the end, and say how to reach it
    #[arg(long)]
    pub keep: bool,
}

/// `version`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fleetctl version -o json")]
pub struct VersionArgs {
    /// How to write it.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `completion`
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `-o`
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct OutputArgs {
    /// Write it for programs
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Output>,
}

/// A format for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// The whole command line, named as it was called.
pub fn command(called: Called) -> clap::Command {
    Cli::command().name(called.as_str()).bin_name(called.as_str())
}

/// Reads the arguments, the program's name first.
///
/// # Errors
/// What is wrong with them, or the help that was asked for.
pub fn parse(called: Called, arguments: &[std::ffi::OsString]) -> Result<Cli, clap::Error> {
    let matches = command(called).try_get_matches_from(arguments)?;
    Cli::from_arg_matches(&matches)
}

/// Whether the controller takes these arguments, its name first.
///
/// # Errors
/// What is wrong with them, in words.
pub(crate) fn controller_accepts(arguments: &[String]) -> Result<(), String> {
    let words = std::iter::once("fleetctl").chain(arguments.iter().map(String::as_str));
    match command(Called::Fleetctl).try_get_matches_from(words) {
        Ok(_) => Ok(()),
        Err(error) => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            Err(first.strip_prefix("error: ").unwrap_or(first).to_owned())
        }
    }
}

/// `10s`, `2m`, `1h30m`, `500ms`; a bare number is seconds. Zero is zero.
fn duration(text: &str) -> Result<Duration, String> {
    let advice = || format!("{text:?} is no time; write it as 10s, 2m or 500ms");
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let span: jiff::SignedDuration = text.parse().map_err(|_| advice())?;
    Duration::try_from(span).map_err(|_| advice())
}

/// How long to wait. Zero means no limit, as its help says; a year is none either and can be added to any time.
pub(crate) fn limit(text: &str) -> Result<Duration, String> {
    let limit = duration(text)?;
    Ok(if limit.is_zero() { Duration::from_secs(365 * 86_400) } else { limit })
}

/// A time for which something lasts, where nothing would be no answer.
pub(crate) fn lasting(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err(format!("{text:?} is no time at all; write it as 10s, 2m or 500ms")),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests;
