//! `adopt`

use clap::Args;

use super::OutputArgs;

/// `adopt`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    fleetctl adopt web-demo -n demo --from mc-bj1,mc-bj2 deploy/web-demo svc/web-demo cm/web-demo\n  \
    fleetctl adopt web-demo -n demo --from all deploy,svc,cm -l app=web-demo\n  \
    fleetctl adopt web-demo -n demo --from mc-bj1 deploy/web-demo --namespace-on-member web --dry-run\n  \
    fleetctl adopt web-demo -n demo --from mc-bj1 deploy/web-demo -o yaml > app.yaml\n\n\
    The Application holds the objects as they are on the members; where one differs from the others, an override policy \
    says how. Taking over sets labels and nothing else; that is tried on every member by a dry run first. Drift is then \
    only reported until the policy report-only is taken out of the Application, and a deletion of the Application leaves \
    the objects there until the policy keep-on-delete is. Members are asked with your own kubeconfig where it has a context \
    named as the member or its alias, else with the hub's credentials.")]
pub struct AdoptArgs {
    /// The Application that is made; -n says in which namespace of the hub
    #[arg(value_name = "NAME")]
    pub app: String,
    /// What it is made of: KIND/NAME for each object, or KIND,… with -l
    #[arg(value_name = "KIND/NAME", required = true)]
    pub objects: Vec<String>,
    /// The members that have it, by name or alias, or `all`; repeatable
    #[arg(long, value_name = "CLUSTER,…|all", value_delimiter = ',', required = true)]
    pub from: Vec<String>,
    /// Take the objects of these kinds that have these labels
    #[arg(short = 'l', long, value_name = "LABELS", allow_hyphen_values = true)]
    pub selector: Option<String>,
    /// The namespace of the objects on the members; else that of the Application
    #[arg(long, value_name = "NAME")]
    pub namespace_on_member: Option<String>,
    /// Make nothing; show what would be made
    #[arg(long)]
    pub dry_run: bool,
    /// Answer the question with yes
    #[arg(short, long)]
    pub yes: bool,
    /// Make nothing; write the Application for programs.
    #[command(flatten)]
    pub output: OutputArgs,
}
