//! The engine against whole fleets in process.

mod rollout;
