//! `simulate`

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::simulate::{Approvals, PlannedFault};

/// `simulate`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    fleetctl simulate -f examples/three-centres\n  \
    fleetctl simulate -f app.yaml --fault cluster2@30s=down\n  \
    fleetctl simulate -f app.yaml --fault 'cluster2@30s=down for 5m' --fault cluster3@0s=slow=2s\n  \
    fleetctl simulate -f app.yaml --approve never\n  \
    fleetctl simulate -f app.yaml --approve deploy-to-production=10m --until 2h\n  \
    fleetctl simulate -f app.yaml --seed 7 -o json\n\n\
    Faults: down, up, slow[=TIME], refuse (503 to everything), full (507 to every write), reject (admission refuses every \
    write), unhealthy (workloads don't become ready), flap[=TIME] (down and up by turns), each until `up` or the end of \
    `for TIME`; and controller@TIME=crash, which starts anew after 10s or `for TIME`.\n\n\
    The real controller takes the files through a fleet that exists only in memory, in virtual time: an hour takes a \
    second. Nothing is asked of any cluster. The same files, arguments and seed give the same output. Members are the \
    ManagedClusters of the files; else what the topologies name; else three. Exit code 0 means that the run succeeded, \
    1 that it failed, 5 that it still waits.")]
pub struct SimulateArgs {
    /// A file or folder with one Application and what it needs; `-` is stdin; repeatable
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// What goes wrong where and when; repeatable
    #[arg(long = "fault", value_name = "CLUSTER@TIME=KIND", value_parser = PlannedFault::read)]
    pub faults: Vec<PlannedFault>,
    /// What all delays are drawn from
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,
    /// Who answers at gates: auto (at once), never, or a step's gate from a time on; a list with commas
    #[arg(long, value_name = "auto|never|STEP=TIME", default_value = "auto", value_parser = Approvals::read)]
    pub approve: Approvals,
    /// When to stop at the latest, in the rehearsal's own time
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = super::lasting)]
    pub until: Duration,
    /// How to write it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: SimulateOutput,
}

/// A format of a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SimulateOutput {
    /// For people
    Text,
    /// For programs
    Json,
}
