//! `get`

use std::time::Duration;

use clap::Args;

/// `get`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    fleetctl get managedcluster\n  \
    fleetctl get deployment web-demo -n demo -m all\n  \
    fleetctl get deploy,svc -n demo -m cluster1-beijing,mc-hz1 -l app=web-demo\n  \
    fleetctl get pods -A -m all -o wide\n  \
    fleetctl get deploy/web-demo -n demo -m all -o jsonpath='{.status.readyReplicas}'\n\n\
    With -m the requests are made with your own kubeconfig: it needs a context named as the member or its alias. \
    With -o json or yaml and several members everything is one List, each object with the annotation \
    fleetctl.dev/cluster.")]
pub struct GetArgs {
    /// Resources as kubectl takes them: deployment, deploy,svc, deployments.apps, deploy/NAME
    #[arg(value_name = "RESOURCE", required = true)]
    pub resource: String,
    /// Names of objects, or more of RESOURCE/NAME
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Members by name or alias, or `all`; without it the hub is asked
    #[arg(
        short = 'm',
        long = "members",
        alias = "clusters",
        value_name = "CLUSTER,…|all",
        value_delimiter = ','
    )]
    pub members: Vec<String>,
    /// All namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "LABELS", allow_hyphen_values = true)]
    pub selector: Option<String>,
    /// Only objects with these fields
    #[arg(long, value_name = "FIELDS")]
    pub field_selector: Option<String>,
    /// How to write them: wide, json, yaml, name, jsonpath=TEMPLATE, custom-columns=HEADING:PATH,…
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<String>,
    /// Leave the headings out
    #[arg(long)]
    pub no_headers: bool,
    /// Show labels as the last column
    #[arg(long)]
    pub show_labels: bool,
    /// How long a member may take to answer; 0 waits for ever
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = super::limit)]
    pub timeout: Duration,
}
