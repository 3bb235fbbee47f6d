//! `request` and `webhook`: one HTTP request, and what its answer means.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet_api::Outcome;
use fleet_workflow::graph::measure::{Endpoint, HttpRequest, Webhook, with_secrets};
use fleet_workflow::measure::{Condition, Reading};
use ring::hmac;
use serde_json::{Value, json};

use super::Job;
use super::outbound::{Answer, Sent};
use super::secrets::Secrets;
use crate::context::Context;

/// By this a server knows a measurement that it was sent before.
const IDEMPOTENCY: &str = "idempotency-key";
/// The signature of a webhook's body: `sha256=` and the HMAC in hexadecimal.
const SIGNATURE: &str = "x-fleetctl-signature";
/// How much of a body that isn't JSON is handed on, in bytes.
const HANDED_ON: usize = 4096;

pub(super) async fn request(ctx: &Context, job: &Job, request: &HttpRequest, secrets: &Secrets) -> Reading {
    let sent = prepare(&request.method, &request.endpoint, secrets).and_then(|mut sent| {
        if let Some(body) = &request.body {
            fill(&mut sent, body, secrets)?;
        }
        sent.headers.insert(0, (IDEMPOTENCY.to_owned(), job.key.clone()));
        Ok(sent)
    });
    ask(ctx, sent, request.success.as_ref()).await
}

pub(super) async fn webhook(ctx: &Context, job: &Job, webhook: &Webhook, secrets: &Secrets) -> Reading {
    let sent = prepare("POST", &webhook.endpoint, secrets).and_then(|mut sent| {
        let mut body = payload(job);
        if let (Some(data), Some(body)) = (&webhook.data, body.as_object_mut()) {
            body.insert("data".to_owned(), with_secrets(data, &|at| secrets.get(at))?);
        }
        fill(&mut sent, &body, &Secrets::default())?;
        sent.headers.insert(0, (IDEMPOTENCY.to_owned(), job.key.clone()));
        if let Some(key) = &webhook.signature {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secrets.text(key)?.as_bytes());
            let tag = hmac::sign(&key, &sent.body);
            let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            sent.headers.push((SIGNATURE.to_owned(), format!("sha256={tag}")));
        }
        Ok(sent)
    });
    ask(ctx, sent, webhook.success.as_ref()).await
}

/// What a webhook is told: enough to find the run, and a hash of what is about to be delivered.
pub(super) fn payload(job: &Job) -> Value {
    let of = |key: &str| job.context.get(key).cloned().unwrap_or_default();
    json!({
        "application": { "name": job.app.1, "namespace": job.app.0 },
        "run": { "name": job.run, "number": of("runNumber") },
        "revision": of("revision"),
        "step": job.step,
        "planHash": of("planHash"),
        "measurement": job.measured.judged().saturating_add(1),
        "idempotencyKey": job.key,
    })
}

/// A request without a body.
pub(super) fn prepare(method: &str, endpoint: &Endpoint, secrets: &Secrets) -> Result<Sent, String> {
    let mut headers = Vec::new();
    if let Some((user, password)) = &endpoint.basic {
        let both = basic(&secrets.text(user)?, &secrets.text(password)?);
        headers.push(("authorization".to_owned(), format!("Basic {both}")));
    }
    for (name, value) in &endpoint.header {
        headers.push((name.clone(), secrets.text(value)?));
    }
    Ok(Sent {
        method: method.to_owned(),
        url: secrets.text(&endpoint.url)?,
        headers,
        body: Vec::new(),
        ca_bundle: endpoint.ca_bundle.clone(),
        timeout: endpoint.timeout.unsigned_abs(),
    })
}

/// User and password as a header holds them.
pub(super) fn basic(user: &str, password: &str) -> String {
    STANDARD.encode(format!("{user}:{password}"))
}

/// Puts a body in: a string as it is, anything else as JSON.
pub(super) fn fill(sent: &mut Sent, body: &Value, secrets: &Secrets) -> Result<(), String> {
    let (kind, bytes) = match with_secrets(body, &|at| secrets.get(at))? {
        Value::String(text) => ("text/plain; charset=utf-8", text.into_bytes()),
        value => ("application/json", serde_json::to_vec(&value).map_err(|error| error.to_string())?),
    };
    sent.body = bytes;
    sent.headers.insert(0, ("content-type".to_owned(), kind.to_owned()));
    Ok(())
}

async fn ask(ctx: &Context, sent: Result<Sent, String>, success: Option<&Condition>) -> Reading {
    let sent = match sent {
        Ok(sent) => sent,
        Err(problem) => return Reading::error(problem),
    };
    match ctx.outbound.send(sent).await {
        Ok(answer) => judge(&answer, success),
        Err(problem) => Reading::error(problem),
    }
}

/// What an answer means. Without a condition of one's own a server that is out of order (5xx, 429) is asked again, a
/// status from 300 on is a failure: redirects aren't followed.
fn judge(answer: &Answer, success: Option<&Condition>) -> Reading {
    let text = String::from_utf8_lossy(&answer.body);
    let json = serde_json::from_slice::<Value>(&answer.body).ok();
    let body = json.clone().unwrap_or_else(|| Value::String(text.clone().into_owned()));
    let response = json!({ "status": answer.status, "headers": answer.headers, "body": body });
    let outcome = match success {
        Some(success) => match success.test(&response) {
            Ok(true) => Outcome::Successful,
            Ok(false) => Outcome::Failed,
            Err(problem) => {
                let problem = format!("successCondition can't be evaluated: {problem}");
                return Reading { value: answer.status.to_string(), ..Reading::error(problem) };
            }
        },
        None => match answer.status {
            0..300 => Outcome::Successful,
            429 | 500.. => Outcome::Error,
            _ => Outcome::Failed,
        },
    };
    let message = match outcome {
        Outcome::Successful => String::new(),
        _ => format!("the server answered {}: {}", answer.status, text.trim()),
    };
    let handed_on = match json {
        Some(json) => json,
        None => Value::String(text.chars().take(HANDED_ON).collect()),
    };
    let output = json!({ "status": answer.status, "headers": answer.headers, "body": handed_on });
    Reading {
        outcome,
        value: answer.status.to_string(),
        message,
        output: Some(json!({ "response": output })),
        sent: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    // Broken: a server that is out of order says yes, or its one bad minute ends a rollout; a redirect counts as an answer.
    #[test]
    fn answers_mean_what_their_status_says_unless_a_condition_does() {
        let outcome = |status: u16, condition: Option<&str>| {
            let answer = Answer { status, headers: BTreeMap::new(), body: b"{\"ok\": true}".to_vec() };
            let condition = condition.map(|source| Condition::read(source, "response").unwrap());
            judge(&answer, condition.as_ref()).outcome
        };
        for (status, expected) in [
            (200, Outcome::Successful),
            (204, Outcome::Successful),
            (302, Outcome::Failed),
            (404, Outcome::Failed),
            (429, Outcome::Error),
            (500, Outcome::Error),
            (503, Outcome::Error),
        ] {
            assert_eq!(outcome(status, None), expected, "{status}");
        }
        assert_eq!(outcome(503, Some("response.status == 503")), Outcome::Successful);
        assert_eq!(outcome(200, Some("!response.body.ok")), Outcome::Failed);
        assert_eq!(outcome(200, Some("response.body.missing == 1")), Outcome::Error);
    }
}
