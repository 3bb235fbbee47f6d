//! The engine: takes Applications through their workflows.
//!
//! ```text
//!  hub watches ──► Hub (caches) ──► resolve ──► Draft { content, hash }      pure
//!      ▲                                          │ decide: does a run start?
//!      │                                          ▼
//!      │   records: ApplicationRevision, ResourceTracker, Run   (compare-and-swap)
//!      │                                          │
//!      │            Facts ──► fleet_workflow::advance ──► Commands
//!      │              ▲                                     │
//!      │              │ Board ◄── jobs: deliver, prune, repair ──► members
//!      │              └────────── MemberEvents ◄─────────────────┘
//!      └── status (derived, pure)
//! ```
//!
//! [`Controller`] wires it; `reconcile` is one turn for one Application: snapshot, decide, record, carry
//! out, patch status if it changed.

mod advice;
pub mod audit;
mod authors;
mod board;
mod clusters;
mod context;
mod controller;
mod deadline;
mod deletion;
mod deliver;
mod drift;
mod events;
mod facts;
mod health;
mod health_rules;
mod held;
mod hub;
mod joining;
mod key_rules;
mod kinds;
mod late;
mod leavers;
mod line;
mod looks;
mod measure;
pub mod metrics;
mod plans;
mod preview;
mod problem;
pub mod proof;
mod propagation;
mod prune;
mod queue;
mod readable;
mod reconcile;
mod records;
mod referenced;
mod refusal;
mod register;
pub mod replicas;
mod requests;
pub mod resolve;
mod revision;
mod rivals;
pub mod rollback;
mod rule_maps;
mod runs;
mod status;
mod tenancy;
mod transitions;
mod turns;
mod walk;
mod watches;
mod windows;

pub use advice::advise;
pub use authors::webhook::{AUTHORS_WEBHOOK, judge as judge_authors_webhook};
pub use authors::{AuthorRecord, AuthorSource};
pub use context::{Clock, OnDrift, Options};
pub use controller::{Controller, ControllerError};
pub use deletion::{Cleared, Clearing};
pub use fleet_health::RuleError;
pub use fleet_workflow::Limits;
pub use health::Health;
pub use health_rules::read_health_rules;
pub use key_rules::read_key_rules;
pub use kinds::known_kinds;
pub use measure::{Addresses, Connection, Dial};
pub use metrics::Metrics;
pub use plans::{GatePlan, gate_plan, read_revision};
pub use preview::{Delivered, Planner, PreviewError, Standing, Step, World, claims, delivered};
pub use problem::Problem;
pub use propagation::{Distributed, LostClaim, distributed, labelled};
pub use replicas::{LeaseOptions, Shares};
pub use revision::Loaded;
