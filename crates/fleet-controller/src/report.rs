//! What the controller says: the status of Applications, Events, log lines, metrics, and how it is itself.

pub(crate) mod events;
pub(crate) mod health;
pub mod metrics;
pub(crate) mod status;
pub(crate) mod transitions;
