//! Properties as users write them, in the shapes of the established steps of the Open Application Model, and of an
//! AnalysisTemplate of Argo Rollouts.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::read::read_properties;
use super::{
    DependsOnApp, Email, Endpoint, HttpRequest, MeasureProperties, MetricsQuery, Notification, Text, WaitFor,
    Webhook, What,
};
use crate::measure::prometheus::Judgement;
use crate::measure::{Comparison, Condition, Hold, Sampling};
use crate::parse_duration;

/// How long one answer may take where nothing else is written.
const ANSWER: SignedDuration = SignedDuration::from_secs(10);
/// How long one answer may take at most.
const LONGEST_ANSWER: SignedDuration = SignedDuration::from_mins(5);
/// The shortest time between two measurements.
const SHORTEST_INTERVAL: SignedDuration = SignedDuration::from_secs(1);
/// The most measurements of one step.
const MOST_MEASUREMENTS: u32 = 10_000;
/// How many places a notification may go to by mail.
const MOST_RECIPIENTS: usize = 50;
/// The fields of [`SamplingAsWritten`].
const SAMPLING: [&str; 7] = [
    "count",
    "interval",
    "initialDelay",
    "failureLimit",
    "inconclusiveLimit",
    "consecutiveErrorLimit",
    "ignoreFailure",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SamplingAsWritten {
    count: Option<u32>,
    interval: Option<String>,
    initial_delay: Option<String>,
    failure_limit: Option<u32>,
    inconclusive_limit: Option<u32>,
    consecutive_error_limit: Option<u32>,
    #[serde(default)]
    ignore_failure: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BasicAuth {
    username: Text,
    password: Text,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MetricsAsWritten {
    #[serde(alias = "address", alias = "metricEndpoint")]
    metric_server: Text,
    query: String,
    success_condition: Option<String>,
    failure_condition: Option<String>,
    condition: Option<String>,
    duration: Option<String>,
    fail_duration: Option<String>,
    #[serde(default)]
    header: BTreeMap<String, Text>,
    basic_auth: Option<BasicAuth>,
    ca_bundle: Option<String>,
    timeout: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RequestAsWritten {
    url: Text,
    method: Option<String>,
    #[serde(default)]
    header: BTreeMap<String, Text>,
    body: Option<Value>,
    basic_auth: Option<BasicAuth>,
    ca_bundle: Option<String>,
    timeout: Option<String>,
    success_condition: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WebhookAsWritten {
    url: Text,
    data: Option<Value>,
    #[serde(default)]
    header: BTreeMap<String, Text>,
    basic_auth: Option<BasicAuth>,
    ca_bundle: Option<String>,
    timeout: Option<String>,
    signature: Option<Text>,
    success_condition: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NotificationAsWritten {
    slack: Option<MessageAsWritten>,
    lark: Option<MessageAsWritten>,
    dingding: Option<MessageAsWritten>,
    webhook: Option<PostAsWritten>,
    email: Option<EmailAsWritten>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MessageAsWritten {
    url: Text,
    message: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PostAsWritten {
    url: Text,
    #[serde(default)]
    header: BTreeMap<String, Text>,
    ca_bundle: Option<String>,
    #[serde(default)]
    message: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EmailAsWritten {
    from: SenderAsWritten,
    to: Vec<String>,
    content: ContentAsWritten,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SenderAsWritten {
    address: Text,
    alias: Option<Text>,
    password: Option<Text>,
    host: String,
    port: Option<u16>,
    #[serde(default)]
    plaintext: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ContentAsWritten {
    subject: String,
    body: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WaitForAsWritten {
    api_version: String,
    kind: String,
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    cluster: String,
    condition: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DependsOnAppAsWritten {
    name: String,
    #[serde(default)]
    namespace: String,
}

/// Reads properties of a type.
pub(super) fn read(type_: &'static str, properties: &Value) -> Result<MeasureProperties, String> {
    let (mut often, mut rest) = (Map::new(), Map::new());
    for (name, value) in properties.as_object().into_iter().flatten() {
        let part = if SAMPLING.contains(&name.as_str()) { &mut often } else { &mut rest };
        part.insert(name.clone(), value.clone());
    }
    let may_repeat = matches!(type_, "check-metrics" | "request" | "webhook");
    for name in SAMPLING.iter().filter(|name| often.contains_key(**name)) {
        let fits = match *name {
            "consecutiveErrorLimit" => may_repeat || type_ == "notification",
            "ignoreFailure" => type_ != "check-metrics",
            _ => may_repeat,
        };
        if !fits {
            return Err(format!("{name}: a {type_} step doesn't take it"));
        }
    }
    let often: SamplingAsWritten = read_properties(&Value::Object(often))?;
    let rest = Value::Object(rest);
    let mut sampling = sampling(&often)?;
    let what = match type_ {
        "check-metrics" => What::Metrics(metrics(read_properties(&rest)?, &often, &mut sampling)?),
        "request" => What::Request(request(read_properties(&rest)?)?),
        "webhook" => What::Webhook(webhook(read_properties(&rest)?)?),
        "notification" => What::Notification(notification(read_properties(&rest)?)?),
        "wait-for" => What::WaitFor(wait_for(read_properties(&rest)?)?),
        _ => {
            let app: DependsOnAppAsWritten = read_properties(&rest)?;
            What::DependsOnApp(DependsOnApp { name: named("name", app.name)?, namespace: app.namespace })
        }
    };
    judges(&sampling)?;
    Ok(MeasureProperties {
        type_,
        sampling,
        what,
        ignore_failure: often.ignore_failure,
        written: Value::Null,
    })
}

fn sampling(written: &SamplingAsWritten) -> Result<Sampling, String> {
    let defaults = Sampling::default();
    let count = written.count.unwrap_or(defaults.count);
    if count == 0 || count > MOST_MEASUREMENTS {
        return Err(format!("count: {count} is out of bounds; write 1 to {MOST_MEASUREMENTS}"));
    }
    let interval = duration("interval", written.interval.as_deref())?.unwrap_or(defaults.interval);
    if interval < SHORTEST_INTERVAL {
        return Err("interval: must be at least 1s".to_owned());
    }
    let failure_limit = written.failure_limit.unwrap_or(defaults.failure_limit);
    let inconclusive_limit = written.inconclusive_limit.unwrap_or(defaults.inconclusive_limit);
    Ok(Sampling {
        count,
        interval,
        initial_delay: duration("initialDelay", written.initial_delay.as_deref())?
            .unwrap_or(defaults.initial_delay),
        failure_limit,
        inconclusive_limit,
        error_limit: written.consecutive_error_limit.unwrap_or(defaults.error_limit),
        hold: None,
    })
}

/// Refuses limits that nothing can exceed: whatever was measured, the step would succeed.
fn judges(sampling: &Sampling) -> Result<(), String> {
    let count = sampling.count;
    let limits =
        [("failureLimit", sampling.failure_limit), ("inconclusiveLimit", sampling.inconclusive_limit)];
    match limits.into_iter().find(|(_, limit)| sampling.hold.is_none() && *limit >= count) {
        Some((name, limit)) => Err(format!(
            "{name}: {limit} can't be exceeded by {count} measurements (count), so whatever is measured the step would succeed; write less than count"
        )),
        None if sampling.hold.is_some() && sampling.failure_limit > 0 => {
            Err("failureLimit: stands beside duration or failDuration; write one of them".to_owned())
        }
        None => Ok(()),
    }
}

fn metrics(
    written: MetricsAsWritten,
    often: &SamplingAsWritten,
    sampling: &mut Sampling,
) -> Result<MetricsQuery, String> {
    if written.query.trim().is_empty() {
        return Err("query: write a query in PromQL".to_owned());
    }
    let success = condition("successCondition", written.success_condition.as_deref(), "result")?;
    let failure = condition("failureCondition", written.failure_condition.as_deref(), "result")?;
    let judgement = match written.condition.as_deref() {
        None if success.is_none() && failure.is_none() => {
            return Err(
                "write successCondition (result[0] < 0.05), failureCondition or condition (<0.05)".to_owned()
            );
        }
        None => Judgement::Expressions { success, failure },
        Some(_) if success.is_some() || failure.is_some() => {
            return Err(
                "condition: stands beside successCondition or failureCondition; write one of them".to_owned()
            );
        }
        Some(text) => {
            Judgement::Each(Comparison::read(text).map_err(|message| format!("condition: {message}"))?)
        }
    };
    let lasting = [("duration", &written.duration), ("failDuration", &written.fail_duration)];
    if lasting.iter().any(|(_, time)| time.is_some()) || written.condition.is_some() && often.count.is_none()
    {
        if often.count.is_some() {
            return Err("count: stands beside duration or failDuration; write one of them".to_owned());
        }
        let [succeed, fail] = lasting.map(|(name, time)| duration(name, time.as_deref()));
        sampling.hold = Some(Hold {
            succeed_after: succeed?.unwrap_or(SignedDuration::from_mins(5)),
            fail_after: fail?.unwrap_or(SignedDuration::from_mins(2)),
        });
        if often.interval.is_none() {
            sampling.interval = SignedDuration::from_secs(30);
        }
    }
    let endpoint = endpoint(
        "metricServer",
        written.metric_server,
        written.header,
        written.basic_auth,
        written.ca_bundle,
        written.timeout.as_deref(),
    )?;
    Ok(MetricsQuery { server: endpoint, query: written.query, judgement })
}

fn request(written: RequestAsWritten) -> Result<HttpRequest, String> {
    let method = written.method.unwrap_or_else(|| "GET".to_owned());
    if !["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].contains(&method.as_str()) {
        return Err(format!("method: {method:?} isn't taken; write GET, HEAD, POST, PUT, PATCH or DELETE"));
    }
    Ok(HttpRequest {
        success: condition("successCondition", written.success_condition.as_deref(), "response")?,
        endpoint: endpoint(
            "url",
            written.url,
            written.header,
            written.basic_auth,
            written.ca_bundle,
            written.timeout.as_deref(),
        )?,
        method,
        body: written.body,
    })
}

fn webhook(written: WebhookAsWritten) -> Result<Webhook, String> {
    Ok(Webhook {
        success: condition("successCondition", written.success_condition.as_deref(), "response")?,
        endpoint: endpoint(
            "url",
            written.url,
            written.header,
            written.basic_auth,
            written.ca_bundle,
            written.timeout.as_deref(),
        )?,
        data: written.data,
        signature: written.signature,
    })
}

fn notification(written: NotificationAsWritten) -> Result<Notification, String> {
    let mut posts = Vec::new();
    let messages = [("slack", written.slack), ("lark", written.lark), ("dingding", written.dingding)];
    for (name, message) in messages.into_iter().filter_map(|(name, message)| Some((name, message?))) {
        if message.message.is_empty() {
            return Err(format!("{name}.message: write what is to be sent"));
        }
        let place = endpoint(&format!("{name}.url"), message.url, BTreeMap::new(), None, None, None)?;
        posts.push((name, place, Value::Object(message.message)));
    }
    if let Some(post) = written.webhook {
        let place = endpoint("webhook.url", post.url, post.header, None, post.ca_bundle, None)?;
        posts.push(("webhook", place, post.message));
    }
    let email = written.email.map(email).transpose()?;
    if posts.is_empty() && email.is_none() {
        return Err("write at least one of slack, email, webhook, lark and dingding".to_owned());
    }
    Ok(Notification { posts, email })
}

fn email(written: EmailAsWritten) -> Result<Email, String> {
    if written.to.is_empty() || written.to.len() > MOST_RECIPIENTS {
        return Err(format!("email.to: write 1 to {MOST_RECIPIENTS} addresses"));
    }
    if written.from.password.is_some() && written.from.plaintext {
        return Err("email.from.plaintext: a password isn't sent unencrypted".to_owned());
    }
    let alias = match written.from.alias {
        None => None,
        Some(Text::Plain(alias)) => Some(alias),
        Some(Text::Secret { .. }) => return Err("email.from.alias: write it as a value".to_owned()),
    };
    Ok(Email {
        address: written.from.address,
        alias,
        password: written.from.password,
        host: named("email.from.host", written.from.host)?,
        port: written.from.port.unwrap_or(587),
        plaintext: written.from.plaintext,
        to: written.to,
        subject: written.content.subject,
        body: written.content.body,
    })
}

fn wait_for(written: WaitForAsWritten) -> Result<WaitFor, String> {
    let condition = Condition::read(&written.condition, "object");
    Ok(WaitFor {
        api_version: named("apiVersion", written.api_version)?,
        kind: named("kind", written.kind)?,
        name: named("name", written.name)?,
        namespace: written.namespace,
        cluster: written.cluster,
        condition: condition.map_err(|message| format!("condition: {message}"))?,
    })
}

fn named(field: &str, text: String) -> Result<String, String> {
    if text.trim().is_empty() { Err(format!("{field}: must not be empty")) } else { Ok(text) }
}

fn duration(name: &str, text: Option<&str>) -> Result<Option<SignedDuration>, String> {
    text.map(parse_duration).transpose().map_err(|message| format!("{name}: {message}"))
}

fn condition(name: &str, source: Option<&str>, variable: &'static str) -> Result<Option<Condition>, String> {
    let read = source.map(|source| Condition::read(source, variable)).transpose();
    read.map_err(|message| format!("{name}: {message}"))
}

fn endpoint(
    field: &str,
    url: Text,
    header: BTreeMap<String, Text>,
    basic: Option<BasicAuth>,
    ca_bundle: Option<String>,
    timeout: Option<&str>,
) -> Result<Endpoint, String> {
    if let Text::Plain(url) = &url {
        let fits = ["http://", "https://", "${"].iter().any(|start| url.starts_with(start));
        if !fits {
            return Err(format!("{field}: {url:?} isn't taken; write an http:// or https:// address"));
        }
        let authority = url.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or(""));
        if authority.contains('@') && !authority.contains("${") {
            return Err(format!(
                "{field}: a password doesn't belong into an address; write basicAuth with secretRef"
            ));
        }
    }
    let timeout = duration("timeout", timeout)?.unwrap_or(ANSWER);
    if timeout <= SignedDuration::ZERO || timeout > LONGEST_ANSWER {
        return Err("timeout: one answer may take from 1s to 5m".to_owned());
    }
    Ok(Endpoint { url, header, basic: basic.map(|auth| (auth.username, auth.password)), ca_bundle, timeout })
}
