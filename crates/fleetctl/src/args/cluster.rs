//! `cluster`

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::OutputArgs;

/// `cluster`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  fleetctl cluster join ./beijing.kubeconfig --name mc-bj1 --alias cluster1-beijing\n  \
    fleetctl cluster list\n\nMembers are named by their name or their alias."
)]
pub struct ClusterArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ClusterCommand,
}

/// `cluster …`
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// List the members, newest join first
    #[command(visible_alias = "ls")]
    List(ClusterListArgs),
    /// Show what is known of one member, and which applications are on it
    Status(ClusterStatusArgs),
    /// Take a cluster into the fleet: make an account on it and register it on the hub
    Join(JoinArgs),
    /// Ask a member now, with the hub's credentials: does it answer, is it the right one, what may we do there
    Probe(ProbeArgs),
    /// Set and remove labels of a member
    Label(LabelArgs),
    /// Give a member another alias
    Alias(AliasArgs),
    /// Give a member another name
    Rename(RenameArgs),
    /// Make new credentials for a member, and revoke the old ones
    Rotate(RotateArgs),
    /// Deliver nothing to a member until told otherwise
    Cordon(CordonArgs),
    /// Deliver to a member again
    Uncordon(UncordonArgs),
    /// Accept that a member is another cluster now: rebuilt, or restored elsewhere
    Rejoin(RejoinArgs),
    /// Take a member out of the fleet
    Detach(DetachArgs),
}

/// `cluster list`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  fleetctl cluster list\n  fleetctl cluster list -o wide\n  \
    fleetctl cluster list -l region=cn-north -o name")]
pub struct ClusterListArgs {
    /// Only members with these labels
    #[arg(short = 'l', long, value_name = "LABELS", allow_hyphen_values = true)]
    pub selector: Option<String>,
    /// How to write them
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<ListOutput>,
}

/// A format of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListOutput {
    /// More columns
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// KIND/NAME
    Name,
}

/// `cluster status`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fleetctl cluster status cluster1-beijing\n\n\
    It is told from what the hub has on record; to ask the member itself: fleetctl cluster probe.")]
pub struct ClusterStatusArgs {
    /// The member's name or alias
    #[arg(value_name = "CLUSTER")]
    pub name: String,
    /// How to write it.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What the account on a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ProfileName {
    /// Deliver any kind to any namespace
    #[default]
    Cluster,
    /// Deliver to the namespaces of --namespaces only
    Namespaced,
    /// Act as the service accounts of --impersonate only, and see what is in their namespaces
    Impersonating,
}

/// `cluster join`
#[derive(Debug, Args)]
#[command(after_help = JOIN_HELP)]
pub struct JoinArgs {
    /// The cluster's kubeconfig, with rights to make the account; - reads it from stdin
    // The hub's kubeconfig has the id "kubeconfig".
    #[arg(id = "member-kubeconfig", value_name = "KUBECONFIG")]
    pub kubeconfig: PathBuf,
    /// The context in it, where there are several
    #[arg(long, value_name = "NAME")]
    pub member_context: Option<String>,
    /// The member's name; else that of the context
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// A second name that people know it by
    #[arg(long, value_name = "NAME")]
    pub alias: Option<String>,
    /// Labels that topology policies select by
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',', value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// What the account may do
    #[arg(long, value_name = "PROFILE", default_value = "cluster")]
    pub profile: ProfileName,
    /// With --profile namespaced: the namespaces that it delivers to
    #[arg(long, value_name = "NAMESPACE,…", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// With --profile impersonating: the service accounts that it may act as; NAMESPACE/* is all of a namespace
    #[arg(long, value_name = "NAMESPACE/NAME,…", value_delimiter = ',', value_parser = account)]
    pub impersonate: Vec<(String, String)>,
    /// Also let it deliver Roles and bindings that grant more than it has itself: as good as cluster-admin
    #[arg(long)]
    pub allow_rbac: bool,
    /// Use this service account of the cluster, with the rights that it has
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = account, conflicts_with = "keep_credentials")]
    pub service_account: Option<(String, String)>,
    /// Make no account: keep the kubeconfig's own token, client certificate or exec plugin on the hub
    #[arg(long)]
    pub keep_credentials: bool,
    /// The address at which the controller reaches it; else that of the kubeconfig
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// Check everything and say what would be made; write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How to write it.
    #[command(flatten)]
    pub output: OutputArgs,
}

const JOIN_HELP: &str = "Examples:\n  \
    fleetctl cluster join ./beijing.kubeconfig --name mc-bj1 --alias cluster1-beijing --labels region=cn-north\n  \
    fleetctl cluster join ~/.kube/config --member-context staging --dry-run\n  \
    fleetctl cluster join ./shared.kubeconfig --name shared --profile namespaced --namespaces web,shop\n  \
    fleetctl cluster join ./tenants.kubeconfig --name tenants --profile impersonating --impersonate 'web/*'\n\n\
    Reachability, version, identity and rights are checked first; nothing is written where one is amiss. What a \
    crash leaves receives nothing, and the same command again completes it. The account's token doesn't expire: \
    fleetctl cluster rotate renews it.";

/// `cluster probe`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fleetctl cluster probe mc-bj1\n\n\
    Ends with 0 where all is well, 6 where the member doesn't answer, 4 where it is another cluster or rights are \
    missing.")]
pub struct ProbeArgs {
    /// The member's name or alias
    #[arg(value_name = "CLUSTER")]
    pub name: String,
    /// How to write it.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `cluster label`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fleetctl cluster label mc-bj1 region=cn-north tier-")]
pub struct LabelArgs {
    /// The member's name or alias
    #[arg(value_name = "CLUSTER")]
    pub name: String,
    /// KEY=VALUE sets a label, KEY- removes it
    #[arg(value_name = "KEY=VALUE|KEY-", required = true, value_parser = label_change)]
    pub changes: Vec<(String, Option<String>)>,
}

/// `cluster alias`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  fleetctl cluster alias mc-bj1 beijing-1\n  fleetctl cluster alias mc-bj1 ''     # none"
)]
pub struct AliasArgs {
    /// The member's name or alias
    #[arg(value_name = "CLUSTER")]
    pub name: String,
    /// The new alias; an empty one takes it away
    #[arg(value_name = "ALIAS")]
    pub alias: String,
    /// Even though policies name the old alias
    #[arg(short, long)]
    pub yes: bool,
}

/// `cluster rename`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fleetctl cluster rename mc-bj1 mc-bj-old\n\n\
    Inventories name members, so a member is renamed only while nothing was delivered to it. An alias can be given \
    at any time: fleetctl cluster alias.")]
pub struct RenameArgs {
    /// The member's name or alias
    #[arg(value_name = "CLUSTER")]
    pub name: String,
    /// The new name
    #[arg(value_name = "NAME")]
    pub new: String,
}

/// The way to a member for what needs more rights than the hub has.
#[derive(Debug, Clone, Args)]
pub struct AdminArgs {
    /// The cluster's kubeconfig, with rights to make the account; - reads it from stdin. Else your own context
    /// of the member's name, else the hub's credentials
    #[arg(id = "member-kubeconfig", value_name = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// The context in it, where there are several
    #[arg(long, value_name = "NAME")]
    pub member_context: Option<String>,
}

/// `cluster rotate`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  fleetctl cluster rotate mc-bj1\n  fleetctl cluster rotate mc-bj1 ./beijing.kubeconfig\n\n\
    The old token is revoked once the new one has been tried and stands on the hub."
)]
pub struct RotateArgs {
    /// The member's name or alias
    #[arg(value_name = "CLUSTER")]
    pub name: String,
    /// The way in.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Take the kubeconfig's own credentials again, for a member that joined with --keep-credentials
    #[arg(long, requires = "member-kubeconfig")]
    pub keep_credentials: bool,
}

/// `cluster cordon`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fleetctl cluster cordon mc-bj1 --reason 'moving racks until Friday'")]
pub struct CordonArgs {
    /// The member's name or alias
    #[arg(value_name = "CLUSTER")]
    pub name: String,
    /// Why; shown wherever the member is
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

/// `cluster uncordon`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fleetctl cluster uncordon mc-bj1")]
pub struct UncordonArgs {
    /// The member's name or alias
    #[arg(value_name = "CLUSTER")]
    pub name: String,
}

/// `cluster rejoin`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  fleetctl cluster rejoin mc-bj1 ./beijing.kubeconfig\n  \
    fleetctl cluster rejoin mc-bj1 --yes      # its credentials still work\n\n\
    A member whose identity has changed gets nothing until then. Afterwards everything that belongs there is \
    delivered to it again.")]
pub struct RejoinArgs {
    /// The member's name or alias
    #[arg(value_name = "CLUSTER")]
    pub name: String,
    /// The way in.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Don't ask
    #[arg(short, long)]
    pub yes: bool,
}

/// `cluster detach`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  fleetctl cluster detach mc-bj1 --keep-objects\n  \
    fleetctl cluster detach mc-bj1 --delete-objects --admin-kubeconfig ./beijing.kubeconfig\n\n\
    Where neither is given it is asked. Kept objects go on running and belong to nobody.")]
pub struct DetachArgs {
    /// The member's name or alias
    #[arg(value_name = "CLUSTER")]
    pub name: String,
    /// Leave what was delivered there, as nobody's
    #[arg(long, conflicts_with = "delete_objects")]
    pub keep_objects: bool,
    /// Delete what was delivered there
    #[arg(long)]
    pub delete_objects: bool,
    /// The cluster's kubeconfig, for taking our account away where the account itself may not. Else your own context
    /// of the member's name, else the hub's credentials
    #[arg(long, value_name = "FILE")]
    pub admin_kubeconfig: Option<PathBuf>,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) => {
            crate::cluster::naming::label(key, value)?;
            Ok((key.to_owned(), value.to_owned()))
        }
        None => Err(format!("{text:?} is no label; write KEY=VALUE")),
    }
}

fn label_change(text: &str) -> Result<(String, Option<String>), String> {
    if let Some((key, value)) = text.split_once('=') {
        crate::cluster::naming::label(key, value)?;
        return Ok((key.to_owned(), Some(value.to_owned())));
    }
    match text.strip_suffix('-') {
        Some(key) if !key.is_empty() => Ok((key.to_owned(), None)),
        _ => Err(format!("{text:?} is no change of a label; write KEY=VALUE, or KEY- to remove it")),
    }
}

fn account(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err(format!("{text:?} is no service account; write NAMESPACE/NAME")),
    }
}
