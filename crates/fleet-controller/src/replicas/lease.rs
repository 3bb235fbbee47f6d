//! Leases as objects: their times, and what a replica writes into its own.

use std::collections::BTreeSet;
use std::time::Duration;

use fleet_api::names;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::ResourceExt as _;
use kube::core::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::membership::{Publication, Seen};

/// How a controller that isn't alone holds its Lease.
#[derive(Debug, Clone)]
pub struct LeaseOptions {
    /// The hub namespace of the Leases; made where it isn't there.
    pub namespace: String,
    /// The name of this replica and of its Lease: no other process, before or after, may have it.
    pub replica: String,
    /// The times.
    pub timing: Timing,
}

impl LeaseOptions {
    /// The defaults, for a process on a host (in a pod, the pod's name). `seed` differs from start to start.
    pub fn new(namespace: &str, host: &str, seed: u64) -> Self {
        let host: String =
            host.to_lowercase().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let host = host.trim_matches('-');
        let host = if host.is_empty() { "controller" } else { host };
        let replica = names::derived_name(host, &format!("{:08x}", seed & 0xffff_ffff));
        Self { namespace: namespace.to_owned(), replica, timing: Timing::default() }
    }
}

/// The times of a Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    duration: Duration,
    renew_deadline: Duration,
    renew_every: Duration,
}

/// Why times don't go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// Leases count in whole seconds.
    #[error("a lease lasts whole seconds (3 s or more), not {0:?}")]
    Duration(Duration),
    /// One lost renewal would end everything.
    #[error("the renew deadline {deadline:?} must be at least twice the time between renewals {every:?}")]
    Deadline {
        /// The deadline.
        deadline: Duration,
        /// The time between renewals.
        every: Duration,
    },
    /// A request sent at the renew deadline could end after somebody else has taken over.
    #[error("the renew deadline {deadline:?} must be at most half of the lease's {duration:?}")]
    Request {
        /// The deadline.
        deadline: Duration,
        /// The duration.
        duration: Duration,
    },
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(6),
            renew_every: Duration::from_secs(2),
        }
    }
}

impl Timing {
    /// Times that go together.
    ///
    /// # Errors
    /// Which don't.
    pub fn new(
        duration: Duration,
        renew_deadline: Duration,
        renew_every: Duration,
    ) -> Result<Self, TimingError> {
        if duration < Duration::from_secs(3) || duration.subsec_nanos() != 0 {
            return Err(TimingError::Duration(duration));
        }
        if renew_every.is_zero() || renew_deadline < renew_every * 2 {
            return Err(TimingError::Deadline { deadline: renew_deadline, every: renew_every });
        }
        if renew_deadline > duration / 2 {
            return Err(TimingError::Request { deadline: renew_deadline, duration });
        }
        Ok(Self { duration, renew_deadline, renew_every })
    }

    /// After so long without a renewal others take over.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// After so long without a renewal a replica stops by itself.
    pub fn renew_deadline(&self) -> Duration {
        self.renew_deadline
    }

    /// The time between renewals.
    pub fn renew_every(&self) -> Duration {
        self.renew_every
    }

    /// The longest that a request to a member may take: sent right before the renew deadline it ends before anybody
    /// else takes over, with a tenth of the lease to spare for clocks that don't run alike.
    pub fn longest_request(&self) -> Duration {
        self.duration - self.renew_deadline - self.duration / 10
    }
}

/// What stands in the annotation [`names::VIEW`].
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    sequence: u64,
    alive: BTreeSet<String>,
}

/// A Lease with a publication in it. `now` is for people to read; nothing is decided by it.
pub(crate) fn written(
    stored: Option<&Lease>,
    options: &LeaseOptions,
    publication: &Publication,
    now: Timestamp,
) -> Lease {
    let mut lease = stored.cloned().unwrap_or_else(|| Lease {
        metadata: ObjectMeta {
            name: Some(options.replica.clone()),
            namespace: Some(options.namespace.clone()),
            ..ObjectMeta::default()
        },
        spec: None,
    });
    lease.metadata.managed_fields = None;
    lease.labels_mut().insert(names::REPLICA.to_owned(), names::REPLICA_CONTROLLER.to_owned());
    let said = Written { sequence: publication.sequence, alive: publication.view.clone() };
    lease.annotations_mut().insert(names::VIEW.to_owned(), serde_json::to_string(&said).unwrap_or_default());
    let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
    spec.holder_identity = Some(options.replica.clone());
    spec.lease_duration_seconds = i32::try_from(options.timing.duration().as_secs()).ok();
    spec.acquire_time.get_or_insert(MicroTime(now));
    spec.renew_time = Some(MicroTime(now));
    lease
}

/// A Lease whose holder has stopped.
pub(crate) fn released(mut lease: Lease) -> Lease {
    lease.metadata.managed_fields = None;
    if let Some(spec) = &mut lease.spec {
        spec.holder_identity = None;
    }
    lease
}

/// A Lease as it was seen.
pub(crate) fn seen(lease: &Lease) -> Seen {
    let written =
        lease.annotations().get(names::VIEW).and_then(|text| serde_json::from_str::<Written>(text).ok());
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|s| u64::try_from(s).ok());
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
    Seen {
        replica: lease.name_any(),
        version: lease.resource_version().unwrap_or_default(),
        sequence: written.as_ref().map_or(0, |written| written.sequence),
        view: written.map(|written| written.alive),
        released: holder.is_empty(),
        duration: Duration::from_secs(seconds.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times under which two replicas could write at once are refused.
    #[test]
    fn times_that_do_not_go_together_are_refused() {
        let seconds = Duration::from_secs;
        assert!(Timing::new(seconds(15), seconds(6), seconds(2)).is_ok());
        let refused =
            |duration, deadline, every| Timing::new(duration, deadline, every).unwrap_err().to_string();
        assert!(refused(seconds(2), seconds(1), seconds(1)).contains("3 s or more"));
        assert!(refused(seconds(15), seconds(6), seconds(4)).contains("twice"));
        assert!(refused(seconds(15), seconds(10), seconds(2)).contains("half"));
        let timing = Timing::default();
        assert!(timing.renew_deadline() + timing.longest_request() < timing.duration());
    }

    #[test]
    fn what_is_written_is_read() {
        let options = LeaseOptions::new("fleetctl-system", "Node_1.example", 0x1_2345_6789);
        assert_eq!(options.replica, "node1example-23456789");
        let view = BTreeSet::from(["a".to_owned(), options.replica.clone()]);
        let publication = Publication { sequence: 7, view: view.clone() };
        let lease = written(None, &options, &publication, Timestamp::UNIX_EPOCH);
        let read = seen(&lease);
        assert_eq!((read.sequence, read.view, read.released), (7, Some(view), false));
        assert_eq!(read.duration, Duration::from_secs(15));
        assert!(seen(&released(lease)).released);
        assert_eq!(seen(&Lease::default()).view, None, "what can't be read may claim anything");
    }
}
