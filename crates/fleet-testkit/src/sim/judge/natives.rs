//! What policies distribute: who isn't asked is left alone, what is held stays, nothing goes before others are ready.
//!
//! Whoever distributes hears of what users say a moment later, and sends what it decided a moment later still: what it
//! does is right where it was right at some time shortly before it began to send.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet_api::names;
use fleet_store::{Event, EventKind};
use serde_json::Value;
use tokio::time::Instant;

use super::{Known, Verdict};
use crate::sim::native::{
    Inputs, Policy, STRANGER, Source, is_deployment, object_name, object_of, overridden, value_of,
};
use crate::sim::record::{Record, Sent};
use crate::sim::wanted::{NAMESPACE, member_of};

const STRANGERS: &str = "nothing of others is touched";
const MASKS: &str = "nothing moves on a masked cluster";
const WANTED: &str = "what policies bring is what they say";
const LEAVES: &str = "nothing is taken away that a policy wants there, or leaves there";
const READY: &str = "never fewer ready than asked for while something moves";
const LISTED: &str = "what policies bring is on record before it is created";

/// What was said this long before may still be acted on: watches break and are late.
const A_MOMENT: Duration = Duration::from_secs(60);

/// What is known of distributed objects.
#[derive(Default)]
pub(super) struct Natives {
    /// As they stand on members.
    live: BTreeMap<(usize, usize), Value>,
    /// What policies brought there.
    brought: BTreeMap<(usize, usize), BTreeSet<Shown>>,
    /// When users changed something of an object on a member, in revisions.
    touched: BTreeMap<usize, u64>,
}

/// What users see of an object: its value, the labels of overrides, its replicas.
type Shown = (Option<u64>, BTreeMap<String, u64>, u64);

fn shown(object: usize, found: &Value) -> Shown {
    (value_of(object, found), overridden(found), replicas(found))
}

/// A change on a member by whoever distributes.
struct Deed<'a> {
    object: usize,
    member: usize,
    before: Option<&'a Value>,
    /// Nothing where it was deleted.
    after: Option<&'a Value>,
    began: Instant,
}

fn owned(object: &Value) -> bool {
    object.pointer("/metadata/labels").and_then(|labels| labels.get(names::OWNER)).is_some()
}

fn replicas(object: &Value) -> u64 {
    object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(0)
}

fn ready(object: &Value) -> u64 {
    object.pointer("/status/readyReplicas").and_then(Value::as_u64).unwrap_or(0)
}

/// What isn't status, nor the server's own.
fn content(object: &Value) -> Value {
    let mut content = object.clone();
    if let Some(fields) = content.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = content.get_mut("metadata").and_then(Value::as_object_mut) {
        for own in ["managedFields", "resourceVersion", "generation", "annotations"] {
            metadata.remove(own);
        }
    }
    content
}

/// What users had said at some time since a moment before.
fn lately(record: &Record, began: Instant) -> Vec<&Inputs> {
    let since = began.checked_sub(A_MOMENT);
    let until = |at: usize| record.inputs.get(at + 1).map(|(until, _)| *until);
    let said = record.inputs.iter().enumerate();
    said.filter(|(at, (from, _))| {
        *from <= began && until(*at).is_none_or(|until| since.is_none_or(|since| until >= since))
    })
    .map(|(_, (_, inputs))| inputs)
    .collect()
}

/// The request that a write came of.
fn request<'r>(record: &'r Record, event: &Event) -> Option<&'r Sent> {
    record.sent.iter().find(|sent| {
        sent.before < event.revision
            && event.revision <= sent.after
            && sent.name == *event.key.name
            && sent.cluster == *event.key.cluster
    })
}

impl Known<'_> {
    pub(super) fn native(&mut self, event: &Event) -> Verdict {
        if &*event.key.namespace != NAMESPACE {
            return Ok(());
        }
        let Some(member) = member_of(&event.key.cluster) else { return Ok(()) };
        let by_users = self.record.by_users.contains(&event.revision);
        if &*event.key.name == STRANGER && !by_users {
            return Err((STRANGERS, event.key.to_string()));
        }
        let Some(object) = object_of(&event.key.name) else { return Ok(()) };
        let deleted = event.kind == EventKind::Deleted;
        let parse = |text: &[u8]| serde_json::from_slice::<Value>(text).ok();
        let after = if deleted { None } else { parse(&event.value) };
        let before = event.previous.as_ref().and_then(|before| parse(before));
        let mut verdict = Ok(());
        if by_users {
            self.natives.touched.insert(object, event.revision);
        } else if before.as_ref().map(content) != after.as_ref().map(content)
            && let Some(sent) = request(self.record, event)
        {
            let (before, after) = (before.as_ref(), after.as_ref());
            let deed = Deed { object, member, before, after, began: sent.began };
            verdict = self.deed(&deed, event.revision);
            if let Some(after) = after {
                self.natives.brought.entry((member, object)).or_default().insert(shown(object, after));
            }
        }
        match after {
            Some(after) => drop(self.natives.live.insert((member, object), after)),
            None => drop(self.natives.live.remove(&(member, object))),
        }
        verdict
    }

    fn deed(&self, deed: &Deed<'_>, revision: u64) -> Verdict {
        let place = format!("{} on m{}", object_name(deed.object), deed.member);
        let said = lately(self.record, deed.began);
        if deed.before.is_some_and(|before| !owned(before)) {
            let takes_over =
                |inputs: &&Inputs| inputs.holders(deed.object).iter().any(|policy| policy.overwrites);
            if deed.after.is_none() || !said.iter().any(takes_over) {
                return Err((STRANGERS, place));
            }
        }
        match deed.after.filter(|after| owned(after)) {
            Some(after) => {
                if deed.before.is_none() && !self.natively_listed(deed) && !self.leaves_meanwhile(deed) {
                    return Err((LISTED, place));
                }
                self.brings(deed, after, &said, &place)?;
            }
            None => self.takes(deed, &said, &place)?,
        }
        self.keeps_ready(deed, &said, revision, &place)
    }

    /// Something comes, or becomes something else.
    fn brings(&self, deed: &Deed<'_>, after: &Value, said: &[&Inputs], place: &str) -> Verdict {
        let value = value_of(deed.object, after);
        let brought = self.natives.brought.get(&(deed.member, deed.object));
        // What is changed on a member is put right, to what it was.
        let touched = self.natives.touched.contains_key(&deed.object);
        let mended = brought.is_some_and(|brought| brought.contains(&shown(deed.object, after)))
            && (deed.before.is_some() || touched);
        // What leaves stays until others are ready; who deletes it meanwhile gets it back.
        let stood = deed.before.is_some() || touched && brought.is_some();
        let labels = overridden(after);
        // The hub's kinds have a watch each. An override may be heard of before its object is heard to be deleted: what it
        // is about for that moment leaves with everything else.
        let say_so = |inputs: &&Inputs| {
            let by = |source: &Source| inputs.labels_of(deed.object, source, deed.member) == labels;
            match inputs.objects.get(&deed.object) {
                Some(source) => by(source),
                None => said.iter().filter_map(|before| before.objects.get(&deed.object)).any(by),
            }
        };
        if !mended && !said.iter().any(say_so) {
            return Err((WANTED, format!("{place}: no override policy says {labels:?} there")));
        }
        let mut why = (WANTED, format!("{place} = {value:?}: no policy wants it there"));
        let mut values = BTreeSet::new();
        for inputs in said {
            // A policy may be heard of before an earlier edit of its object is; the other way round it is read anew.
            values.insert(inputs.objects.get(&deed.object).map(|source| source.value));
            for policy in inputs.holders(deed.object) {
                let here = inputs.places(policy).contains(&deed.member) || stood;
                if !here || !values.contains(&value) {
                    continue;
                }
                if policy.holds(deed.member) && !mended {
                    why = (MASKS, format!("{place} = {value:?}"));
                    continue;
                }
                return Ok(());
            }
        }
        if mended { Ok(()) } else { Err(why) }
    }

    /// Something goes, or becomes nobody's.
    fn takes(&self, deed: &Deed<'_>, said: &[&Inputs], place: &str) -> Verdict {
        let released = deed.after.is_some();
        let mut why = (LEAVES, format!("{place} goes (released: {released})"));
        // Without its policy nobody knows which one it was.
        let ever: Vec<&Policy> =
            self.record.inputs.iter().flat_map(|(_, inputs)| inputs.policies.values()).collect();
        for inputs in said {
            let holders = inputs.holders(deed.object);
            let on_the_hub = inputs.objects.contains_key(&deed.object);
            let fits = |policy: &&Policy| {
                if on_the_hub { policy.prunes != released } else { policy.preserves == released }
            };
            if holders.is_empty() {
                if ever.iter().any(fits) {
                    return Ok(());
                }
                continue;
            }
            for policy in holders {
                let places = inputs.places(policy);
                // Divided, one of them may get nothing.
                let wants = places.contains(&deed.member)
                    && !(policy.weights.is_some() && is_deployment(deed.object) && places.len() > 1);
                if places.is_empty() || wants || !fits(&policy) {
                    continue;
                }
                if policy.holds(deed.member) {
                    why = (MASKS, format!("{place} goes (released: {released})"));
                    continue;
                }
                return Ok(());
            }
        }
        Err(why)
    }

    /// Whoever is to have fewer gives them up when enough are ready.
    fn keeps_ready(&self, deed: &Deed<'_>, said: &[&Inputs], revision: u64, place: &str) -> Verdict {
        let Some(before) = deed.before.filter(|before| is_deployment(deed.object) && owned(before)) else {
            return Ok(());
        };
        let after = deed.after.filter(|after| owned(after)).map_or(0, replicas);
        // What users did at members takes a while to be put right.
        let touched = self.natives.touched.get(&deed.object);
        if after >= replicas(before) || touched.is_some_and(|at| revision < at + 2_000) {
            return Ok(());
        }
        let mut asked = u64::MAX;
        let mut content = BTreeSet::new();
        for inputs in said {
            let holders = inputs.holders(deed.object);
            if holders.is_empty() || inputs.there.len() < 3 {
                return Ok(());
            }
            for policy in holders {
                let Some(all) = inputs.asked(deed.object, policy) else { return Ok(()) };
                if policy.weights.is_none() {
                    // Copies are another count.
                    return Ok(());
                }
                asked = asked.min(all);
            }
            content.insert(inputs.objects.get(&deed.object).map(|source| source.value));
        }
        // What becomes something else may be ready a little less.
        if content.len() > 1 {
            return Ok(());
        }
        let sum = |here: u64| -> u64 {
            let others = self.natives.live.iter().filter(|((member, object), found)| {
                *object == deed.object && *member != deed.member && owned(found)
            });
            others.map(|(_, found)| ready(found).min(replicas(found))).sum::<u64>() + here
        };
        let (was, is) = (sum(ready(before).min(replicas(before))), sum(ready(before).min(after)));
        if is < asked.min(was) {
            return Err((READY, format!("{place}: of {asked} {is} are ready, {was} were before")));
        }
        Ok(())
    }

    /// Whether a cluster is taken out of the fleet while something is on its way there, or just before that is heard of.
    fn leaves_meanwhile(&self, deed: &Deed<'_>) -> bool {
        let was_there = |inputs: &&Inputs| inputs.there.contains(&deed.member);
        let soon = deed.began + A_MOMENT;
        let after = self.record.inputs.iter().filter(|(at, _)| *at >= deed.began && *at <= soon);
        let mut said = self.record.inputs.iter().rfind(|(at, _)| *at < deed.began).into_iter().chain(after);
        lately(self.record, deed.began).iter().any(was_there)
            && said.any(|(_, inputs)| !inputs.there.contains(&deed.member))
    }

    fn natively_listed(&self, deed: &Deed<'_>) -> bool {
        let name = object_name(deed.object);
        let cluster = format!("m{}", deed.member);
        let all = self.inventories.iter().filter(|(of, _)| of.starts_with("propagation-"));
        let mut here = all.flat_map(|(_, inventory)| {
            inventory.targets.iter().filter(|entry| entry.target.cluster == cluster)
        });
        here.any(|entry| entry.objects.keys().any(|id| id.name == name))
    }
}
