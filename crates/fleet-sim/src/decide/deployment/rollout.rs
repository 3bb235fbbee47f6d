//! From the old ReplicaSets to the new one, one step at a time.

use super::replica_sets::Sets;
use crate::object::pod_active;
use crate::world::Held;

/// Rolling update: the new set grows as far as the surge allows, the old ones shrink as far as availability allows.
pub(super) fn roll(sets: &mut Sets<'_>) {
    let room = sets.replicas + sets.surge() - sets.total();
    let replicas = sets.replicas;
    match &mut sets.new {
        None => {
            let others = sets.total();
            let want = (sets.replicas + sets.surge() - others).clamp(0, sets.replicas);
            sets.plan_new(want);
        }
        Some(new) if new.want > replicas => new.resize(replicas),
        Some(new) if new.want < replicas && room > 0 => {
            let want = replicas.min(new.want + room);
            new.resize(want);
        }
        Some(_) => {}
    }
    shrink_old(sets);
}

fn shrink_old(sets: &mut Sets<'_>) {
    let minimum = sets.replicas - sets.unavailable();
    let unavailable_new = sets.new.as_ref().map_or(0, |new| new.want - new.available());
    let mut room = sets.total() - minimum - unavailable_new;
    // First those that don't run anyway: they may stand in the way for ever.
    for set in &mut sets.old {
        let unhealthy = (set.want - set.available()).clamp(0, room.max(0));
        if unhealthy > 0 {
            set.resize(set.want - unhealthy);
            room -= unhealthy;
        }
    }
    let available: i64 = sets.all().map(|set| set.available()).sum();
    let mut healthy = (available - minimum).min(room);
    for set in &mut sets.old {
        let gone = set.want.min(healthy.max(0));
        if gone > 0 {
            set.resize(set.want - gone);
            healthy -= gone;
        }
    }
}

/// Recreate: nothing new before everything old is gone. `pods` is `None` where only counts are kept.
pub(super) fn recreate(sets: &mut Sets<'_>, pods: Option<&[&Held]>) {
    let mut shrinking = false;
    for set in sets.old.iter_mut().filter(|set| set.want > 0) {
        set.resize(0);
        shrinking = true;
    }
    let running = match pods {
        Some(pods) => {
            let new = sets.new.as_ref().map(|new| new.name.as_str());
            pods.iter().any(|pod| {
                let owner =
                    crate::object::controller(&pod.value).map(|owner| crate::object::text(owner, "/name"));
                owner != new && (pod_active(&pod.value) || crate::object::deleting(&pod.value))
            })
        }
        None => sets.old.iter().any(|set| set.status("replicas") > 0),
    };
    if shrinking || running {
        return;
    }
    let replicas = sets.replicas;
    match &mut sets.new {
        None => sets.plan_new(replicas),
        Some(new) if new.want != replicas => new.resize(replicas),
        Some(_) => {}
    }
}
