//! A changed `spec.replicas`: spread over the sets that have pods, so that a rollout under way keeps its proportions.

use super::replica_sets::{Sets, Strategy};

pub(super) fn proportionally(sets: &mut Sets<'_>) {
    let replicas = sets.replicas;
    let changed = sets.is_scaling();
    let active = sets.all().filter(|set| set.want > 0).count();
    if active <= 1 {
        // The one that has pods, else the newest: it alone takes the new size.
        let one = if active == 1 {
            sets.all_mut().find(|set| set.want > 0)
        } else if sets.new.is_some() {
            sets.new.as_mut()
        } else {
            sets.old.last_mut()
        };
        if let Some(one) = one.filter(|one| one.want != replicas || changed) {
            one.resize(replicas);
        }
        return;
    }
    let saturated = sets.new.as_ref().is_some_and(|new| {
        new.want == replicas
            && new.annotated(false) == Some(replicas)
            && new.status("availableReplicas") == replicas
    });
    if saturated {
        sets.old.iter_mut().filter(|set| set.want > 0).for_each(|set| set.resize(0));
        return;
    }
    if !changed {
        return;
    }
    if sets.strategy == Strategy::Recreate {
        // The old ones are about to go: they only learn the new size, or this would be asked for ever.
        sets.all_mut().filter(|set| set.want > 0).for_each(|set| set.resize(set.want));
        return;
    }
    let allowed = if replicas > 0 { replicas + sets.surge() } else { 0 };
    let mut left = allowed - sets.total();
    let growing = left > 0;
    // The largest first: they take most. The newest set comes first among equals.
    let mut order: Vec<_> = sets.all_mut().filter(|set| set.want > 0).collect();
    order.sort_by_key(|set| std::cmp::Reverse(set.want));
    for set in &mut order {
        let max = set.annotated(true).filter(|max| *max > 0).unwrap_or(allowed.max(1));
        // Rounded half up, as the fair share of the new size.
        let [want, size, max] = [set.want, allowed, max].map(i128::from);
        let fair = (2 * want * size + max).div_euclid(2 * max);
        let share = i64::try_from(fair - want).unwrap_or(left);
        let share = if growing { share.clamp(0, left) } else { share.clamp(left.min(0), 0) };
        set.resize(set.want + share);
        left -= share;
    }
    for set in &mut order {
        let before = set.want;
        set.resize(before + left);
        left -= set.want - before;
        if left == 0 {
            break;
        }
    }
}
