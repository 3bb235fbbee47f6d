//! `check-metrics`: one instant query to Prometheus.

use fleet_workflow::graph::measure::MetricsQuery;
use fleet_workflow::measure::{Reading, prometheus};
use serde_json::Value;

use super::request;
use super::secrets::Secrets;
use crate::context::Context;

pub(super) async fn measure(ctx: &Context, query: &MetricsQuery, secrets: &Secrets) -> Reading {
    let asked = ask(ctx, query, secrets).await;
    match asked.and_then(|body| prometheus::read(&body)) {
        Ok(answer) => answer.judge(&query.judgement),
        Err(problem) => Reading::error(problem),
    }
}

async fn ask(ctx: &Context, query: &MetricsQuery, secrets: &Secrets) -> Result<Value, String> {
    let mut sent = request::prepare("POST", &query.server, secrets)?;
    let server = sent.url.trim_end_matches('/').to_owned();
    sent.url = if server.ends_with("/api/v1/query") { server } else { format!("{server}/api/v1/query") };
    sent.headers.push(("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
    sent.body = form_urlencoded::Serializer::new(String::new())
        .append_pair("query", &query.query)
        .finish()
        .into_bytes();
    let answer = ctx.outbound.send(sent).await?;
    // Prometheus answers errors of a query in JSON, too.
    let read: Result<Value, _> = serde_json::from_slice(&answer.body);
    match read {
        Ok(body) if answer.status < 400 || body.get("error").is_some() => Ok(body),
        Ok(_) | Err(_) if answer.status >= 300 => Err(format!("Prometheus answered {}", answer.status)),
        Ok(body) => Ok(body),
        Err(error) => Err(format!("Prometheus' answer isn't JSON: {error}")),
    }
}
