//! What is to go wrong, and who answers at gates, as it is typed.

use std::time::Duration;

use fleet_sim::Fault;

/// How long something is slow, down or up by turns, where no time is given.
const SLOW: Duration = Duration::from_secs(2);
const FLAPS: Duration = Duration::from_secs(10);
/// How long a crashed controller stays away where no time is given.
const AWAY: Duration = Duration::from_secs(10);
/// What names the controller in the place of a cluster.
pub(super) const CONTROLLER: &str = "controller";

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// With the way to a member.
    Way(Fault),
    /// Its workloads don't become ready.
    Unhealthy,
    /// It is down and up by turns, each for so long.
    Flap(Duration),
    /// The controller is killed.
    Crash,
}

/// A fault at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFault {
    /// The member by name or alias, or `controller`.
    pub cluster: String,
    /// Since the start.
    pub at: Duration,
    /// What.
    pub trouble: Trouble,
    /// How long; without it until another one takes its place.
    pub lasts: Option<Duration>,
    /// As it was typed, behind the `=`.
    pub said: String,
}

impl PlannedFault {
    /// Reads `CLUSTER@TIME=KIND`, with `for TIME` behind it where it ends.
    ///
    /// # Errors
    /// In words, with what is accepted.
    pub fn read(text: &str) -> Result<Self, String> {
        let form = || {
            format!(
                "{text:?} isn't CLUSTER@TIME=KIND, such as cluster2@30s=down or 'cluster2@30s=down for 5m'"
            )
        };
        let (place, said) = text.split_once('=').ok_or_else(form)?;
        let (cluster, at) = place.rsplit_once('@').ok_or_else(form)?;
        if cluster.trim().is_empty() {
            return Err(form());
        }
        let (kind, lasts) = match said.trim().split_once(" for ") {
            Some((kind, lasts)) => (kind.trim(), Some(some_time(lasts)?)),
            None => (said.trim(), None),
        };
        let cluster = cluster.trim().to_owned();
        let trouble = trouble(&cluster, kind)?;
        let lasts = lasts.or((trouble == Trouble::Crash).then_some(AWAY));
        Ok(Self { cluster, at: time(at)?, trouble, lasts, said: said.trim().to_owned() })
    }
}

fn trouble(cluster: &str, kind: &str) -> Result<Trouble, String> {
    let (word, value) = kind.split_once('=').map_or((kind, None), |(word, value)| (word, Some(value)));
    let takes_time = matches!(word, "slow" | "flap");
    if let Some(value) = value.filter(|_| !takes_time) {
        return Err(format!("{word} takes no value, and has {value:?}; for how long is said by `for 5m`"));
    }
    let value = value.map(some_time).transpose()?;
    let trouble = match word {
        "down" => Trouble::Way(Fault::Down),
        "up" => Trouble::Way(Fault::None),
        "slow" => Trouble::Way(Fault::Slow(value.unwrap_or(SLOW))),
        "refuse" => Trouble::Way(Fault::Refuse),
        "full" => Trouble::Way(Fault::Full),
        "reject" => Trouble::Way(Fault::Reject),
        "unhealthy" => Trouble::Unhealthy,
        "flap" => Trouble::Flap(value.unwrap_or(FLAPS).max(Duration::from_secs(1))),
        "crash" => Trouble::Crash,
        other => {
            let known = ["down", "up", "slow", "refuse", "full", "reject", "unhealthy", "flap", "crash"];
            return Err(format!("{other:?} is no fault{}", crate::nearest::advice(other, &known, "faults")));
        }
    };
    match (cluster == CONTROLLER, trouble == Trouble::Crash) {
        (true, false) => Err(format!("{word} can't happen to the controller; it can crash")),
        (false, true) => Err(format!(
            "crash happens to the controller ({CONTROLLER}@TIME=crash), not to {cluster:?}; a cluster can be down"
        )),
        _ => Ok(trouble),
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let read = fleet_workflow::parse_duration(text).ok().and_then(|read| Duration::try_from(read).ok());
    read.ok_or_else(|| format!("{text:?} is no time; write it as 10s, 2m30s or 500ms"))
}

/// The same where nothing would be no answer.
fn some_time(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => {
            Err(format!("{:?} is no time at all; write it as 10s, 2m30s or 500ms", text.trim()))
        }
        time => Ok(time),
    }
}

/// Who answers at gates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Approvals {
    /// Everything that isn't named, at once.
    pub auto: bool,
    /// Steps, and from when on.
    pub steps: Vec<(String, Duration)>,
}

impl Approvals {
    /// Reads `auto`, `never`, or `STEP=TIME`, several with commas.
    ///
    /// # Errors
    /// In words, with what is accepted.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut approvals = Self::default();
        for word in text.split(',').map(str::trim) {
            match (word, word.split_once('=')) {
                ("auto", _) => approvals.auto = true,
                ("never", _) => {}
                (_, Some((step, at))) if !step.trim().is_empty() => {
                    approvals.steps.push((step.trim().to_owned(), time(at)?));
                }
                _ => return Err(format!("{word:?} is neither auto, never nor STEP=TIME, such as go=10m")),
            }
        }
        Ok(approvals)
    }

    /// From when on a step's gate is answered; `None` for never.
    pub(super) fn from(&self, step: &str) -> Option<Duration> {
        let named = self.steps.iter().find(|(name, _)| name == step).map(|(_, at)| *at);
        named.or(self.auto.then_some(Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Broken: what somebody wanted to rehearse isn't what is rehearsed.
    #[test]
    fn faults_are_read_as_meant() {
        let read = |text: &str| {
            let fault = PlannedFault::read(text).unwrap();
            (fault.cluster, fault.at, fault.trouble, fault.lasts)
        };
        let down = Trouble::Way(Fault::Down);
        assert_eq!(read("cluster2@30s=down"), ("cluster2".into(), 30 * SECOND, down, None));
        assert_eq!(read("a@b@1m = down for 5m"), ("a@b".into(), 60 * SECOND, down, Some(300 * SECOND)));
        assert_eq!(read("c@0s=slow=500ms").2, Trouble::Way(Fault::Slow(SECOND / 2)));
        assert_eq!(read("c@0s=flap").2, Trouble::Flap(10 * SECOND));
        assert_eq!(read("controller@5s=crash").3, Some(10 * SECOND));
    }

    /// Each says what it would take.
    #[test]
    fn faults_that_make_no_sense_are_refused() {
        for (text, said) in [
            ("cluster2", "CLUSTER@TIME=KIND"),
            ("@3s=down", "CLUSTER@TIME=KIND"),
            ("c@soon=down", "\"soon\" is no time"),
            ("c@3s=dwn", "did you mean \"down\""),
            ("c@3s=down for ever", "\"ever\" is no time"),
            ("c@3s=down for 0s", "\"0s\" is no time at all"),
            ("c@3s=slow=0s", "\"0s\" is no time at all"),
            ("c@3s=flap=0", "\"0\" is no time at all"),
            ("c@3s=down=4s", "takes no value"),
            ("c@3s=crash", "controller@TIME=crash"),
            ("controller@3s=down", "it can crash"),
            ("c@-3s=down", "is no time"),
        ] {
            let refused = PlannedFault::read(text).unwrap_err();
            assert!(refused.contains(said), "{text}: {refused}");
        }
    }

    #[test]
    fn approvals_are_read_as_meant() {
        let read = Approvals::read("go=10m,auto").unwrap();
        assert_eq!((read.from("go"), read.from("other")), (Some(600 * SECOND), Some(Duration::ZERO)));
        assert_eq!(Approvals::read("never").unwrap().from("go"), None);
        assert_eq!(Approvals::read("go=10m").unwrap().from("other"), None);
        for text in ["perhaps", "=3s", "go=later", ""] {
            Approvals::read(text).unwrap_err();
        }
    }
}
