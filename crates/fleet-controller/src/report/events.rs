//! Kubernetes Events (`events.k8s.io/v1`), on Applications and ManagedClusters.
//!
//! They are published one after another by one task, which an unready hub holds up: what doesn't fit into its queue is
//! lost and counted, and changes nothing. The same reason about the same subject within minutes is one Event with a
//! count.

mod publisher;

use std::sync::Arc;

use fleet_api::{Application, Condition, ManagedCluster, ObjectId, Run, Target, conditions};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType};
use kube::{Resource as _, ResourceExt as _};
use tokio::sync::mpsc;

use crate::context::{AppKey, Context};
use crate::report::metrics::{Drift, Metrics};

pub(crate) use self::publisher::Publisher;

/// How many Events wait at most.
const QUEUE: usize = 1024;
/// The longest note that the API takes, in bytes (`events.k8s.io/v1`: 1 kB).
const NOTE_LIMIT: usize = 1000;
/// The longest action that the API takes.
const ACTION_LIMIT: usize = 128;

/// Takes Events; published they are elsewhere.
pub(crate) struct Events {
    queue: mpsc::Sender<(Event, ObjectReference)>,
    metrics: Metrics,
}

/// What waits to be published.
pub(crate) type Waiting = mpsc::Receiver<(Event, ObjectReference)>;

impl Events {
    pub(crate) fn new(metrics: Metrics) -> (Self, Waiting) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        (Self { queue, metrics }, waiting)
    }

    /// `subject` tells Events of the same reason apart: a step, a member, an object.
    fn put(
        &self,
        about: ObjectReference,
        type_: EventType,
        reason: &str,
        subject: &str,
        note: &str,
        secondary: Option<ObjectReference>,
    ) {
        let action = if subject.is_empty() { "Rollout" } else { subject };
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(cut(note, NOTE_LIMIT)),
            action: cut(action, ACTION_LIMIT),
            secondary,
        };
        if self.queue.try_send((event, about)).is_err() {
            self.metrics.event_lost();
        }
    }
}

/// Publishes until nothing can be put any more, or the controller stops.
pub(crate) async fn publish(mut publisher: Publisher, mut waiting: Waiting, metrics: Metrics) {
    while let Some((event, about)) = waiting.recv().await {
        match publisher.publish(&event, &about).await {
            Ok(()) => metrics.event_published(),
            Err(error) => {
                metrics.event_lost();
                tracing::warn!(reason = event.reason, %error, "an Event is lost; may this account create and patch events.events.k8s.io?");
            }
        }
    }
}

/// The beginning of a text, of at most so many bytes.
fn cut(text: &str, limit: usize) -> String {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= limit).last();
    text.get(..end.unwrap_or_default()).unwrap_or_default().to_owned()
}

/// On the Application, about one of its runs.
pub(crate) fn about_run(
    ctx: &Context,
    app: &Application,
    run: &Run,
    type_: EventType,
    reason: &str,
    subject: &str,
    note: String,
) {
    ctx.events.put(app.object_ref(&()), type_, reason, subject, &note, Some(run.object_ref(&())));
}

/// On the Application, about none of its runs.
pub(crate) fn about_application(ctx: &Context, app: &Application, reason: &str, subject: &str, note: &str) {
    ctx.events.put(app.object_ref(&()), EventType::Normal, reason, subject, note, None);
}

/// Tells how far the deletion of an Application is.
pub(crate) fn deleting(ctx: &Context, app: &Application, message: &str) {
    tracing::info!(namespace = app.namespace(), application = app.name_any(), "{message}");
    // `deleting: TARGET: …`
    let subject = message.split(": ").nth(1).unwrap_or_default();
    ctx.events.put(app.object_ref(&()), EventType::Normal, "Deleting", subject, message, None);
}

/// Tells that an Application's objects are gone, or which targets couldn't be reached.
pub(crate) fn deleted(ctx: &Arc<Context>, app: &Application, orphaned: &[Target]) {
    let (namespace, application) = (app.namespace().unwrap_or_default(), app.name_any());
    if orphaned.is_empty() {
        tracing::info!(namespace, application, "the Application is gone from the members");
        return;
    }
    let targets: Vec<String> = orphaned.iter().map(Target::to_string).collect();
    let note = format!("objects stay on {}, which couldn't be reached in time", targets.join(", "));
    tracing::warn!(namespace, application, "{note}");
    ctx.events.put(app.object_ref(&()), EventType::Warning, "Orphaned", "", &note, None);
}

/// Counts what became of an object's drift, and tells it where somebody may want to know.
pub(crate) fn drifted(ctx: &Context, app: &AppKey, cluster: &str, id: &ObjectId, what: Drift, note: &str) {
    ctx.options.metrics.members().drifted(cluster, what);
    let (type_, reason) = match what {
        Drift::Found => return,
        Drift::Repaired => (EventType::Normal, "DriftRepaired"),
        Drift::Held => (EventType::Warning, "DriftReported"),
        Drift::Fought => (EventType::Warning, "DriftFought"),
    };
    let (namespace, application, object) = (&app.0, &app.1, id.to_string());
    match type_ {
        EventType::Normal => tracing::info!(namespace, application, cluster, object, reason, "{note}"),
        EventType::Warning => tracing::warn!(namespace, application, cluster, object, reason, "{note}"),
    }
    let reference = kube::runtime::reflector::ObjectRef::new(&app.1).within(&app.0);
    if let Some(app) = ctx.hub.applications.get(&reference) {
        ctx.events.put(app.object_ref(&()), type_, reason, &format!("{cluster}: {id}"), note, None);
    }
}

/// Tells on a ManagedCluster which of its conditions turned.
pub(crate) fn cluster_turned(
    ctx: &Context,
    cluster: &ManagedCluster,
    before: &[Condition],
    after: &[Condition],
) {
    for condition in after {
        let was = conditions::find(before, &condition.type_);
        if was.is_some_and(|was| (&was.status, &was.reason) == (&condition.status, &condition.reason)) {
            continue;
        }
        let (name, reason, note) = (cluster.name_any(), &condition.reason, &condition.message);
        let type_ = if condition.is_true() {
            tracing::info!(cluster = name, reason, "{note}");
            EventType::Normal
        } else {
            tracing::warn!(cluster = name, reason, "{note}");
            EventType::Warning
        };
        ctx.events.put(cluster.object_ref(&()), type_, reason, &condition.type_, note, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The API refuses a note that is too long, and a cut within a character isn't text.
    #[test]
    fn notes_are_cut_between_characters() {
        assert_eq!(cut("short", 10), "short");
        assert_eq!(cut("grün", 3), "gr");
        assert_eq!(cut("grün", 4), "grü");
        assert_eq!(cut("", 4), "");
    }
}
