//! Asks one cluster for everything.

use http::Request as HttpRequest;
use serde_json::Value;

use crate::access::Cluster;
use crate::exit::{Exit, Failure, Outcome};

use super::catalogue::{Catalogue, Type, escape_value};
use super::request::{Format, Request};

/// Objects for people come as the rows of a table that the server makes.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
/// How many objects are asked for at once.
const PAGE: usize = 500;

/// What a cluster has of one type.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) type_: Type,
    /// Tables or objects, as the format wants.
    pub(crate) parts: Vec<Value>,
}

/// What a cluster answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) found: Vec<Found>,
    /// Named objects that aren't there.
    pub(crate) missing: Vec<Missing>,
}

/// A named object that isn't there.
#[derive(Debug, Clone)]
pub(crate) struct Missing {
    /// `deployments.apps "web-demo"`
    pub(crate) object: String,
    /// The server's words.
    pub(crate) said: String,
}

impl Answer {
    /// Whether there is nothing to show.
    pub(crate) fn is_empty(&self) -> bool {
        self.found
            .iter()
            .all(|found| found.parts.iter().all(|part| rows(part).is_none_or(<[Value]>::is_empty)))
    }

    /// The objects.
    pub(crate) fn into_objects(self) -> impl Iterator<Item = Value> {
        self.found.into_iter().flat_map(|found| found.parts)
    }
}

/// The rows of a table; `None` where it is none and so one object.
pub(crate) fn rows(part: &Value) -> Option<&[Value]> {
    if part.get("kind").and_then(Value::as_str) != Some("Table") {
        return Some(std::slice::from_ref(part));
    }
    Some(part.get("rows").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default())
}

/// Asks for everything in turn: a cluster's own answers are quick, and the caller asks several clusters at once.
pub(crate) async fn fetch(cluster: &Cluster, request: &Request, namespace: &str) -> Outcome<Answer> {
    let catalogue = Catalogue::load(cluster).await?;
    let mut answer = Answer::default();
    for wanted in &request.wanted {
        for type_ in catalogue.find(&wanted.type_)? {
            let mut found = Found { type_: type_.clone(), parts: Vec::new() };
            if wanted.names.is_empty() {
                found.parts = list(cluster, request, type_, namespace).await?;
            }
            for name in &wanted.names {
                let path = type_.path(Some(namespace), Some(name));
                match ask(cluster, request, &path).await {
                    Ok(object) => found.parts.push(object),
                    Err(failure) if failure.exit == Exit::NotFound => {
                        let object = format!("{} {name:?}", type_.resource());
                        answer.missing.push(Missing { object, said: failure.message });
                    }
                    Err(failure) => return Err(failure),
                }
            }
            answer.found.push(found);
        }
    }
    Ok(answer)
}

async fn list(cluster: &Cluster, request: &Request, type_: &Type, namespace: &str) -> Outcome<Vec<Value>> {
    let path = type_.path((!request.all_namespaces).then_some(namespace), None);
    let mut query = format!("limit={PAGE}");
    for (key, value) in [("labelSelector", &request.labels), ("fieldSelector", &request.fields)] {
        if let Some(value) = value {
            query.push_str(&format!("&{key}={}", escape_value(value)));
        }
    }
    let mut parts = Vec::new();
    let mut next = String::new();
    loop {
        let mut page = ask(cluster, request, &format!("{path}?{query}{next}")).await?;
        let token = page.pointer("/metadata/continue").and_then(Value::as_str).unwrap_or_default().to_owned();
        if page.get("kind").and_then(Value::as_str) == Some("Table") {
            parts.push(page);
        } else {
            // Items of a list don't say what they are; an object that is taken out of it must.
            let kind = type_.kind.clone();
            let version = page.get("apiVersion").cloned().unwrap_or_default();
            if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
                parts.extend(items.into_iter().map(|mut item| {
                    if let Some(fields) = item.as_object_mut() {
                        fields.entry("apiVersion").or_insert_with(|| version.clone());
                        fields.entry("kind").or_insert_with(|| Value::String(kind.clone()));
                    }
                    item
                }));
            }
        }
        if token.is_empty() {
            return Ok(parts);
        }
        next = format!("&continue={}", escape_value(&token));
    }
}

async fn ask(cluster: &Cluster, request: &Request, path: &str) -> Outcome<Value> {
    let accept = if matches!(request.format, Format::Table { .. }) { TABLE } else { "application/json" };
    let built = HttpRequest::get(path).header(http::header::ACCEPT, accept).body(Vec::new());
    let built = built.map_err(|error| Failure::failed(error.to_string()))?;
    let answer: Result<Value, kube::Error> =
        match tokio::time::timeout(cluster.deadline, cluster.client.request(built)).await {
            Ok(answer) => answer,
            Err(_) => return Err(cluster.silent(path.split('?').next().unwrap_or_default())),
        };
    match answer {
        Ok(answer) => Ok(answer),
        // The server's own words: they name the object.
        Err(kube::Error::Api(status)) if status.code == 404 => {
            Err(Failure::not_found(status.message.clone()))
        }
        Err(error) => cluster.ask(path.split('?').next().unwrap_or_default(), async { Err(error) }).await,
    }
}
