//! Policies about native objects among the files: they are checked as the controller will read them. What they move has no
//! plan: it follows at once, unless they name a Workflow.

use fleet_api::propagation::{PolicyKind, PolicyProblem, Severity};
use fleet_propagation::{KindTable, Reader};
use serde_json::Value;

use crate::environment::Environment;
use crate::exit::{Failure, Outcome};

/// Checks them. True where there are some. For programs, what is right isn't told: standard output is the plan's.
///
/// # Errors
/// Their mistakes, each with its place.
pub(super) fn check(environment: &Environment, given: &[Value], for_people: bool) -> Outcome<bool> {
    let policies: Vec<&Value> = given.iter().filter(|object| kind_of(object).is_some()).collect();
    if policies.is_empty() {
        return Ok(false);
    }
    let reader = Reader::new(kinds(given));
    let (mut mistakes, mut lines) = (Vec::new(), String::new());
    for policy in policies {
        let (name, problems, workflow) = match read(&reader, policy) {
            Ok(read) => read,
            Err(problem) => return Err(Failure::failed(format!("{}: {}", problem.path, problem.message))),
        };
        for problem in &problems {
            let at = if problem.path.is_empty() { String::new() } else { format!("{}: ", problem.path) };
            let said = format!("{name}: {at}{}", problem.message);
            match problem.severity {
                Severity::Error => mistakes.push(said),
                Severity::Warning => environment.streams.note(&format!("warning: {said}")),
            }
        }
        let what = match workflow {
            Some(workflow) => {
                format!(
                    "rolls out by Workflow {workflow}; once it is applied: fleetctl plan APP (status.rollouts)"
                )
            }
            None => "no plan: what it says is done as soon as it is applied".to_owned(),
        };
        lines.push_str(&format!("{name}: no mistakes; {what}\n"));
    }
    if !mistakes.is_empty() {
        return Err(Failure::failed(mistakes.join("\n")));
    }
    if for_people {
        environment.streams.print(&lines)?;
    }
    Ok(true)
}

fn text<'v>(object: &'v Value, field: &str) -> &'v str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn kind_of(object: &Value) -> Option<PolicyKind> {
    PolicyKind::of(text(object, "apiVersion"), text(object, "kind"))
}

type Read = (String, Vec<PolicyProblem>, Option<String>);

fn read(reader: &Reader, manifest: &Value) -> Result<Read, PolicyProblem> {
    if kind_of(manifest).is_some_and(PolicyKind::overrides) {
        let policy = reader.overrides(manifest)?;
        let mut problems = policy.problems;
        // What couldn't be read was left out, and says nothing of what is missing.
        if problems.iter().all(|problem| problem.severity != Severity::Error) {
            problems.extend(fleet_render::check_overrides(&policy.spec));
        }
        return Ok((policy.id.to_string(), problems, None));
    }
    let policy = reader.propagation(manifest)?;
    let workflow = policy.spec.workflow.as_ref().map(|workflow| workflow.reference.clone());
    Ok((policy.id.to_string(), policy.problems, workflow))
}

/// The kinds that every Kubernetes has, and those that the files define.
fn kinds(given: &[Value]) -> KindTable {
    let mut table = KindTable::builtin();
    for definition in given.iter().filter(|object| text(object, "kind") == "CustomResourceDefinition") {
        let at = |place: &str| definition.pointer(place).and_then(Value::as_str).unwrap_or_default();
        let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
        for version in versions.into_iter().flatten() {
            let namespaced = at("/spec/scope") == "Namespaced";
            table.add(at("/spec/group"), text(version, "name"), at("/spec/names/kind"), namespaced);
        }
    }
    table
}
