//! Where objects go, and how replicas are divided there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::selectors::{ClusterAffinity, Toleration};
use super::words::words;

/// Where objects go.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The clusters; left out, all. Exclusive with `clusterAffinities`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_affinity: Option<ClusterAffinity>,
    /// Groups of clusters, of which the first that suffices is taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_affinities: Vec<AffinityGroup>,
    /// Taints that are put up with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_tolerations: Vec<Toleration>,
    /// Over how many clusters, regions, zones, providers or values of a label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spread_constraints: Vec<SpreadConstraint>,
    /// How many replicas each cluster gets; left out, as many as the object says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_scheduling: Option<ReplicaScheduling>,
    /// Read, not acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::free_form")]
    pub workload_affinity: Option<Value>,
}

/// One of several groups of clusters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AffinityGroup {
    /// The group's name, unique in its policy.
    #[schemars(length(min = 1, max = 32))]
    pub affinity_name: String,
    /// The clusters.
    #[serde(flatten)]
    pub affinity: ClusterAffinity,
    /// Read, not acted on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schemas::free_form_list")]
    pub overflow_affinities: Vec<Value>,
}

/// Over how many groups of clusters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpreadConstraint {
    /// What makes a group: `cluster`, `region`, `zone` or `provider`. Exclusive with `spreadByLabel`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub spread_by_field: String,
    /// The label whose value makes a group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub spread_by_label: String,
    /// At least so many groups; 1 where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_groups: Option<i64>,
    /// At most so many groups; left out, any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_groups: Option<i64>,
}

words! {
    /// Whether each cluster gets all replicas or a share.
    Division {
        /// Each as many as the object says.
        Duplicated = "Duplicated",
        /// Together as many as the object says.
        Divided = "Divided",
    }
}

words! {
    /// How shares are measured.
    DivisionPreference {
        /// On as few clusters as have room.
        Aggregated = "Aggregated",
        /// By weights.
        Weighted = "Weighted",
    }
}

/// How many replicas each cluster gets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaScheduling {
    /// All or a share; a share where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_scheduling_type: Option<Division>,
    /// How shares are measured; by weights where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_division_preference: Option<DivisionPreference>,
    /// The weights; all the same where they are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_preference: Option<WeightPreference>,
    /// Read, not acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_scheduling_type: Option<String>,
}

/// The weights of clusters: fixed ones, or their room.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WeightPreference {
    /// Fixed weights; a cluster that none names gets nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub static_weight_list: Vec<StaticWeight>,
    /// `AvailableReplicas`: by the room that clusters have. It goes before fixed weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic_weight: Option<String>,
}

/// The weight of some clusters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StaticWeight {
    /// The clusters.
    pub target_cluster: ClusterAffinity,
    /// The weight of each, at least 1.
    pub weight: i64,
}
