//! What a person types, and what they wait for.

use std::process::Output;

use anyhow::{Result, ensure};
use fleet_api::{Application, Phase, Run};
use fleet_real::{Fleet, until};
use kube::Api;

/// Where it all is.
pub(super) const NAMESPACE: &str = "shop";

/// What was said, and how it ended.
pub(super) struct Said {
    /// The exit code.
    pub(super) code: i32,
    /// Standard output.
    pub(super) out: String,
    /// Both.
    pub(super) all: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let all = format!("{out}{}", String::from_utf8_lossy(&output.stderr));
        Self { code: output.status.code().unwrap_or(-1), out, all }
    }
}

/// A line of `kubectl` or `fleetctl` in the namespace, by who may do everything.
pub(super) fn run(fleet: &Fleet, line: &str) -> Result<Said> {
    let (program, rest) = line.split_once(' ').unwrap_or((line, ""));
    Ok(fleet.try_shell(&format!("{program} --context hub -n {NAMESPACE} {rest}"))?.into())
}

/// [`run`], which must succeed.
pub(super) fn must(fleet: &Fleet, line: &str) -> Result<String> {
    let said = run(fleet, line)?;
    ensure!(said.code == 0, "$ {line}\n{}({})", said.all, said.code);
    Ok(said.out)
}

/// The Applications.
pub(super) async fn apps(fleet: &Fleet) -> Result<Api<Application>> {
    Ok(Api::namespaced(fleet.hub.client().await?, NAMESPACE))
}

/// Waits until an Application's status says this.
pub(super) async fn says(
    fleet: &Fleet,
    name: &str,
    what: &str,
    wanted: impl Fn(Phase, &str) -> bool,
) -> Result<()> {
    until(apps(fleet).await?, name, what, |app| {
        let Some(status) = app.and_then(|app| app.status.as_ref()) else { return false };
        let text = serde_json::to_string(status).unwrap_or_default();
        let current = app.and_then(|app| app.metadata.generation) == Some(status.observed_generation);
        current && wanted(status.status, &text)
    })
    .await?;
    Ok(())
}

/// Waits until the newest run of an Application is as wanted.
pub(super) async fn newest(
    fleet: &Fleet,
    app: &str,
    what: &str,
    number: i64,
    wanted: impl Fn(&Run) -> bool,
) -> Result<Run> {
    let runs: Api<Run> = Api::namespaced(fleet.hub.client().await?, NAMESPACE);
    let found = fleet_real::eventually(what, || async {
        let all = runs.list(&kube::api::ListParams::default()).await?.items;
        let found = all.into_iter().find(|run| run.spec.application == app && run.spec.number == number);
        let found = found.ok_or_else(|| anyhow::anyhow!("no run {number} of {app}"))?;
        let text = || serde_json::to_string(&found.status).unwrap_or_default();
        ensure!(wanted(&found), "run {number} of {app}: {}", text());
        Ok(found.clone())
    });
    found.await
}
