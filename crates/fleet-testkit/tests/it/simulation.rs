//! The whole system under seeded scripts; `cargo xtask simulate` runs as many as wanted.

use fleet_testkit::sim::{self, Base, Script};

/// Seeds that ordinary tests play, in a few seconds; the same each time, so that a failure is one of the change.
const SEEDS: std::ops::Range<u64> = 0..12;
/// The same of scripts about policies. Of these, 7 gave up what was ready for what wasn't yet, and 15 turned in circles as long
/// as the hub hadn't listed a kind of policy.
const SEEDS_OF_POLICIES: std::ops::Range<u64> = 0..16;
/// More of these. In 79 a status was written against an older one than the hub had, and what came of it was taken for what was
/// asked for; in 6772 replicas were counted as they were on record, and in 6813 as they had been told to a cluster that didn't
/// answer, while more ran; in 7310 what was deleted before a crash came back where nothing fits; in 8467 what had just been
/// released was still taken for ours; in 8995 what was being deleted counted as ready. In 5767 the judge counted what a cluster
/// had when it left.
const MORE_SEEDS_OF_POLICIES: [u64; 7] = [79, 5767, 6772, 6813, 7310, 8467, 8995];

#[test]
fn seeded_scripts_break_no_rule() -> anyhow::Result<()> {
    let base = Base::new()?;
    let scripts =
        SEEDS.map(Script::of).chain(SEEDS_OF_POLICIES.chain(MORE_SEEDS_OF_POLICIES).map(Script::of_policies));
    for script in scripts {
        let seed = script.seed;
        let outcome = sim::run(&base, &script)?;
        assert!(outcome.events > 0, "seed {seed}: nothing was written");
        if let Some(violation) = outcome.violation {
            let (fewest, violation) = sim::shrunk(&base, script, violation);
            panic!("{violation}\n{fewest}\nagain: cargo xtask simulate --seed {seed}");
        }
    }
    Ok(())
}

/// A failing seed is of use only if it fails again.
#[test]
fn a_seed_replays() -> anyhow::Result<()> {
    let base = Base::new()?;
    for seed in [3, 4] {
        let (one, two) = (sim::run(&base, &Script::of(seed))?, sim::run(&base, &Script::of(seed))?);
        assert_eq!(one.seconds, two.seconds, "seed {seed}");
    }
    Ok(())
}
