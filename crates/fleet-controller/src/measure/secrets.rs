//! Values of Secrets that a step names: read for each measurement, put into what is sent, shown nowhere.

use std::collections::BTreeMap;

use fleet_workflow::MeasureProperties;
use fleet_workflow::graph::measure::{SecretKey, Text};
use fleet_workflow::measure::Reading;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use serde_json::Value;

use super::Job;
use crate::context::Context;
use crate::hub::Input;

/// What stands where a value was.
const HIDDEN: &str = "***";

/// The values that a step names.
#[derive(Default)]
pub(super) struct Secrets(BTreeMap<SecretKey, String>);

impl Secrets {
    /// Reads them from the Application's namespace on the hub, if its account may.
    ///
    /// # Errors
    /// In words: which isn't there, or may not be read.
    pub(super) async fn read(
        ctx: &Context,
        job: &Job,
        properties: &MeasureProperties,
    ) -> Result<Self, String> {
        let wanted = properties.secrets();
        let mut found = Self::default();
        let mut read: BTreeMap<String, Secret> = BTreeMap::new();
        let namespace = &job.app.0;
        let api: Api<Secret> = Api::namespaced(ctx.hub.client.clone(), namespace);
        for at in wanted {
            let name = &at.name;
            if !read.contains_key(name) {
                let input = Input::Object("v1".into(), "Secret".into(), namespace.clone(), name.clone());
                crate::hub::readable::check(ctx, &job.app, job.account.as_deref(), [&input].into_iter())
                    .await
                    .map_err(|problem| problem.message)?;
                let secret = api.get_opt(name).await.map_err(|error| match error {
                    kube::Error::Api(status) if status.code == 403 => format!(
                        "the controller may not read Secret {namespace}/{name}; grant it get on that Secret (kubectl create role and rolebinding), or install with referenced.secrets=true"
                    ),
                    error => format!("Secret {namespace}/{name}: {}", fleet_members::innermost(&error)),
                })?;
                let secret = secret.ok_or_else(|| {
                    format!("Secret {namespace}/{name} isn't there; create it (kubectl create secret generic {name} -n {namespace})")
                })?;
                read.insert(name.clone(), secret);
            }
            let bytes = read.get(name).and_then(|secret| secret.data.as_ref()?.get(&at.key));
            let bytes = bytes.ok_or_else(|| format!("Secret {namespace}/{name} has no key {:?}", at.key))?;
            let text = String::from_utf8(bytes.0.clone())
                .map_err(|_| format!("Secret {namespace}/{name}: key {:?} isn't text", at.key))?;
            found.0.insert(at, text.trim_end_matches(['\n', '\r']).to_owned());
        }
        Ok(found)
    }

    /// What stands in a place.
    pub(super) fn get(&self, at: &SecretKey) -> Result<String, String> {
        self.0.get(at).cloned().ok_or_else(|| format!("Secret {} wasn't read", at.name))
    }

    /// A text as it is sent.
    pub(super) fn text(&self, text: &Text) -> Result<String, String> {
        match text {
            Text::Plain(text) => Ok(text.clone()),
            Text::Secret { at, prefix } => Ok(format!("{prefix}{}", self.get(at)?)),
        }
    }

    /// A reading without any of the values: a server may send back what it was sent.
    pub(super) fn hide(&self, reading: Reading) -> Reading {
        let mut hidden = self.shown();
        // The longest first: one may be part of another.
        hidden.sort_by_key(|value| std::cmp::Reverse(value.len()));
        let clean =
            |text: String| hidden.iter().fold(text, |text, value| text.replace(value.as_str(), HIDDEN));
        Reading {
            value: clean(reading.value),
            message: clean(reading.message),
            output: reading.output.map(|output| cleaned(output, &clean)),
            ..reading
        }
    }

    /// The values, and how they look where they travel.
    fn shown(&self) -> Vec<String> {
        let mut all = Vec::new();
        for value in self.0.values().filter(|value| !value.is_empty()) {
            all.push(value.clone());
            // As it stands within JSON.
            let quoted = Value::String(value.clone()).to_string();
            all.push(quoted.trim_matches('"').to_owned());
        }
        let values: Vec<&String> = self.0.values().collect();
        for user in &values {
            // With which user a password goes isn't known here, so every pair is looked for.
            all.extend(values.iter().map(|password| super::request::basic(user, password)));
        }
        all
    }
}

fn cleaned(value: Value, clean: &dyn Fn(String) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(clean(text)),
        Value::Array(list) => list.into_iter().map(|value| cleaned(value, clean)).collect(),
        Value::Object(map) => {
            map.into_iter().map(|(key, value)| (clean(key), cleaned(value, clean))).collect()
        }
        other => other,
    }
}
