//! `promote`

use std::time::Duration;

use clap::Args;

use super::OutputArgs;

/// `promote`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    fleetctl promote -n demo --from mc-bj1 deploy/web svc/web cm/web\n  \
    fleetctl promote -n demo --from mc-bj1 deploy,svc,cm,secret -l app=web --policy web\n  \
    fleetctl promote -n demo --from mc-bj1 deploy/web --dry-run\n  \
    fleetctl promote -n demo --from mc-bj1 deploy/web -o yaml > web.yaml\n\n\
    The objects are made on the hub as the cluster has them, and a PropagationPolicy names them and that cluster. Taking over \
    sets labels and nothing else: that is tried by a dry run first, and compared afterwards. To add clusters, add them to \
    the policy's clusterNames. Nothing is deleted on the cluster until prune and preserveResourcesOnDeletion are taken out \
    of the policy. The same command again goes on where it was interrupted. docs/promote.md has the recipe.")]
pub struct PromoteArgs {
    /// What is brought to the hub: KIND/NAME for each object, or KIND,… with -l; -n says in which namespace
    #[arg(value_name = "KIND/NAME", required = true)]
    pub objects: Vec<String>,
    /// The member that has it, by name or alias
    #[arg(long, value_name = "CLUSTER")]
    pub from: String,
    /// Take the objects of these kinds that have these labels
    #[arg(short = 'l', long, value_name = "LABELS", allow_hyphen_values = true)]
    pub selector: Option<String>,
    /// The name of the PropagationPolicy; else promoted-CLUSTER
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// How long it is waited until everything is taken over, such as 30s or 5m
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = super::duration)]
    pub timeout: Duration,
    /// Make nothing; show what would be made
    #[arg(long)]
    pub dry_run: bool,
    /// Answer the question with yes
    #[arg(short, long)]
    pub yes: bool,
    /// Make nothing; write the objects and the policy for programs.
    #[command(flatten)]
    pub output: OutputArgs,
}
