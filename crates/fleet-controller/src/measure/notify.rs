//! `notification`: each channel once. What went out is on record, so that a further try goes only where none went.

use fleet_api::Outcome;
use fleet_workflow::graph::measure::{Endpoint, Notification};
use fleet_workflow::measure::Reading;
use serde_json::Value;

use super::secrets::Secrets;
use super::{Job, email, request};
use crate::context::Context;

pub(super) async fn notify(
    ctx: &Context,
    job: &Job,
    notification: &Notification,
    secrets: &Secrets,
) -> Reading {
    let (mut sent, mut problems) = (Vec::new(), Vec::new());
    let mut note = |channel: &str, outcome: Result<(), String>| match outcome {
        Ok(()) => sent.push(channel.to_owned()),
        Err(problem) => problems.push(format!("{channel}: {problem}")),
    };
    let due = |channel: &str| !job.measured.sent.iter().any(|known| known == channel);
    for (channel, endpoint, message) in notification.posts.iter().filter(|(channel, _, _)| due(channel)) {
        note(channel, post(ctx, job, endpoint, message, secrets).await);
    }
    if let Some(mail) = notification.email.as_ref().filter(|_| due("email")) {
        note("email", email::send(ctx, job, mail, secrets).await);
    }
    let value = if sent.is_empty() { String::new() } else { format!("sent: {}", sent.join(", ")) };
    let outcome = if problems.is_empty() { Outcome::Successful } else { Outcome::Error };
    Reading { outcome, value, message: problems.join("; "), output: None, sent }
}

/// One message; without any of one's own, what a webhook is told.
async fn post(
    ctx: &Context,
    job: &Job,
    endpoint: &Endpoint,
    message: &Value,
    secrets: &Secrets,
) -> Result<(), String> {
    let mut sent = request::prepare("POST", endpoint, secrets)?;
    match message {
        Value::Null => request::fill(&mut sent, &request::payload(job), secrets)?,
        message => request::fill(&mut sent, message, secrets)?,
    }
    sent.headers.insert(0, ("idempotency-key".to_owned(), job.key.clone()));
    let answer = ctx.outbound.send(sent).await?;
    if answer.status < 300 {
        return Ok(());
    }
    let said: String = String::from_utf8_lossy(&answer.body).trim().chars().take(200).collect();
    Err(format!("the server answered {}: {said}", answer.status))
}
