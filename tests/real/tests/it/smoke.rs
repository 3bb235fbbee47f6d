//! The tier itself.

use anyhow::Result;
use fleet_real::Fleet;

use crate::release::{APPLICATION, delivered};

/// Broken: nothing at all works on a real hub and a real member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_arrives() -> Result<()> {
    let fleet = Fleet::small(1).await?;
    let mut controller = fleet.controller()?;
    fleet.apply(&fleet.hub, APPLICATION).await?;
    delivered(&fleet).await?;
    assert!(controller.stop().await?.is_some_and(|status| status.success()), "{}", controller.log());
    fleet.end();
    Ok(())
}
