//! Talking to the process that runs a local fleet.

use std::path::Path;
use std::time::Duration;

use http::{Method, Request};
use serde_json::Value;

use super::folder::{Folder, Running};
use crate::access::{Access, Cluster};
use crate::args::{Global, MemberArgs};
use crate::embedded::{ADMIN_PREFIX, MemberState};
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::style::{self, paint};
use crate::table::Table;

/// How long an end may take: answers under way have 5 s.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn down(environment: &Environment, data: &Path) -> Outcome {
    let folder = Folder::at(data)?;
    let Some(running) = folder.running()? else {
        return environment.streams.line(&format!("nothing runs in {}", folder.path().display()));
    };
    // Asked by its own certificate, so it can't be somebody else's process that happens to have the port.
    let asked = request(environment, &folder, Method::POST, "shutdown").await;
    let ended = tokio::time::timeout(PATIENCE, async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while folder.running()?.is_some_and(|now| now.process == running.process || now.process.is_none()) {
            look.tick().await;
            if let Err(failure) = &asked {
                return Err(failure.clone());
            }
        }
        Ok(())
    });
    match ended.await {
        Ok(Ok(())) => environment
            .streams
            .line(&format!("ended {running}; its data stays in {}", folder.path().display())),
        Ok(Err(failure)) => Err(Failure::new(
            failure.exit,
            format!("{running} can't be asked to end: {failure}; end it with: {}", kill(&running)),
        )),
        Err(_) => Err(Failure::new(
            Exit::Waiting,
            format!(
                "{running} hasn't ended within {} s; end it with: {}",
                PATIENCE.as_secs(),
                kill(&running)
            ),
        )),
    }
}

fn kill(running: &Running) -> String {
    running.process.map_or_else(|| "kill PID".to_owned(), |process| format!("kill {process}"))
}

pub(super) async fn status(environment: &Environment, data: &Path) -> Outcome {
    let folder = Folder::at(data)?;
    let running = running(environment, &folder)?;
    let answer = request(environment, &folder, Method::GET, "status").await?;
    let members = answer.get("members").cloned().unwrap_or_default();
    let mut members: Vec<MemberState> = serde_json::from_value(members).unwrap_or_default();
    members.reverse();
    environment.streams.line(&format!("running: {running}, data {}", folder.path().display()))?;
    let mut table = Table::new(["NAME", "ALIAS", "STATE"]);
    table.row(["hub", "", &paint(style::GOOD, "running")]);
    for member in members {
        let state = if member.running { paint(style::GOOD, "running") } else { paint(style::BAD, "stopped") };
        table.row([member.name.as_str(), member.alias.as_deref().unwrap_or_default(), &state]);
    }
    environment.streams.print(&table.to_string())
}

pub(super) async fn set_running(environment: &Environment, arguments: &MemberArgs, run: bool) -> Outcome {
    let folder = Folder::at(&arguments.data.data)?;
    running(environment, &folder)?;
    let status = request(environment, &folder, Method::GET, "status").await?;
    let members = status.get("members").cloned().unwrap_or_default();
    let members: Vec<MemberState> = serde_json::from_value(members).unwrap_or_default();
    let wanted = arguments.member.as_str();
    let found = members.iter().find(|m| m.name == wanted || m.alias.as_deref() == Some(wanted));
    let Some(member) = found else {
        let known: Vec<&str> =
            members.iter().flat_map(|m| std::iter::once(m.name.as_str()).chain(m.alias.as_deref())).collect();
        let advice = crate::nearest::advice(wanted, &known, "members");
        return Err(Failure::not_found(format!("no member {wanted:?}{advice}")));
    };
    let verb = if run { "start" } else { "stop" };
    request(environment, &folder, Method::POST, &format!("members/{}/{verb}", member.name)).await?;
    let alias = member.alias.as_ref().map(|alias| format!(" ({alias})")).unwrap_or_default();
    let now = if run { "answers again" } else { "doesn't answer any more" };
    environment.streams.line(&format!("{}{alias} {now}", member.name))
}

fn running(environment: &Environment, folder: &Folder) -> Outcome<Running> {
    folder.running()?.ok_or_else(|| {
        let (called, data) = (environment.called.as_str(), folder.path().display());
        Failure::new(
            Exit::Unreachable,
            format!("nothing runs in {data}; start it with: {called} local up --detach --data {data}"),
        )
    })
}

async fn request(environment: &Environment, folder: &Folder, method: Method, what: &str) -> Outcome<Value> {
    let global = Global {
        kubeconfig: Some(folder.kubeconfig()),
        context: Some(fleet_apiserver::ApiServer::HUB.to_owned()),
        request_timeout: Duration::from_secs(10),
        ..Global::default()
    };
    let hub: Cluster = Access::load(environment, &global)?.hub().await?;
    let request = Request::builder().method(method).uri(format!("{ADMIN_PREFIX}{what}")).body(Vec::new());
    let request = request.map_err(|error| Failure::failed(error.to_string()))?;
    hub.ask("the local fleet", hub.client.request(request)).await
}
