//! Where a member is: provider, region, zones.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::managed_cluster::ClusterClaim;

/// Where a member is, as far as its `ManagedCluster` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Location {
    /// Who runs the machines.
    pub provider: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// The zones that its nodes are in.
    pub zones: BTreeSet<String>,
}

/// The annotation of a `ManagedCluster` whose nodes are in several zones: their names, with commas between.
pub const ZONES_ANNOTATION: &str = "fleetctl.dev/zones";

/// Where a field of the location is looked for: labels in this order, then the claim.
const PROVIDER: ([&str; 2], &str) =
    (["fleetctl.dev/provider", "provider"], "platform.open-cluster-management.io");
const REGION: ([&str; 2], &str) =
    (["topology.kubernetes.io/region", "region"], "region.open-cluster-management.io");
const ZONE: ([&str; 2], &str) = (["topology.kubernetes.io/zone", "zone"], "zone.open-cluster-management.io");

impl Location {
    /// Reads labels first, in the order of Kubernetes' own names and then the plain words, and then what the member
    /// claims of itself; zones from an annotation as well.
    #[must_use]
    pub fn of(
        labels: &BTreeMap<String, String>,
        annotations: &BTreeMap<String, String>,
        claims: &[ClusterClaim],
    ) -> Self {
        let find = |(names, claim): ([&str; 2], &str)| {
            let label = names.iter().find_map(|name| labels.get(*name));
            let claimed = || claims.iter().find(|known| known.name == claim).map(|known| &known.value);
            label.or_else(claimed).filter(|value| !value.is_empty()).cloned()
        };
        let several = annotations.get(ZONES_ANNOTATION).into_iter().flat_map(|zones| zones.split(','));
        let several = several.map(str::trim).filter(|zone| !zone.is_empty()).map(str::to_owned);
        Self { provider: find(PROVIDER), region: find(REGION), zones: several.chain(find(ZONE)).collect() }
    }
}
