//! `fleetctl`: takes applications through a fleet of Kubernetes clusters, one step at a time, with people approving.
//!
//! ```text
//!  main ─► run ─► args ─► demo, local, controller ──► embedded: hub and members in this process
//!                   └───► get, status, plan, delete, workflow, cluster, adopt ──► access: the user's own kubeconfig
//! ```
//!
//! - [`embedded`]: a fleet in one process; what `demo`, `local` and tests run on
//! - [`args`]: the command line, [`exit`]: its exit codes, [`output`], [`table`], [`yaml`]: what it writes
//! - [`access`], [`roster`]: clusters by kubeconfig context, members by name or alias
//! - [`install`]: the control plane on a hub, without helm; [`beside`]: other controllers of the same kinds
//! - [`demo`], [`local`], [`diagnose`], [`controller`], [`get`], [`application`], [`cluster`],
//!   [`adopt`], [`why`]: the commands; [`simulate`]: rehearsals in virtual time
//! - [`environment`]: what a command may know of the world, [`log`]: what it logs
//!
//! Commands answer a [`exit::Failure`] with one line (place, cause, next step) and an exit code.

pub mod access;
pub mod adopt;
pub mod application;
pub mod args;
mod attempt;
pub mod audit;
pub mod beside;
pub mod cluster;
pub mod controller;
pub mod demo;
pub mod diagnose;
pub mod drift;
pub mod embedded;
pub mod environment;
pub mod exit;
pub mod get;
pub mod history;
pub mod install;
pub mod local;
pub mod log;
mod nearest;
pub mod output;
pub mod promote;
pub mod roster;
mod run;
mod signals;
pub mod simulate;
pub mod table;
mod version;
pub mod why;
pub mod yaml;

pub use run::run;
