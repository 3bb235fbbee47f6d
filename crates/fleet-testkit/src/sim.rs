//! A seeded simulation of the whole system: hub, members, controller replicas, users and misfortune, in virtual time.
//!
//! ```text
//!  seed ─► script (who does what, what goes wrong, when)
//!            └─► play: world (servers, simulator, replicas behind faults) ─► record: every write of the store, in order
//!                  └─► heal, let time run                                        └─► judge: design's invariants
//!  a seed that fails ─► shrink: the fewest actions that still fail
//! ```
//!
//! One thread, a paused clock, and every chance drawn from the seed: a seed replays. What isn't drawn from it is the
//! order in which hash maps are walked (the standard library's and kube's), which may order what happens at one instant
//! otherwise; [`replay`] tries a seed several times for that reason.

mod asked;
mod chance;
mod judge;
mod native;
mod play;
mod record;
mod rewind;
mod script;
mod shrink;
mod wanted;
mod world;

pub use judge::Violation;
pub use native::{Act, Override, Policy, Source};
pub use script::{Action, Script};
pub use shrink::shrunk;
pub use world::Base;

/// How a script went.
#[derive(Debug)]
pub struct Outcome {
    /// What was broken, if anything.
    pub violation: Option<Violation>,
    /// Writes that were judged.
    pub events: usize,
    /// Requests that replicas sent.
    pub requests: usize,
    /// Virtual seconds that it took.
    pub seconds: u64,
    /// Of everything that was written, whatever the order in which it was: a change that is to change nothing leaves it as
    /// it is.
    pub digest: u64,
}

/// Plays a script in a runtime of its own, and judges it.
///
/// # Errors
/// Where the harness itself fails.
pub fn run(base: &Base, script: &Script) -> anyhow::Result<Outcome> {
    let runtime = fleetctl::simulate::runtime()?;
    let played = tracing::dispatcher::with_default(&tracing::Dispatch::none(), || {
        runtime.block_on(Box::pin(play::play(base, script)))
    });
    // Everything that was spawned goes with its runtime.
    drop(runtime);
    let played = played?;
    let seconds = played.seconds;
    let (events, requests) = (played.record.events.len(), played.record.sent.len());
    let digest = played.record.digest();
    let violation = judge::judge(&played);
    Ok(Outcome { violation, events, requests, seconds, digest })
}

/// Plays a seed; where it fails, as often as needed to be sure that it fails the same way.
///
/// # Errors
/// Where the harness itself fails.
pub fn replay(base: &Base, seed: u64) -> anyhow::Result<Option<(Script, Violation)>> {
    let script = Script::of(seed);
    let Some(violation) = run(base, &script)?.violation else { return Ok(None) };
    Ok(Some(shrunk(base, script, violation)))
}
