//! What is counted per member: 1,000 of them are a few thousand lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use fleet_members::{Answer, Telemetry};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

use crate::context::lock;

/// Upper bounds for requests to members.
const LATENCIES: [f64; 7] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// What became of a field of ours that differs on a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drift {
    /// It was noticed.
    Found,
    /// It was taken back.
    Repaired,
    /// It is reported and left, because a policy or a person says so.
    Held,
    /// Somebody keeps changing it: the next repair waits.
    Fought,
}

impl Drift {
    const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::Found, "drift_found", "Objects found to differ from what was delivered"),
        (Self::Repaired, "drift_repaired", "Objects whose drift was taken back"),
        (Self::Held, "drift_held", "Objects whose drift was reported and left"),
        (Self::Fought, "drift_fights", "Repairs put off because somebody keeps changing the object"),
    ];
}

#[derive(Debug)]
struct Counts {
    requests: BTreeMap<(&'static str, Answer), u64>,
    latencies: Histogram,
    watches: u64,
    /// Kinds that are watched in each namespace by itself.
    narrowed: BTreeSet<String>,
    drift: BTreeMap<Drift, u64>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            requests: BTreeMap::new(),
            latencies: Histogram::new(LATENCIES),
            watches: 0,
            narrowed: BTreeSet::new(),
            drift: BTreeMap::new(),
        }
    }
}

/// Counters per member; those of a member that left are forgotten.
#[derive(Debug, Default)]
pub struct MemberCounts(Mutex<BTreeMap<String, Counts>>);

impl MemberCounts {
    fn count(&self, cluster: &str, count: impl FnOnce(&mut Counts)) {
        let mut members = lock(&self.0);
        if let Some(counts) = members.get_mut(cluster) {
            return count(counts);
        }
        count(members.entry(cluster.to_owned()).or_default());
    }

    /// Counts what became of an object's drift.
    pub fn drifted(&self, cluster: &str, what: Drift) {
        self.count(cluster, |counts| *counts.drift.entry(what).or_default() += 1);
    }
}

impl Telemetry for MemberCounts {
    fn asked(&self, cluster: &str, verb: &'static str, answer: Answer, took: Duration) {
        self.count(cluster, |counts| {
            *counts.requests.entry((verb, answer)).or_default() += 1;
            if answer != Answer::NotAsked {
                counts.latencies.observe(took.as_secs_f64());
            }
        });
    }

    fn watch_restarted(&self, cluster: &str) {
        self.count(cluster, |counts| counts.watches += 1);
    }

    fn watch_narrowed(&self, cluster: &str, kind: &str) {
        self.count(cluster, |counts| _ = counts.narrowed.insert(kind.to_owned()));
    }

    fn left(&self, cluster: &str) {
        lock(&self.0).remove(cluster);
    }
}

impl Collector for MemberCounts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let members = lock(&self.0);
        let help = "Requests to a member, by verb and HTTP status (or timeout, no-answer, not-asked)";
        let mut requests = encoder.encode_descriptor("member_requests", help, None, MetricType::Counter)?;
        for (cluster, counts) in members.iter() {
            for ((verb, answer), count) in &counts.requests {
                let code = answer.to_string();
                let labels = [("cluster", cluster.as_str()), ("verb", verb), ("code", &code)];
                requests.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
            }
        }
        let help = "How long a member takes to answer a request";
        let unit = Unit::Seconds;
        let mut durations =
            encoder.encode_descriptor("member_request_duration", help, Some(&unit), MetricType::Histogram)?;
        for (cluster, counts) in members.iter() {
            counts.latencies.encode(durations.encode_family(&[("cluster", cluster.as_str())])?)?;
        }
        let help = "Watches on a member that began anew";
        let mut watches =
            encoder.encode_descriptor("member_watch_interruptions", help, None, MetricType::Counter)?;
        for (cluster, counts) in members.iter() {
            let labels = [("cluster", cluster.as_str())];
            watches.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&counts.watches, None)?;
        }
        let help = "Kinds that may not be watched in all of a member's namespaces and are in each by itself";
        let mut narrowed =
            encoder.encode_descriptor("member_watches_narrowed", help, None, MetricType::Gauge)?;
        for (cluster, counts) in members.iter() {
            let labels = [("cluster", cluster.as_str())];
            let kinds = i64::try_from(counts.narrowed.len()).unwrap_or(i64::MAX);
            narrowed.encode_family(&labels)?.encode_gauge(&kinds)?;
        }
        for (drift, name, help) in Drift::ALL {
            let mut drifted = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (cluster, counts) in members.iter() {
                let count = counts.drift.get(&drift).copied().unwrap_or_default();
                let labels = [("cluster", cluster.as_str())];
                drifted.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        Ok(())
    }
}
