//! Clusters of the user's own.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A kubeconfig for the hub. Its current context is used.
pub const HUB: &str = "FLEETCTL_REAL_HUB";
/// Kubeconfigs for three members, with `:` between them; clusters with controllers and nodes that run containers.
pub const MEMBERS: &str = "FLEETCTL_REAL_MEMBERS";

/// Kubeconfigs of clusters that the environment names: hub, members. `None` where it names none.
///
/// # Errors
/// Where only one of the two is named, or a file can't be read.
pub fn clusters() -> Result<Option<(Value, Vec<Value>)>> {
    let (hub, members) = (std::env::var_os(HUB), std::env::var_os(MEMBERS));
    let (Some(hub), Some(members)) = (&hub, &members) else {
        anyhow::ensure!(hub.is_none() && members.is_none(), "set both {HUB} and {MEMBERS}, or neither");
        return Ok(None);
    };
    let members = std::env::split_paths(members).map(read).collect::<Result<Vec<_>>>()?;
    anyhow::ensure!(members.len() == 3, "{MEMBERS} names {} kubeconfigs, and 3 are needed", members.len());
    Ok(Some((read(PathBuf::from(hub))?, members)))
}

fn read(path: PathBuf) -> Result<Value> {
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    serde_saphyr::from_str(&text).with_context(|| path.display().to_string())
}
