//! `fleetctl get`: resources of the hub, or of many members at once.
//!
//! ```text
//!  words ─► request (types, names, selectors) ─► per cluster: catalogue ─► fetch ─► print
//!                                                  what the cluster serves   tables or objects
//! ```

pub(crate) mod catalogue;
pub(crate) mod fetch;
mod jsonpath;
mod print;
pub(crate) mod request;

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_api::ManagedCluster;
use futures::StreamExt as _;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::access::{Access, Cluster};
use crate::args::{GetArgs, Global};
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::style::{BAD, paint};
use crate::roster::{Roster, label};

use fetch::{Answer, fetch};
use print::{Printer, none_found};
use request::{Format, Request};

/// How many members are asked at once.
const AT_ONCE: usize = 16;
/// On an object of a list over several members: where it is.
const CLUSTER: &str = "fleetctl.dev/cluster";

/// Does it.
///
/// # Errors
/// See the exit codes.
pub async fn run(environment: &Environment, global: &Global, arguments: &GetArgs) -> Outcome {
    let request = Request::read(arguments)?;
    let access = Access::load(environment, global)?;
    let hub = access.hub().await?;
    if !arguments.members.is_empty() {
        return on_members(environment, &access, &hub, request, arguments).await;
    }
    if request.is_members_table() {
        return members_table(environment, &hub, &request).await;
    }
    on_hub(environment, &access, &hub, request).await
}

/// `get managedcluster`: the table that its users know.
async fn members_table(environment: &Environment, hub: &Cluster, request: &Request) -> Outcome {
    let roster = Roster::load(hub).await?;
    let names = request.names();
    let chosen: Vec<&ManagedCluster> = match names.is_empty() {
        true => roster.all().iter().collect(),
        false => names.iter().map(|name| roster.find(name)).collect::<Outcome<_>>()?,
    };
    if chosen.is_empty() {
        environment.streams.note("No resources found");
        return Ok(());
    }
    environment.streams.print(&crate::cluster::table(&chosen, !request.no_headers).to_string())
}

async fn on_hub(environment: &Environment, access: &Access, hub: &Cluster, request: Request) -> Outcome {
    let namespace = access.namespace(hub);
    let answer = fetch(hub, &request, &namespace).await?;
    let printer = Printer { request: &request };
    if answer.is_empty() && answer.missing.is_empty() && !request.format.is_for_programs() {
        environment.streams.note(&format!("{}.", none_found(&answer, &request, &namespace)));
        return Ok(());
    }
    environment.streams.print(&printer.print(&answer)?)?;
    match answer.missing.first() {
        None => Ok(()),
        Some(first) => {
            let others = answer.missing.iter().skip(1);
            others.for_each(|missing| {
                environment.streams.note(&format!("{} {}", paint(BAD, "error:"), missing.said))
            });
            Err(Failure::not_found(first.said.as_str()))
        }
    }
}

/// What one member answered.
struct Told {
    name: String,
    label: String,
    outcome: Outcome<Answer>,
}

async fn on_members(
    environment: &Environment,
    access: &Access,
    hub: &Cluster,
    request: Request,
    arguments: &GetArgs,
) -> Outcome {
    let roster = Roster::load(hub).await?;
    let chosen: Vec<ManagedCluster> = roster.select(&arguments.members)?.into_iter().cloned().collect();
    let namespace = access.namespace(hub);
    let request = Arc::new(request);
    let several = chosen.len() > 1;
    let asked = futures::stream::iter(chosen).map(|member| {
        let (request, namespace) = (Arc::clone(&request), namespace.clone());
        async move {
            let name = member.name_any();
            let outcome = ask(access, &member, &request, &namespace, arguments).await;
            Told { label: label(&member), name, outcome }
        }
    });
    // Asked together, shown in order, each as soon as its turn has come.
    let mut answers = asked.buffered(AT_ONCE);
    let mut gathered = Gathered { several, ..Gathered::default() };
    while let Some(told) = answers.next().await {
        gathered.take(environment, &request, &namespace, told)?;
    }
    gathered.finish(environment, &request)
}

async fn ask(
    access: &Access,
    member: &ManagedCluster,
    request: &Request,
    namespace: &str,
    arguments: &GetArgs,
) -> Outcome<Answer> {
    let cluster = access.member(&member.name_any(), member.alias(), arguments.timeout).await?;
    // One deadline for everything that is asked of a member, however many requests it takes.
    let asked = tokio::time::timeout(arguments.timeout, fetch(&cluster, request, namespace));
    asked.await.unwrap_or_else(|_| Err(cluster.silent("its resources")))
}

/// What all members together come to.
#[derive(Default)]
struct Gathered {
    several: bool,
    objects: Vec<Value>,
    found: bool,
    /// How many members have answered.
    answered: usize,
    /// Named objects, and how many members don't have them.
    missing: BTreeMap<String, usize>,
    failure: Option<Exit>,
}

impl Gathered {
    fn take(&mut self, environment: &Environment, request: &Request, namespace: &str, told: Told) -> Outcome {
        let answer = match told.outcome {
            Ok(answer) => answer,
            Err(failure) => {
                environment.streams.note(&format!("{} {}: {failure}", paint(BAD, "error:"), told.label));
                let exit = self.failure.get_or_insert(failure.exit);
                if failure.exit == Exit::Unreachable {
                    *exit = Exit::Unreachable;
                }
                return Ok(());
            }
        };
        self.found |= !answer.is_empty();
        self.answered += 1;
        for missing in &answer.missing {
            *self.missing.entry(missing.object.clone()).or_default() += 1;
        }
        if matches!(request.format, Format::Json | Format::Yaml) {
            self.objects.extend(
                answer
                    .into_objects()
                    .map(|object| if self.several { mark(object, &told.name) } else { object }),
            );
            return Ok(());
        }
        let mut text = String::new();
        // Programs read stdout: what only people look for stays out of it.
        let for_people = matches!(request.format, Format::Table { .. });
        let mut aside = |line: String| match for_people {
            true => text.push_str(&format!("{line}\n")),
            false => environment.streams.note(&line),
        };
        if self.several || for_people {
            aside(format!("Run on ManagedCluster {}", told.label));
        }
        if answer.is_empty() && !matches!(request.format, Format::JsonPath(_)) {
            aside(none_found(&answer, request, namespace));
        }
        if !answer.is_empty() {
            let printed = Printer { request }.print(&answer)?;
            text.push_str(&printed);
            if self.several && !printed.ends_with('\n') {
                text.push('\n');
            }
        }
        environment.streams.print(&text)
    }

    fn finish(mut self, environment: &Environment, request: &Request) -> Outcome {
        if matches!(request.format, Format::Json | Format::Yaml) && (self.found || self.failure.is_none()) {
            environment.streams.print(&print::objects(request, std::mem::take(&mut self.objects))?)?;
        }
        if let Some(exit) = self.failure {
            // Whoever didn't answer may have what the others don't.
            return Err(Failure::silent(exit));
        }
        let nowhere = self.missing.iter().filter(|(_, members)| **members == self.answered);
        let mut nowhere = nowhere.map(|(object, _)| format!("{object} not found on any asked member"));
        let Some(first) = nowhere.next() else { return Ok(()) };
        nowhere.for_each(|said| environment.streams.note(&format!("{} {said}", paint(BAD, "error:"))));
        Err(Failure::not_found(first))
    }
}

fn mark(mut object: Value, cluster: &str) -> Value {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    let annotations = metadata.map(|metadata| metadata.entry("annotations").or_insert_with(|| json!({})));
    if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
        annotations.insert(CLUSTER.to_owned(), json!(cluster));
    }
    object
}
