//! A member that has no room left.

use anyhow::{Result, bail, ensure};
use fleet_api::Phase;
use fleet_real::{Cluster, ClusterSpec, Fleet, Life};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::json;

use super::web;

/// More than an empty cluster needs.
const ROOM: u64 = 16 << 20;
const FULL: &str = "database space exceeded";

/// Writes until etcd takes nothing more.
async fn fill(member: &Cluster) -> Result<Api<ConfigMap>> {
    let api: Api<ConfigMap> = Api::namespaced(member.client().await?, "default");
    for number in 0..64 {
        let big = json!({
            "metadata": { "name": format!("big-{number}") }, "data": { "filling": "x".repeat(900_000) },
        });
        match api.create(&PostParams::default(), &serde_json::from_value(big)?).await {
            Ok(_) => {}
            Err(error) if error.to_string().contains(FULL) => return Ok(api),
            Err(error) => return Err(error.into()),
        }
    }
    bail!("etcd takes more than it should")
}

/// Broken: a member whose etcd is full holds up the others, isn't told from one that is down, or is forgotten when there
/// is room again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_without_room_is_named_and_goes_on_when_it_has_some() -> Result<()> {
    let members =
        [ClusterSpec::new("m1", Life::Bare), ClusterSpec::new("m2", Life::Bare).quota(ROOM).audited()];
    let fleet = Fleet::start(ClusterSpec::new("hub", Life::Bare), members).await?;
    let mut controller = web::controller(&fleet)?;
    web::paint(&fleet, "blue").await?;
    web::deploy(&fleet, "m1, m2").await?;
    let before = web::running(&fleet).await?;
    let filling = fill(fleet.member("m2")?).await?;
    web::paint(&fleet, "green").await?;
    web::painted(&fleet, "m1", "green").await?;
    let app = web::until_told(&fleet, &[("m2", FULL)]).await?;
    let phase = app.status.as_ref().map(|status| status.status);
    ensure!(phase == Some(Phase::RunningWorkflow), "{phase:?}");
    web::painted(&fleet, "m2", "blue").await?;

    // Its administrator makes room.
    filling.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    fleet.member("m2")?.etcd()?.lock().await.make_room().await?;
    web::running_after(&fleet, &before).await?;
    web::painted(&fleet, "m2", "green").await?;
    let writes = web::writes(&fleet, "m2")?;
    ensure!(writes == 2, "it was written {writes} times, for two revisions");
    controller.stop().await?;
    fleet.end();
    Ok(())
}
