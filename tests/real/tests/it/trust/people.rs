//! What a person types, and what they wait for.

use std::process::Output;

use anyhow::{Result, ensure};
use fleet_api::{Application, Phase, Run, RunPhase};
use fleet_real::fleet::SYSTEM;
use fleet_real::kubeconfig::{self, User};
use fleet_real::{Cluster, ClusterSpec, Controller, Fleet, Life, until};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::Value;

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

/// [`run`] by a person in these groups, who has a certificate of their own.
pub(super) fn run_as(fleet: &Fleet, (who, groups): (&str, &[&str]), line: &str) -> Result<Said> {
    let path = fleet.room().path().join(format!("{who}.kubeconfig"));
    if !path.exists() {
        let user = User::Certificate(fleet.hub.pki()?.client(who, groups)?);
        kubeconfig::write(&path, &fleet.hub.kubeconfig_as(&user))?;
    }
    let (program, rest) = line.split_once(' ').unwrap_or((line, ""));
    let line = format!("{program} --kubeconfig {} -n {NAMESPACE} {rest}", path.display());
    Ok(fleet.try_shell(&line)?.into())
}

/// What a line for programs says.
pub(super) fn json(fleet: &Fleet, line: &str) -> Result<Value> {
    Ok(serde_json::from_str(&must(fleet, line)?)?)
}

/// A hub, so many members, and the control plane as the chart installs it with these values: the controller has its
/// account and no other rights.
pub(super) async fn installed(life: Life, members: usize, values: &str) -> Result<(Fleet, Controller)> {
    let hub = ClusterSpec::new("hub", life).audited();
    let members = (1..=members).map(|number| ClusterSpec::new(&format!("m{number}"), Life::Bare));
    let fleet = Fleet::clusters(hub, members).await?;
    fleet.helm_install(&format!("--set {values}"))?;
    fleet.register_all().await?;
    open(&fleet).await?;
    let controller = fleet.installed_controller("controller").await?;
    Ok((fleet, controller))
}

/// The chart's rights are enough: the controller was refused nothing on the hub, but what is said.
pub(crate) fn suffices(fleet: &Fleet, but: &str) -> Result<()> {
    let account = format!("system:serviceaccount:{SYSTEM}:fleetctl-controller");
    let mut asked = fleet.hub.audit()?.into_iter();
    let refused =
        asked.find(|request| request.user == account && request.code == 403 && request.resource != but);
    ensure!(refused.is_none(), "the chart's rights don't suffice: {refused:?}");
    Ok(())
}

/// Makes the namespace on all clusters.
pub(super) async fn open(fleet: &Fleet) -> Result<()> {
    for cluster in std::iter::once(&fleet.hub).chain(&fleet.members) {
        fleet.namespace(cluster, NAMESPACE).await?;
    }
    Ok(())
}

/// A value of a ConfigMap.
pub(super) async fn held(cluster: &Cluster, name: &str, key: &str) -> Result<Option<String>> {
    let api: Api<ConfigMap> = Api::namespaced(cluster.client().await?, NAMESPACE);
    let found = api.get_opt(name).await?;
    Ok(found.and_then(|found| found.data.unwrap_or_default().remove(key)))
}

/// Waits until a run has succeeded.
pub(super) async fn succeeded(fleet: &Fleet, app: &str, number: i64) -> Result<Run> {
    newest(fleet, app, "succeeded", number, |run| {
        run.status.as_ref().is_some_and(|status| status.phase == RunPhase::Succeeded)
    })
    .await
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
