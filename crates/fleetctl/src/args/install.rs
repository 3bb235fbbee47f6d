//! `install`, `uninstall`

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::OutputArgs;

/// `install`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  fleetctl install --context hub --wait\n  \
    fleetctl install --set referenced.secrets=true --set members.credentialsNamespaces=[vela-system]\n  \
    fleetctl install --no-controller          # for: fleetctl controller --kubeconfig HUB\n  \
    fleetctl install --dry-run -o yaml        # what would be applied; asks no hub\n\n\
    Does what the Helm chart does, and takes its values. Again on an installation it upgrades, and keeps the values \
    that were given before, but for those given now. \
    Without -n it is the namespace fleetctl-system.")]
pub struct InstallArgs {
    /// A value of the chart, such as referenced.secrets=true; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// A file with values of the chart; repeatable, the last one counts
    #[arg(short = 'f', long = "values", value_name = "FILE")]
    pub values: Vec<PathBuf>,
    /// The controller's image, as NAME:TAG or NAME@sha256:…
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// How many controllers run
    #[arg(long, value_name = "N")]
    pub replicas: Option<u32>,
    /// Forget the values that were given to earlier installations here; without it they count on
    #[arg(long)]
    pub reset_values: bool,
    /// Leave out the Deployment: the controller runs elsewhere
    #[arg(long)]
    pub no_controller: bool,
    /// Take over definitions of kinds that another engine left; refused while that engine runs
    #[arg(long)]
    pub take_over: bool,
    /// Apply nothing; show what would be applied
    #[arg(long)]
    pub dry_run: bool,
    /// Wait until the controllers are ready
    #[arg(long)]
    pub wait: bool,
    /// How long to wait, also for the definitions of the kinds; 0 waits for ever
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = super::limit)]
    pub timeout: Duration,
    /// How to write it.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `uninstall`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  fleetctl uninstall --context hub\n  \
    fleetctl uninstall --finalizers-only --yes     # before helm uninstall --no-hooks\n\n\
    What was delivered stays on the members, and the Applications stay on the hub: a later install takes them up \
    where they were.")]
pub struct UninstallArgs {
    /// Only stop the controllers and release the finalizers of the Applications
    #[arg(long, conflicts_with = "delete_crds")]
    pub finalizers_only: bool,
    /// Delete the definitions of the kinds too, and with them every Application, record and member on this hub
    #[arg(long)]
    pub delete_crds: bool,
    /// Answer the question with yes
    #[arg(short, long)]
    pub yes: bool,
    /// How long the controllers may take to end; 0 waits for ever
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = super::limit)]
    pub timeout: Duration,
}
