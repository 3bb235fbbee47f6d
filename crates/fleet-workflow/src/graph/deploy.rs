//! The properties of a `deploy` step.

use jiff::SignedDuration;
use serde::Deserialize;

use super::read::read_properties;
use super::waves::{Amount, Canary, OnFailure, OnJoin, OnReturn, OnUnreachable, Order, optional_time, time};
use super::{ApprovalRule, DEFAULT_TIMEOUT, OnDelete};

/// How long a cluster may be silent before `onUnreachable: Skip` or `Fail` decides, where it isn't said.
pub(super) const DEFAULT_UNREACHABLE_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// Properties of a `deploy` step.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeployProperties {
    /// Whether it acts without being asked.
    #[serde(default = "yes")]
    pub auto: bool,
    /// Who has to approve; then it asks, and `auto: true` contradicts.
    #[serde(default)]
    pub approval: Option<ApprovalRule>,
    /// Whether a person is asked before deletes that take a target's last workload.
    #[serde(default)]
    pub on_delete: OnDelete,
    /// Policies by name: topologies say where, overrides say how it differs there, in this order.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Components at once within one target; all by default.
    #[serde(default)]
    pub parallelism: Option<u32>,
    /// Accepted for other engines' sake.
    #[serde(default)]
    pub ignore_terraform_component: Option<bool>,
    /// Targets at once, from the first object until healthy (and soaked, and pruned); all by default. A share is of the
    /// step's targets, rounded down, and never less than one.
    #[serde(default)]
    pub max_parallel_targets: Option<Amount>,
    /// Which targets go first; as the topologies choose them by default.
    #[serde(default)]
    pub order: Option<Order>,
    /// Targets that go before all others, which wait until these are well.
    #[serde(default)]
    pub canary: Option<Canary>,
    /// How many targets may fail before nothing further begins; a share is of the step's targets, rounded down.
    #[serde(default)]
    pub max_failures: Amount,
    /// How long a target must have been healthy without a break before it counts as done.
    #[serde(default, deserialize_with = "time")]
    pub soak: SignedDuration,
    /// How long one target may take from its turn until it is healthy.
    #[serde(default, deserialize_with = "optional_time")]
    pub target_timeout: Option<SignedDuration>,
    /// What becomes of a target whose cluster doesn't answer.
    #[serde(default)]
    pub on_unreachable: OnUnreachable,
    /// For how long it may not answer before that is decided.
    #[serde(default, deserialize_with = "optional_time")]
    pub unreachable_after: Option<SignedDuration>,
    /// What becomes of a target that was passed over once its cluster answers again.
    #[serde(default)]
    pub on_return: OnReturn,
    /// What becomes of the step when more targets failed than may.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// What becomes of clusters that join the step's placement once the run has begun.
    #[serde(default)]
    pub on_join: OnJoin,
    /// The step's own timeout, where one is written: it isn't among the properties.
    #[serde(skip)]
    pub written_timeout: Option<SignedDuration>,
}

impl Default for DeployProperties {
    fn default() -> Self {
        Self {
            auto: true,
            approval: None,
            on_delete: OnDelete::default(),
            policies: Vec::new(),
            parallelism: None,
            ignore_terraform_component: None,
            max_parallel_targets: None,
            order: None,
            canary: None,
            max_failures: Amount::default(),
            soak: SignedDuration::ZERO,
            target_timeout: None,
            on_unreachable: OnUnreachable::default(),
            unreachable_after: None,
            on_return: OnReturn::default(),
            on_failure: OnFailure::default(),
            on_join: OnJoin::default(),
            written_timeout: None,
        }
    }
}

impl DeployProperties {
    /// Reads what stands in a step.
    ///
    /// # Errors
    /// What is wrong, with the field that it is in.
    pub(super) fn read(properties: &serde_json::Value) -> Result<Self, String> {
        let mut deploy: Self = read_properties(properties)?;
        if deploy.approval.is_some() {
            if properties.get("auto") == Some(&serde_json::Value::Bool(true)) {
                return Err(
                    "approval: with auto: true nobody is asked; leave auto out, or approval".to_owned()
                );
            }
            deploy.auto = false;
        }
        if deploy.parallelism == Some(0) {
            return Err("parallelism: must be at least 1".to_owned());
        }
        deploy.check()?;
        Ok(deploy)
    }

    /// The same in a step that says how long it may take as a whole.
    ///
    /// # Errors
    /// Where no target could ever be done within it.
    pub(super) fn within(mut self, timeout: Option<SignedDuration>) -> Result<Self, String> {
        if let Some(timeout) = timeout {
            for (field, soak) in [("soak", self.soak), ("canary.soak", self.soak_of(true))] {
                if soak >= timeout {
                    return Err(format!(
                        "{field}: {soak:#} isn't shorter than the step's timeout of {timeout:#}, so no target could ever be done; give the step more time, or soak for less"
                    ));
                }
            }
        }
        self.written_timeout = timeout;
        Ok(self)
    }

    /// What single fields can't say.
    fn check(&self) -> Result<(), String> {
        if self.max_parallel_targets.is_some_and(Amount::is_none) {
            return Err("maxParallelTargets: must be at least 1, or 1%".to_owned());
        }
        if let Some(canary) = &self.canary {
            canary.check()?;
        }
        if self.on_unreachable == OnUnreachable::Wait && self.unreachable_after.is_some() {
            return Err("unreachableAfter: onUnreachable is Wait, which waits until the step's timeout; write onUnreachable: Skip or Fail with it, or leave it out".to_owned());
        }
        if self.target_timeout == Some(SignedDuration::ZERO) {
            return Err("targetTimeout: must be more than nothing".to_owned());
        }
        Ok(())
    }

    /// How long a target must stay healthy.
    pub fn soak_of(&self, canary: bool) -> SignedDuration {
        match &self.canary {
            Some(group) if canary => group.soak.unwrap_or(self.soak),
            _ => self.soak,
        }
    }

    /// How long one target may take from its turn until it is healthy; nothing where only the whole step is bounded.
    pub fn time_of_target(&self) -> Option<SignedDuration> {
        let unwritten = self.written_timeout.is_none().then_some(DEFAULT_TIMEOUT);
        self.target_timeout.or(unwritten)
    }

    /// How long the step may take with so many targets: as is written, else as long as its waves may take one after
    /// another.
    pub fn time_of_step(&self, targets: usize) -> SignedDuration {
        if let Some(written) = self.written_timeout {
            return written;
        }
        let at_once = self.at_once(targets).max(1);
        let waves = targets.div_ceil(at_once).max(1) + usize::from(self.canary.is_some());
        let waves = i32::try_from(waves).unwrap_or(i32::MAX);
        let one = self.time_of_target().unwrap_or(DEFAULT_TIMEOUT);
        let one = one.saturating_add(self.soak.max(self.soak_of(true)));
        one.checked_mul(waves).unwrap_or(SignedDuration::MAX)
    }

    /// How many targets may be under way at once.
    pub fn at_once(&self, targets: usize) -> usize {
        self.max_parallel_targets.map_or(usize::MAX, |amount| amount.of(targets).max(1))
    }

    /// How long a cluster may be silent, where that decides anything.
    pub fn patience(&self) -> Option<SignedDuration> {
        let after = self.unreachable_after.unwrap_or(DEFAULT_UNREACHABLE_AFTER);
        (self.on_unreachable != OnUnreachable::Wait).then_some(after)
    }
}

fn yes() -> bool {
    true
}
