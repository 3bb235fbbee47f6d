//! The fewest actions that still break the same rule.

use fleet_sim::Weather;

use super::{Base, Script, Violation, run};

/// How many plays shrinking may take.
const PLAYS: usize = 150;
/// A script that breaks a rule only in some orders of one instant gets so many tries.
const TRIES: usize = 2;

/// Takes away what isn't needed: chunks of actions, then single ones, weather, replicas.
pub fn shrunk(base: &Base, script: Script, violation: Violation) -> (Script, Violation) {
    let (mut best, mut seen) = (script, violation);
    let mut plays = 0;
    let mut breaks = |candidate: &Script, check: &str| {
        for _ in 0..TRIES {
            if plays >= PLAYS {
                return None;
            }
            plays += 1;
            let found = run(base, candidate).ok().and_then(|outcome| outcome.violation);
            if let Some(found) = found.filter(|found| found.check == check) {
                return Some(found);
            }
        }
        None
    };
    let check = seen.check;
    for simpler in [
        |script: &mut Script| script.hub_weather = Weather::default(),
        |script: &mut Script| script.weather = Weather::default(),
        |script: &mut Script| script.replicas = 1,
    ] {
        let mut candidate = best.clone();
        simpler(&mut candidate);
        if candidate != best
            && let Some(found) = breaks(&candidate, check)
        {
            (best, seen) = (candidate, found);
        }
    }
    let mut chunk = best.actions.len().div_ceil(2);
    while chunk > 0 {
        let mut from = 0;
        while from < best.actions.len() {
            let mut candidate = best.clone();
            let until = (from + chunk).min(candidate.actions.len());
            let gone: std::time::Duration =
                candidate.actions.drain(from..until).map(|(pause, _)| pause).sum();
            // What comes after keeps its time.
            if let Some((pause, _)) = candidate.actions.get_mut(from) {
                *pause += gone;
            }
            match breaks(&candidate, check) {
                Some(found) => (best, seen) = (candidate, found),
                None => from += chunk,
            }
        }
        chunk /= 2;
    }
    (best, seen)
}
