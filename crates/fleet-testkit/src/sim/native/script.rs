//! Scripts about policies, from a seed: a numbering of their own, so that other seeds stay what they were.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Act, Inputs, OBJECTS, OVERRIDES, Override, POLICIES, Places, Policy, Selects, Source};
use crate::sim::chance::Chance;
use crate::sim::script::{Action, Script, broken_watches, crash, fault, pause, weather};

const MEMBERS: usize = 3;

fn some(chance: &mut Chance, of: usize, share: u64) -> BTreeSet<usize> {
    let mut some: BTreeSet<usize> = (0..of).filter(|_| chance.percent(share)).collect();
    if some.is_empty() {
        some.insert(chance.below(of));
    }
    some
}

fn source(chance: &mut Chance, value: u64) -> Source {
    Source { value, replicas: chance.between(1, 6), marked: chance.percent(40) }
}

fn selects(chance: &mut Chance) -> Selects {
    match chance.below(5) {
        0 => Selects::Deployments,
        1 => Selects::Marked,
        _ => Selects::Names(some(chance, OBJECTS, 40)),
    }
}

fn places(chance: &mut Chance) -> Places {
    match chance.below(5) {
        0 => Places::All,
        1 => Places::Near,
        _ => Places::Names(some(chance, MEMBERS, 50)),
    }
}

fn weights(chance: &mut Chance) -> Option<[u64; 3]> {
    chance.percent(50).then(|| [chance.between(1, 3), chance.between(1, 3), chance.between(1, 3)])
}

fn policy(chance: &mut Chance) -> Policy {
    Policy {
        priority: chance.between(0, 2),
        preempts: chance.percent(40),
        selects: selects(chance),
        places: places(chance),
        weights: weights(chance),
        mask: None,
        prunes: chance.percent(80),
        preserves: chance.percent(20),
        overwrites: chance.percent(40),
    }
}

/// The next version: one or two things are different.
fn edited(chance: &mut Chance, mut now: Policy) -> Policy {
    for _ in 0..=chance.below(2) {
        match chance.below(12) {
            0..=3 => now.places = places(chance),
            4 => now.selects = selects(chance),
            5 => now.weights = weights(chance),
            6..=8 => {
                let masks = now.mask.is_none() || chance.percent(50);
                now.mask = masks.then(|| (0..MEMBERS).filter(|_| chance.percent(50)).collect());
            }
            9 => now.prunes = !now.prunes,
            10 => now.preserves = !now.preserves,
            _ => (now.priority, now.preempts) = (chance.between(0, 2), chance.percent(50)),
        }
    }
    now
}

fn override_policy(chance: &mut Chance, value: u64) -> Override {
    Override { selects: selects(chance), clusters: some(chance, MEMBERS, 50), value }
}

impl Script {
    /// The script about policies of a seed.
    pub fn of_policies(seed: u64) -> Self {
        let mut chance = Chance::new(seed ^ 0x0d15_7a1b);
        let replicas = match chance.below(10) {
            0..=6 => 1,
            7 | 8 => 2,
            _ => 3,
        };
        let outer_weather = weather(&mut chance, seed);
        let hub_weather = if chance.percent(15) {
            weather(&mut chance, seed ^ 0xb0b)
        } else {
            fleet_sim::Weather::default()
        };
        let mut inputs = Inputs::default();
        let mut value = 0;
        let mut actions = Vec::new();
        for object in some(&mut chance, OBJECTS, 60) {
            value += 1;
            inputs.objects.insert(object, source(&mut chance, value));
        }
        for index in some(&mut chance, POLICIES, 45) {
            inputs.policies.insert(index, policy(&mut chance));
        }
        for (object, source) in &inputs.objects {
            actions.push((Duration::ZERO, Act::Object(*object, Some(source.clone()))));
        }
        for (index, policy) in &inputs.policies {
            actions.push((Duration::ZERO, Act::Policy(*index, Some(policy.clone()))));
        }
        if chance.percent(50) {
            actions.reverse();
        }
        let mut actions: Vec<(Duration, Action)> =
            actions.into_iter().map(|(pause, act)| (pause, Action::Native(act))).collect();
        for _ in 0..chance.between(2, 14) {
            let pause = pause(&mut chance);
            let Some(action) = action(&mut chance, &mut inputs, &mut value, replicas) else { continue };
            actions.push((pause, action));
        }
        let weather = outer_weather;
        Self { seed, members: MEMBERS, replicas, weather, hub_weather, policies: true, actions }
    }
}

fn action(chance: &mut Chance, inputs: &mut Inputs, value: &mut u64, replicas: usize) -> Option<Action> {
    Some(match chance.below(34) {
        0..=6 => {
            let object = chance.below(OBJECTS);
            *value += 1;
            let next = match inputs.objects.get(&object) {
                Some(_) if chance.percent(20) => None,
                Some(now) if chance.percent(30) => {
                    Some(Source { replicas: chance.between(1, 6), ..now.clone() })
                }
                Some(now) => Some(Source { value: *value, ..now.clone() }),
                None => Some(source(chance, *value)),
            };
            match &next {
                Some(next) => drop(inputs.objects.insert(object, next.clone())),
                None => drop(inputs.objects.remove(&object)),
            }
            Action::Native(Act::Object(object, next))
        }
        7..=15 => {
            let index = chance.below(POLICIES);
            let next = match inputs.policies.get(&index) {
                Some(_) if chance.percent(15) => None,
                Some(now) => Some(edited(chance, now.clone())),
                None => Some(policy(chance)),
            };
            match &next {
                Some(next) => drop(inputs.policies.insert(index, next.clone())),
                None => drop(inputs.policies.remove(&index)),
            }
            Action::Native(Act::Policy(index, next))
        }
        16 | 17 => {
            let index = chance.below(OVERRIDES);
            *value += 1;
            let there = inputs.overrides.contains_key(&index);
            let next = (!there || chance.percent(70)).then(|| override_policy(chance, *value));
            match &next {
                Some(next) => drop(inputs.overrides.insert(index, next.clone())),
                None => drop(inputs.overrides.remove(&index)),
            }
            Action::Native(Act::Override(index, next))
        }
        18 | 19 => Action::Native(Act::Label(chance.below(MEMBERS), chance.percent(60))),
        20 | 21 => Action::Native(Act::Change {
            object: chance.below(OBJECTS),
            member: chance.below(MEMBERS),
            deletes: chance.percent(40),
        }),
        22 => Action::Membership(chance.below(MEMBERS), chance.percent(50)),
        23 => Action::Cordon(chance.below(MEMBERS), chance.percent(60)),
        24 | 25 => fault(chance, MEMBERS),
        26 | 27 => Action::Unwell(chance.below(MEMBERS), Duration::from_secs(chance.between(1, 120))),
        28 => broken_watches(chance, MEMBERS),
        29..=32 => crash(chance, replicas),
        _ => Action::Restore(chance.below(MEMBERS), chance.percent(50)),
    })
}
