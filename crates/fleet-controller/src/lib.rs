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
//! [`Controller`] wires it. Beside it stands `propagation`: native objects of the hub follow policies, with no run.
//!
//! | module | what is there |
//! |---|---|
//! | `hub` | the hub's caches: what is referred to, who may read and deliver what, windows, rules that people give |
//! | `clusters` | the members: registered, and their status kept true |
//! | `resolve` | from an Application to the content of a revision, pure |
//! | `records` | revisions, runs and inventories on the hub: what decides; what there is to go back to |
//! | `run` | when a run starts and with what; whose turn it is, who joins and leaves, what people ask of single targets |
//! | `turn` | one turn for one Application: snapshot, decide, record, carry out, patch status if it changed |
//! | `deliver` | jobs against members: send, prune, repair drift, delete |
//! | `measure` | steps that measure, ask or tell |
//! | `plans` | what a gate would change, and what would run if files were applied |
//! | `people` | who changed and who approved what, as admission proves it, and the record of it |
//! | `replicas` | who does what, so that two never do the same |
//! | `report` | what the controller says: status, Events, log lines, metrics, health |

mod clusters;
mod context;
mod controller;
mod deliver;
mod hub;
mod measure;
mod people;
mod plans;
mod problem;
mod propagation;
mod records;
pub mod replicas;
mod report;
pub mod resolve;
mod run;
mod turn;

pub use context::{Clock, OnDrift, Options};
pub use controller::{Controller, ControllerError};
pub use deliver::deletion::{Cleared, Clearing};
pub use fleet_health::RuleError;
pub use fleet_workflow::Limits;
pub use hub::health_rules::read_health_rules;
pub use hub::key_rules::read_key_rules;
pub use hub::kinds::known_kinds;
pub use measure::{Addresses, Connection, Dial};
pub use people::authors::webhook::{AUTHORS_WEBHOOK, judge as judge_authors_webhook};
pub use people::authors::{AuthorRecord, AuthorSource};
pub use people::{audit, proof};
pub use plans::preview::{Delivered, Planner, PreviewError, Standing, Step, World, claims, delivered};
pub use plans::{GatePlan, gate_plan, read_revision};
pub use problem::Problem;
pub use propagation::{Distributed, LostClaim, References, distributed, labelled, read_recorded};
pub use records::revision::Loaded;
pub use records::rollback;
pub use replicas::{LeaseOptions, Shares};
pub use report::health::Health;
pub use report::metrics;
pub use report::metrics::Metrics;
pub use resolve::advice::advise;
