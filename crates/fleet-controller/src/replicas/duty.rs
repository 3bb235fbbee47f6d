//! What one replica does alone, and which one.

use std::fmt;

/// Something that exactly one replica does at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Duty {
    /// An Application, by namespace and name: its runs, deliveries, repairs and status.
    Application(String, String),
    /// A member, by name: the upkeep of its ManagedCluster.
    Cluster(String),
    /// What policies distribute, all of it.
    Distribution,
}

impl fmt::Display for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Application(namespace, name) => write!(f, "application {namespace}/{name}"),
            Self::Cluster(name) => write!(f, "cluster {name}"),
            Self::Distribution => f.write_str("distribution"),
        }
    }
}

impl Duty {
    /// Who of these does it: the one with the highest weight (Thaler and Ravishankar, "Using name-based mappings to
    /// increase hit rates", 1998). When a replica goes, only what it did moves; when one comes, only what it gets.
    ///
    /// Replicas of different versions meet during an upgrade, so this must never change.
    pub fn winner<'a>(&self, replicas: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        let key = self.hash();
        replicas.into_iter().max_by_key(|replica| (weight(key, replica), *replica))
    }

    fn hash(&self) -> u64 {
        // Names hold no slashes, so no two duties read the same.
        match self {
            Self::Application(namespace, name) => [b"application", namespace.as_bytes(), name.as_bytes()]
                .iter()
                .fold(FNV_OFFSET, |hash, part| fnv(fnv(hash, part), b"/")),
            Self::Cluster(name) => {
                [b"cluster", name.as_bytes()].iter().fold(FNV_OFFSET, |hash, part| fnv(fnv(hash, part), b"/"))
            }
            Self::Distribution => fnv(FNV_OFFSET, b"distribution/"),
        }
    }
}

/// FNV-1a's offset basis and prime for 64 bits (RFC 9923).
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// FNV mixes its last bytes poorly, which would favour one replica; splitmix64's finish evens that out.
fn weight(key: u64, replica: &str) -> u64 {
    let mut mixed = fnv(key, replica.as_bytes());
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn duties(count: usize) -> Vec<Duty> {
        let application = |n| Duty::Application(format!("team-{}", n % 7), format!("app-{n}"));
        (0..count).map(application).chain((0..count / 10).map(|n| Duty::Cluster(format!("mc-{n}")))).collect()
    }

    fn replicas() -> impl Strategy<Value = BTreeSet<String>> {
        proptest::collection::btree_set("fleetctl-[a-z0-9]{5}-[a-z0-9]{5}", 1..6)
    }

    fn winners(duties: &[Duty], replicas: &BTreeSet<String>) -> Vec<String> {
        let winner = |duty: &Duty| duty.winner(replicas.iter().map(String::as_str)).expect("somebody");
        duties.iter().map(|duty| winner(duty).to_owned()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// A replica that gets most of the work makes the others useless. Shares vary by chance as names do:
        /// this many duties keep a fair vote six standard deviations inside the bound.
        #[test]
        fn everybody_gets_a_fair_share(replicas in replicas()) {
            let duties = duties(6000);
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for winner in winners(&duties, &replicas) {
                *counts.entry(winner).or_default() += 1;
            }
            let fair = duties.len() / replicas.len();
            for replica in &replicas {
                let count = counts.get(replica).copied().unwrap_or_default();
                prop_assert!(count * 100 > fair * 85 && count * 100 < fair * 115, "{replica} has {count} of {fair}");
            }
        }

        /// What moves without need is stopped, read anew and watched anew for nothing.
        #[test]
        fn only_what_must_move_moves(replicas in replicas(), joiner in "joiner-[a-z0-9]{5}") {
            let duties = duties(300);
            let before = winners(&duties, &replicas);
            let mut more = replicas;
            more.insert(joiner.clone());
            for (before, after) in before.iter().zip(winners(&duties, &more)) {
                prop_assert!(*before == after || after == joiner);
            }
        }
    }

    /// Two versions side by side must agree; a changed hash fails here.
    #[test]
    fn the_vote_never_changes() {
        let replicas = ["a", "b", "c"];
        let winner = |duty: Duty| duty.winner(replicas).expect("somebody");
        let won: Vec<&str> = (0..12)
            .map(|n| winner(Duty::Application("demo".to_owned(), format!("app-{n}"))))
            .chain((0..4).map(|n| winner(Duty::Cluster(format!("mc-{n}")))))
            .collect();
        assert_eq!(won.concat(), "ccbacbbcccbaabab");
        assert_eq!(Duty::Cluster("x".to_owned()).winner([]), None);
    }
}
