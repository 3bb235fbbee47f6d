//! What may move now: the mask, and what is suspended.

use std::collections::BTreeSet;

use fleet_api::propagation::PropagationPolicySpec;

use crate::affinity::resolve_all;
use crate::fleet::Fleet;
use crate::problems::Problems;

/// Which clusters hold the revision that they have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holds {
    mask: Option<BTreeSet<String>>,
    everywhere: bool,
    suspended: BTreeSet<String>,
}

/// Why a cluster holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The mask doesn't name it.
    Masked,
    /// Delivery is suspended, there or everywhere.
    Suspended,
}

impl Holds {
    /// Reads `mask` and `suspension`. A mask names the clusters that may move, by name or alias; left out, all may;
    /// empty, none. A name that means nothing is told, and lets no cluster move.
    pub fn read(spec: &PropagationPolicySpec, fleet: &Fleet, problems: &mut Problems) -> Self {
        let mut named = |list: &[String], path: &str| -> BTreeSet<String> {
            let placed = list.iter().enumerate();
            let placed: Vec<_> =
                placed.map(|(index, name)| (name.clone(), format!("{path}[{index}]"))).collect();
            let found = resolve_all(&placed, fleet, false, problems);
            found.iter().filter_map(|at| Some(fleet.members().get(*at)?.name().to_owned())).collect()
        };
        let mask = spec.mask.as_ref().map(|mask| named(mask, "spec.mask"));
        let suspension = spec.suspension.as_ref();
        let clusters = suspension.and_then(|suspension| suspension.dispatching_on_clusters.as_ref());
        let suspended = clusters.map(|clusters| {
            named(&clusters.cluster_names, "spec.suspension.dispatchingOnClusters.clusterNames")
        });
        let everywhere = suspension.is_some_and(|suspension| suspension.dispatching);
        Self { mask, everywhere, suspended: suspended.unwrap_or_default() }
    }

    /// Why a cluster holds what it has; nothing where it may move.
    #[must_use]
    pub fn holds(&self, cluster: &str) -> Option<Hold> {
        if self.everywhere || self.suspended.contains(cluster) {
            return Some(Hold::Suspended);
        }
        self.mask.as_ref().is_some_and(|mask| !mask.contains(cluster)).then_some(Hold::Masked)
    }
}

impl Hold {
    /// A code that a script can match.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Masked => "Masked",
            Self::Suspended => "Suspended",
        }
    }

    /// The hold of a [`Self::reason`].
    #[must_use]
    pub fn of_reason(reason: &str) -> Option<Self> {
        [Self::Masked, Self::Suspended].into_iter().find(|hold| hold.reason() == reason)
    }

    /// What holds a cluster, and how it is released.
    #[must_use]
    pub fn message(self, cluster: &str) -> String {
        match self {
            Self::Masked => {
                format!("{cluster} isn't in spec.mask and keeps what it has; add it there to let it move")
            }
            Self::Suspended => {
                format!("delivery to {cluster} is suspended and it keeps what it has; see spec.suspension")
            }
        }
    }
}
