//! `wait-for`: an object of the hub or of a member, by a watch of this one object.

use std::sync::Arc;

use fleet_api::{ObjectId, Outcome};
use fleet_members::Acting;
use fleet_workflow::graph::measure::WaitFor;
use fleet_workflow::measure::Reading;
use fleet_workflow::{Check, Problem};
use futures::StreamExt as _;
use kube::api::{Api, DynamicObject};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};

use super::Job;
use crate::context::Context;
use crate::hub::Input;
use crate::hub::{readable, tenancy};

/// Returns once the condition is true, or can't become so; says meanwhile what is waited for.
pub(super) async fn wait(
    ctx: &Arc<Context>,
    job: &Job,
    wanted: &WaitFor,
    say: &(dyn Fn(Check) + Send + Sync),
) -> Reading {
    let namespace = if wanted.namespace.is_empty() { job.app.0.clone() } else { wanted.namespace.clone() };
    let id = ObjectId::new(&wanted.api_version, &wanted.kind, namespace, &wanted.name);
    let place = if wanted.cluster.is_empty() { "the hub".to_owned() } else { wanted.cluster.clone() };
    let api = match place_of(ctx, job, wanted, &id).await {
        Ok(api) => api,
        Err(Away::For(problem)) => return Reading::error(problem),
        Err(Away::Ever(problem)) => return Reading::failed(problem),
    };
    let config = watcher::Config::default().fields(&format!("metadata.name={}", id.name));
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    let mut last = String::new();
    let mut tell = |message: String| {
        // Every word is a turn: only news is told.
        if message != last {
            last.clone_from(&message);
            say(Check::Running(Some(Problem { reason: "WaitingForObject".to_owned(), message }), None));
        }
    };
    let mut there = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                there = true;
                match judge(wanted, &id, object) {
                    Ok(true) => {
                        let value = format!("{id} on {place}");
                        return Reading { outcome: Outcome::Successful, value, ..Reading::default() };
                    }
                    Ok(false) => {
                        tell(format!("waits for {id} on {place} until {}", wanted.condition.source()))
                    }
                    Err(problem) => {
                        tell(format!("waits for {id} on {place}; condition: {problem}"));
                    }
                }
            }
            Ok(watcher::Event::Delete(_)) => {
                there = false;
                tell(format!("{id} isn't on {place}"));
            }
            Ok(watcher::Event::Init) => there = false,
            Ok(watcher::Event::InitDone) if !there => tell(format!("{id} isn't on {place}")),
            Ok(watcher::Event::InitDone) => {}
            Err(error) => {
                let why = fleet_members::innermost(&error);
                tell(format!("{id} on {place} can't be watched: {why}; tried again"));
            }
        }
    }
    Reading::error(format!("the watch of {id} on {place} ended"))
}

fn judge(wanted: &WaitFor, id: &ObjectId, object: DynamicObject) -> Result<bool, String> {
    let mut value = serde_json::to_value(object).map_err(|error| error.to_string())?;
    if let Some(map) = value.as_object_mut() {
        // Objects in lists don't say what they are.
        map.insert("apiVersion".to_owned(), json!(id.api_version));
        map.insert("kind".to_owned(), json!(id.kind));
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    wanted.condition.test(&value)
}

/// Why an object can't be watched.
enum Away {
    /// For now.
    For(String),
    /// Whatever happens.
    Ever(String),
}

async fn place_of(
    ctx: &Context,
    job: &Job,
    wanted: &WaitFor,
    id: &ObjectId,
) -> Result<Api<DynamicObject>, Away> {
    if wanted.is_secret() {
        return Err(Away::Ever(WaitFor::NO_SECRET.to_owned()));
    }
    if wanted.cluster.is_empty() {
        return on_hub(ctx, job, id).await;
    }
    let clusters = ctx.members.clusters().into_iter();
    let mut names = clusters.filter(|cluster| {
        cluster.metadata.name.as_ref() == Some(&wanted.cluster) || cluster.alias() == Some(&wanted.cluster)
    });
    let cluster = names.next().and_then(|cluster| cluster.metadata.name).ok_or_else(|| {
        Away::Ever(format!("there is no cluster {:?}; look with: fleetctl cluster list", wanted.cluster))
    })?;
    let account = tenancy::admit(ctx, &job.app.0, &cluster, job.account.as_deref())
        .map_err(|problem| Away::Ever(problem.message))?;
    // As with what is delivered: without an account the Application's own namespace, with one what that may see.
    if account.is_none() && tenancy::is_closed(ctx) && id.namespace != job.app.0 {
        let message = format!(
            "namespace {} may look at objects of its own only (ClusterAccessPolicy default says Deny); {id} isn't one",
            job.app.0
        );
        return Err(Away::Ever(message));
    }
    let member = ctx.members.get(&cluster).map_err(|error| Away::For(error.to_string()))?;
    Acting::new(member, account).watched(id).await.map_err(|error| Away::For(error.to_string()))
}

async fn on_hub(ctx: &Context, job: &Job, id: &ObjectId) -> Result<Api<DynamicObject>, Away> {
    let path = ctx.hub.referenced.path_of(&id.api_version, &id.kind).await.map_err(Away::For)?;
    if !path.namespaced || id.namespace != job.app.0 {
        let message = format!(
            "{id} isn't an object of namespace {}; on the hub only these can be waited for",
            job.app.0
        );
        return Err(Away::Ever(message));
    }
    let input = Input::Object(id.api_version.clone(), id.kind.clone(), id.namespace.clone(), id.name.clone());
    readable::check(ctx, &job.app, job.account.as_deref(), [&input].into_iter())
        .await
        .map_err(|problem| Away::For(problem.message))?;
    Ok(Api::namespaced_with(ctx.hub.client.clone(), &id.namespace, &path.resource))
}
