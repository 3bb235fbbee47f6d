//! `controller`, `local up`: runs that take turns

use clap::Args;
use fleet_controller::Limits;

/// How many runs act at once.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Runs that take turns")]
pub struct TurnArgs {
    /// How many runs may act on members at once, on the whole fleet; 0 for any number. Who waits for a person, a time or
    /// a measurement doesn't count
    #[arg(long, env = "FLEETCTL_MAX_RUNS", value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    pub max_runs: u16,
    /// Let one run act on a cluster at a time; others wait for their turn there
    #[arg(
        long,
        env = "FLEETCTL_ONE_RUN_PER_CLUSTER",
        value_name = "BOOL",
        default_value_t = false,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set
    )]
    pub one_run_per_cluster: bool,
}

impl TurnArgs {
    /// As the controller takes it.
    pub fn limits(&self) -> Limits {
        let runs = (self.max_runs > 0).then(|| u32::from(self.max_runs));
        Limits { runs, one_per_cluster: self.one_run_per_cluster }
    }
}
