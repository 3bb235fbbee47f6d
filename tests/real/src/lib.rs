//! Real clusters on loopback: what the tests of `tests/it` run against.
//!
//! ```text
//!  Fleet ── hub and members, registered; YAML, waiting, kubectl, fleetctl
//!    ├── Cluster ── kube-apiserver, and as its Life says: controllers, scheduler, kwok, load balancers
//!    │     └── Process ── a child with a log; paused, killed, started anew; ended with us whatever happens
//!    ├── Gateway ── before a member: slow, refusing, mute, keeping writes back, with watches that fall silent
//!    ├── Etcd ── one for all, or a cluster's own
//!    └── Controller ── the built program, as a person or a Deployment runs it
//! ```
//!
//! The programs come from `cargo xtask tools`. A test starts the fleet that it needs and may break it; nothing is
//! shared. See README.md beside this crate's manifest.

pub mod audit;
pub mod chart;
pub mod cluster;
pub mod controller;
pub mod etcd;
pub mod fleet;
pub mod gateway;
pub mod given;
pub mod kubeconfig;
pub mod member;
pub mod pki;
pub mod ports;
pub mod process;
pub mod reaper;
pub mod room;
pub mod tools;
pub mod wait;
pub mod webhook;

pub use cluster::{Cluster, ClusterSpec, Life};
pub use controller::Controller;
pub use etcd::Etcd;
pub use fleet::Fleet;
pub use process::Process;
pub use room::Room;
pub use wait::{eventually, until};
