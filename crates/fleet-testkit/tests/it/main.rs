//! The engine against whole fleets in process.

mod bad_input;
mod crash;
mod edits;
mod members;
mod requests;
mod rollout;
mod small;
