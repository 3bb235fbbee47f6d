//! What runs and can't be divided anew.

use crate::decide::{Decision, Placed};

impl Decision {
    /// The decision for what members can't change once they have it, such as the completions of a Job: what was divided
    /// stays as it was divided, and is divided nowhere else. Where each cluster has all of it, others may get it, too.
    ///
    /// `replicas` are those that it asks for now. With whether anything would be otherwise.
    #[must_use]
    pub fn of_running(self, before: &Placed, replicas: Option<u64>) -> (Self, bool) {
        let divides = |placed: &Placed| placed.shares.values().any(Option::is_some);
        let (divided, now) = (divides(before), divides(&self.placed));
        if before.shares.is_empty() || (!divided && !now) {
            return (self, false);
        }
        let sum: u64 = before.shares.values().flatten().sum();
        let same = divided == now
            && self.placed.shares.keys().eq(before.shares.keys())
            && (!divided || replicas.is_none_or(|asked| asked == sum));
        (Self { placed: before.clone(), shortfall: None, wake_at: None, ..self }, !same)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn placed(shares: &[(&str, Option<u64>)]) -> Placed {
        let shares: BTreeMap<String, Option<u64>> =
            shares.iter().map(|(cluster, share)| ((*cluster).to_owned(), *share)).collect();
        Placed { shares, ..Placed::default() }
    }

    fn of_running(
        before: &[(&str, Option<u64>)],
        now: &[(&str, Option<u64>)],
        replicas: Option<u64>,
    ) -> (BTreeMap<String, Option<u64>>, bool) {
        let decision = Decision { placed: placed(now), ..Decision::default() };
        let (kept, otherwise) = decision.of_running(&placed(before), replicas);
        (kept.placed.shares, otherwise)
    }

    /// Broken: a Job that runs is divided anew, which members refuse; or one that isn't divided never reaches a cluster that
    /// its policy names now, while the policy says that everything is delivered.
    #[test]
    fn only_what_is_divided_stays_where_it_runs() {
        let (one, two) = ([("a", None)], [("a", None), ("b", None)]);
        assert_eq!(of_running(&one, &two, Some(6)), (placed(&two).shares, false));
        assert_eq!(of_running(&two, &one, Some(6)), (placed(&one).shares, false));
        assert_eq!(of_running(&[], &[("a", Some(6))], Some(6)), (placed(&[("a", Some(6))]).shares, false));

        let halves = [("a", Some(3)), ("b", Some(3))];
        assert_eq!(of_running(&halves, &halves, Some(6)), (placed(&halves).shares, false));
        assert_eq!(of_running(&halves, &halves, Some(8)), (placed(&halves).shares, true));
        assert_eq!(of_running(&halves, &[("a", Some(6))], Some(6)), (placed(&halves).shares, true));
        assert_eq!(of_running(&halves, &two, Some(6)), (placed(&halves).shares, true));
        assert_eq!(of_running(&one, &halves, Some(6)), (placed(&one).shares, true));
    }
}
