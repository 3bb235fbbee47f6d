//! The process itself, under the names that every Prometheus client uses. Linux tells; elsewhere nothing is said.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// The kernel's unit for processor time towards programs (`USER_HZ`, proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time, memory and descriptors of this process.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        if let Some(seconds) = cpu_seconds(&read("stat")) {
            let (counter, help) = (ConstCounter::new(seconds), "Processor time, user and system");
            let unit = Unit::Seconds;
            let metric =
                encoder.encode_descriptor("process_cpu", help, Some(&unit), counter.metric_type())?;
            counter.encode(metric)?;
        }
        if let Some(bytes) = resident_bytes(&read("status")) {
            let (gauge, help) = (ConstGauge::new(bytes), "Memory in RAM");
            let unit = Unit::Bytes;
            let metric = encoder.encode_descriptor(
                "process_resident_memory",
                help,
                Some(&unit),
                gauge.metric_type(),
            )?;
            gauge.encode(metric)?;
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            let (gauge, help) = (ConstGauge::new(open.count() as u64), "Open file descriptors");
            let metric = encoder.encode_descriptor("process_open_fds", help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}

/// Fields 14 and 15 of `/proc/self/stat`; the second field, the name, may hold blanks and brackets.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let after_name = stat.get(stat.rfind(')')? + 1..)?;
    let mut fields = after_name.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

/// `VmRSS` of `/proc/self/status`, which is in KiB.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name with a bracket and a blank in it shifts every field behind it.
    #[test]
    fn what_the_kernel_says_is_read() {
        let stat = "42 (a b) c) S 1 1 1 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 100 1000 10";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds(""), None);
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2048 * 1024));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
    }
}
