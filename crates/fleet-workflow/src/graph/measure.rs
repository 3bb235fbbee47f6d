//! The properties of steps that measure, ask or tell.

mod text;
mod written;

use std::collections::BTreeMap;

use fleet_cel::{Limits, Template};
use jiff::SignedDuration;
use serde_json::Value;

use crate::measure::prometheus::Judgement;
use crate::measure::{Condition, Sampling};

pub use text::{SecretKey, Text, with_secrets};

/// The step types that measure.
pub const MEASURE_TYPES: [&str; 6] =
    ["check-metrics", "request", "webhook", "notification", "wait-for", "depends-on-app"];

/// A step that measures, asks or tells.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasureProperties {
    /// Its type, as it is written.
    pub type_: &'static str,
    /// How often, and how much is borne.
    pub sampling: Sampling,
    /// What is done.
    pub what: What,
    /// A failure is told and doesn't fail the step.
    pub ignore_failure: bool,
    /// The properties as they are written, with `${…}`.
    pub(super) written: Value,
}

/// What a step that measures does.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// Asks Prometheus.
    Metrics(MetricsQuery),
    /// Sends a request, and judges the answer.
    Request(HttpRequest),
    /// Tells what is about to happen, and judges the answer.
    Webhook(Webhook),
    /// Tells people.
    Notification(Notification),
    /// Waits until an object is as it should be.
    WaitFor(WaitFor),
    /// Waits until another Application runs.
    DependsOnApp(DependsOnApp),
}

impl What {
    /// The servers that it asks or tells by HTTP.
    pub fn endpoints(&self) -> Vec<&Endpoint> {
        match self {
            Self::Metrics(query) => vec![&query.server],
            Self::Request(request) => vec![&request.endpoint],
            Self::Webhook(webhook) => vec![&webhook.endpoint],
            Self::Notification(told) => told.posts.iter().map(|(_, endpoint, _)| endpoint).collect(),
            Self::WaitFor(_) | Self::DependsOnApp(_) => Vec::new(),
        }
    }
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Where; http or https.
    pub url: Text,
    /// Headers by name.
    pub header: BTreeMap<String, Text>,
    /// User and password.
    pub basic: Option<(Text, Text)>,
    /// Certificates to trust, in PEM, instead of the system's.
    pub ca_bundle: Option<String>,
    /// How long one answer may take.
    pub timeout: SignedDuration,
}

/// A query to Prometheus.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricsQuery {
    /// The server, without `/api/v1/query`.
    pub server: Endpoint,
    /// In PromQL.
    pub query: String,
    /// How the answer is judged.
    pub judgement: Judgement,
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpRequest {
    /// Where.
    pub endpoint: Endpoint,
    /// Its method.
    pub method: String,
    /// A string is sent as it is, anything else as JSON, in which `{secretRef: {name, key}}` stands for a value.
    pub body: Option<Value>,
    /// Over `response`, with `status`, `headers` and `body`; where there is none, a status below 400 is good.
    pub success: Option<Condition>,
}

/// A webhook: its body says what is about to happen.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// Where.
    pub endpoint: Endpoint,
    /// Added to the body as `data`.
    pub data: Option<Value>,
    /// With this key the body is signed.
    pub signature: Option<Text>,
    /// As for [`HttpRequest`].
    pub success: Option<Condition>,
}

/// A message to people.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// By HTTP: the channel's name, where, and what is posted as JSON.
    pub posts: Vec<(&'static str, Endpoint, Value)>,
    /// By mail.
    pub email: Option<Email>,
}

/// A mail.
#[derive(Debug, Clone, PartialEq)]
pub struct Email {
    /// From whom.
    pub address: Text,
    /// The name that stands beside the address.
    pub alias: Option<String>,
    /// For the server; without one nobody logs in.
    pub password: Option<Text>,
    /// The server.
    pub host: String,
    /// Its port: 465 speaks TLS from the start, any other must offer STARTTLS.
    pub port: u16,
    /// Whether what is sent may be read by others on the way.
    pub plaintext: bool,
    /// To whom.
    pub to: Vec<String>,
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub body: String,
}

/// An object that is waited for.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitFor {
    /// Its API version.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace; the Application's where it is empty.
    pub namespace: String,
    /// The member that it is on; the hub where it is empty.
    pub cluster: String,
    /// Over `object`.
    pub condition: Condition,
}

impl WaitFor {
    /// Why nobody may wait for a Secret.
    pub const NO_SECRET: &str = "a condition on a Secret would tell what it holds; wait for another object";

    /// Whether it is one.
    pub fn is_secret(&self) -> bool {
        self.kind == "Secret" && self.api_version == "v1"
    }
}

/// An Application that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependsOnApp {
    /// Its name.
    pub name: String,
    /// Its namespace; the Application's own where it is empty.
    pub namespace: String,
}

impl MeasureProperties {
    /// Reads what stands in a step of one of [`MEASURE_TYPES`].
    ///
    /// # Errors
    /// What is wrong, with the field that it is in.
    pub fn read(type_: &str, properties: &Value) -> Result<Self, String> {
        let type_ = MEASURE_TYPES.into_iter().find(|known| *known == type_).unwrap_or_default();
        let template =
            Template::compile(properties, &Limits::default()).map_err(|error| error.to_string())?;
        if let Some(unknown) = template.variables().find(|name| *name != "context") {
            return Err(format!("${{{unknown}}} is unknown here; there is ${{context.…}}"));
        }
        Ok(Self { written: properties.clone(), ..written::read(type_, properties)? })
    }

    /// The same with `${…}` replaced.
    ///
    /// # Errors
    /// In words, where an expression fails or its value doesn't fit.
    pub fn rendered(&self, variables: &[(&str, &Value)]) -> Result<Self, String> {
        let template =
            Template::compile(&self.written, &Limits::default()).map_err(|error| error.to_string())?;
        let rendered = template.render(variables).map_err(|error| error.to_string())?;
        Ok(Self { written: self.written.clone(), ..written::read(self.type_, &rendered)? })
    }

    /// How long the step may take: what is written, else a good while longer than measuring takes where all is well.
    ///
    /// # Errors
    /// Where measuring alone takes longer than what is written.
    pub(super) fn within(&self, timeout: Option<SignedDuration>) -> Result<SignedDuration, String> {
        let least = self.sampling.least_time();
        match timeout {
            Some(timeout) if timeout < least => Err(format!(
                "{timeout:#} is too short: measuring alone takes {least:#} (initialDelay, count, interval, duration)"
            )),
            Some(timeout) => Ok(timeout),
            None => Ok(super::DEFAULT_TIMEOUT.max(least.checked_mul(2).unwrap_or(SignedDuration::MAX))),
        }
    }
}
