//! Stock kubectl against our API server: what a user of Kubernetes types must answer as it does there.
//!
//! Where there is no kubectl the transcripts are skipped, loudly; `FLEETCTL_REQUIRE_KUBECTL=1` makes that a failure.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

mod access;
mod applying;
mod creating;
mod custom;
mod deleting;
mod discovery;
mod patching;
mod reading;
mod support;
mod watching;
mod workloads;
