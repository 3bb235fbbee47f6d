//! `plan` and `why`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::OutputArgs;

/// `plan`
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = "Examples:\n  \
    fleetctl plan web-demo -n demo                     # what the waiting gate would change; else what would run\n  \
    fleetctl plan -f app.yaml -f policies/ -n demo     # before anything is applied\n  \
    kubectl kustomize . | fleetctl plan -f - --exit-code\n  \
    fleetctl plan -f . --offline                       # from files alone, ManagedClusters among them\n  \
    fleetctl plan web-demo -n demo --dry-run=server    # the members try it, and keep nothing\n  \
    fleetctl plan web-demo -n demo -o json | jq -r '.planHash, .hints[].code'\n\n\
    Nothing is written, on the hub or on members. Hints (danger, warning, info) are no part of the hash. Members are asked \
    with your own kubeconfig where it has a context named as the member or its alias, else with the hub's credentials. \
    docs/plans.md has the form of -o json and all hints.")]
pub struct PlanArgs {
    /// The Application; with -f all of the files where none is named
    #[arg(value_name = "APP", required_unless_present = "files")]
    pub app: Option<String>,
    /// Plan as if this was applied: a manifest, a folder of them, or - for standard input; repeatable
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Folders with all that is below them
    #[arg(short = 'R', long, requires = "files")]
    pub recursive: bool,
    /// From the files alone: no hub and no member is asked, no kubeconfig is needed
    #[arg(long, requires = "files", conflicts_with = "dry_run")]
    pub offline: bool,
    /// The step; else the one whose gate waits longest, or all
    #[arg(long, value_name = "STEP")]
    pub step: Option<String>,
    /// What the Application as it is now would run, although a gate of an earlier run waits
    #[arg(long, conflicts_with = "files")]
    pub next: bool,
    /// Ask no member: hints come from what the hub knows
    #[arg(long, conflicts_with = "dry_run")]
    pub no_members: bool,
    /// Let the members try every create and change; nothing of it is kept
    #[arg(long, value_name = "WHERE", value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "server")]
    pub dry_run: Option<DryRun>,
    /// End with exit code 8 where something would change
    #[arg(long)]
    pub exit_code: bool,
    /// How to write it.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Where a change is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// By the members' API servers, with their admission
    Server,
}

/// `why`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    fleetctl why deploy/web-demo -n demo -m mc-hz1\n  \
    fleetctl why deploy/web-demo -n demo -m cluster1-hangzhou spec.replicas\n  \
    fleetctl why cm/web-demo -n demo -m mc-hz1 'data[\"config.json\"]' -o json\n  \
    fleetctl why clusterrole/reader -m mc-hz1 --app web-demo\n\n\
    -n is the namespace on the member. A field is set by the referenced object or the component's type, by a trait, by a rule \
    of an override policy, by the topology (the namespace), by fleetctl (labels), by somebody else there (the field manager \
    is named), or by the member's API server (a default). Of an object that policies distribute it says, too, which policy has \
    it, which others don't and why, and every override in order with before and after; also where it isn't there.")]
pub struct WhyArgs {
    /// The object: KIND/NAME
    #[arg(value_name = "KIND/NAME")]
    pub object: String,
    /// Only this field and what is in it, such as spec.replicas
    #[arg(value_name = "FIELD")]
    pub field: Option<String>,
    /// The member, by name or alias
    #[arg(short = 'm', long = "member", visible_alias = "members", value_name = "CLUSTER")]
    pub member: String,
    /// The Application; else the one that the object's labels name
    #[arg(long, value_name = "APP")]
    pub app: Option<String>,
    /// How to write it.
    #[command(flatten)]
    pub output: OutputArgs,
}
