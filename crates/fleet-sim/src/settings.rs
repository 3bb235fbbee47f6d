//! How a simulation runs.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::names::draw;
use crate::object::annotation;

/// Sets how long an object's pods take to become ready: `5s`, `200ms`, `1m`.
pub const READY_DELAY: &str = "sim.fleetctl.dev/ready-delay";
/// `true` or `crash`: containers crash; `pull`: images can't be pulled.
pub const FAIL: &str = "sim.fleetctl.dev/fail";
/// `true`: the object stays as it is.
pub const HOLD: &str = "sim.fleetctl.dev/hold";
/// What all annotations of the simulator begin with; owners hand them on to their pods.
pub(crate) const PREFIX: &str = "sim.fleetctl.dev/";

/// How deep the simulation goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pods {
    /// Every pod is an object.
    #[default]
    Full,
    /// No pod objects: counts advance after the same delays. For thousands of members.
    Counted,
}

/// What decisions depend on beside the objects.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How deep the simulation goes.
    pub pods: Pods,
    /// How long containers take to become ready.
    pub ready_delay: Duration,
    /// Two simulations with the same seed and input draw the same delays.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { pods: Pods::Full, ready_delay: Duration::from_millis(20), seed: 0 }
    }
}

impl Settings {
    /// The ready delay of an object, by its annotation or the default.
    pub(crate) fn ready_delay_of(&self, objects: &[&Value]) -> Duration {
        let own = objects.iter().find_map(|object| annotation(object, READY_DELAY));
        own.and_then(parse_delay).unwrap_or(self.ready_delay)
    }

    /// A delay made longer by up to a share of itself, drawn from the object's uid.
    pub(crate) fn jittered(&self, delay: Duration, share: f64, uid: &str) -> Duration {
        let drawn = draw(&[&self.seed.to_string(), uid]) % 1000;
        #[allow(clippy::cast_precision_loss, reason = "below 1000")]
        let factor = 1.0 + share.clamp(0.0, 1.0) * (drawn as f64) / 1000.0;
        delay.mul_f64(factor)
    }
}

/// Reads `5s`, `200ms`, `1m`. `None` if it is none of these.
pub(crate) fn parse_delay(text: &str) -> Option<Duration> {
    let text = text.trim();
    let split = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(split)?;
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

/// Whether the object is held back by its annotation.
pub(crate) fn held(object: &Value) -> bool {
    annotation(object, HOLD) == Some("true")
}

/// What a decision is told about the world beside the objects.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The time.
    pub now: Timestamp,
    /// The settings.
    pub settings: &'a Settings,
}
