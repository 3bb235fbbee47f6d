//! Stock kubectl against our API server: what a user of Kubernetes types must answer as it does there.
//!
//! Where there is no kubectl the transcripts are skipped, loudly; `FLEETCTL_REQUIRE_KUBECTL=1` makes that a failure.

mod access;
mod applying;
mod creating;
mod custom;
mod deleting;
mod discovery;
mod patching;
mod reading;
mod support;
mod watching;
mod workloads;

#[test]
#[ignore]
fn explore() {
    let Some(stage) = support::Stage::start() else { return };
    std::fs::write("/tmp/kubectl-explore", stage.folder().to_str().unwrap()).unwrap();
    while std::path::Path::new("/tmp/kubectl-explore").exists() {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}
