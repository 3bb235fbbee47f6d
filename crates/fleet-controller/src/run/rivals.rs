//! Steps that may act at once and would undo each other.

use std::collections::BTreeMap;

use fleet_api::{ObjectId, Target};
use serde_json::Value;

use crate::Problem;
use crate::records::revision::Loaded;

/// Refuses steps that may act at once and deliver one object to one target, each its own: whichever came second would
/// undo the other, and neither would ever be done.
///
/// # Errors
/// The steps, the object and the target.
pub(crate) fn refuse(revision: &Loaded, placed: &[Vec<Target>]) -> Result<(), Problem> {
    let one_by_one = !revision.content.dag && revision.content.steps.iter().all(|step| step.group.is_none());
    if one_by_one {
        return Ok(());
    }
    let mut at: BTreeMap<&Target, Vec<usize>> = BTreeMap::new();
    for (index, targets) in placed.iter().enumerate() {
        for target in targets {
            at.entry(target).or_default().push(index);
        }
    }
    // Where one step delivers to a thousand targets together with another, one of them tells as much as all.
    let mut seen: BTreeMap<(usize, usize), &Target> = BTreeMap::new();
    for (target, steps) in at {
        for (place, one) in steps.iter().enumerate() {
            for other in steps.iter().skip(place + 1) {
                seen.entry((*one, *other)).or_insert(target);
            }
        }
    }
    for ((one, other), target) in seen {
        let contents = revision.content.steps.get(one).zip(revision.content.steps.get(other));
        let Some((first, second)) = contents else { continue };
        let Some(id) = differs(&first.objects, &second.objects) else { continue };
        if revision.graph.concurrent(one, other) {
            let (first, second) = (&first.step.name, &second.step.name);
            let message = format!(
                "workflow: steps {first:?} and {second:?} may act at once, and each delivers its own {} {} to {target}; let one wait for the other: dependsOn: [{first}]",
                id.kind, id.name
            );
            return Err(Problem::wrong("ConcurrentSteps", message));
        }
    }
    Ok(())
}

/// The first object that both deliver, and not alike.
fn differs(first: &[(String, Value)], second: &[(String, Value)]) -> Option<ObjectId> {
    let known: BTreeMap<ObjectId, &Value> =
        second.iter().filter_map(|(_, object)| Some((ObjectId::of(object)?, object))).collect();
    let mut both = first.iter().filter_map(|(_, object)| Some((ObjectId::of(object)?, object)));
    both.find(|(id, object)| known.get(id).is_some_and(|other| other != object)).map(|(id, _)| id)
}
