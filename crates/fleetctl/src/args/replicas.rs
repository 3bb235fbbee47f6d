//! `controller`: how the work is shared with other replicas

use clap::Args;

/// How the work is shared.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Replicas")]
pub struct ReplicaArgs {
    /// Share the work with other replicas by Leases on the hub; false only for a controller that is surely alone
    #[arg(long, env = "FLEETCTL_LEASES", value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub leases: bool,
    /// The hub namespace of the Leases; else the namespace of the pod, outside of a pod fleetctl-system
    #[arg(long, env = "FLEETCTL_LEASE_NAMESPACE", value_name = "NAME", value_parser = super::controller::namespace)]
    pub lease_namespace: Option<String>,
    /// What this replica's Lease is called, with a number of its own after it: the pod's name
    #[arg(long, env = "HOSTNAME", value_name = "NAME", default_value = "controller", hide_env_values = true)]
    pub replica_name: String,
}
