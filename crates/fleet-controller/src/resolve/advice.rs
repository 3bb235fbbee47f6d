//! What is wrong with an object that somebody writes, as far as that object alone tells: admission says it as a warning,
//! the moment it is applied. Never a refusal, since the order in which objects are applied is free. The functions are
//! those that make the conditions later, so both say the same.

use std::collections::BTreeSet;

use fleet_api::{Application, RolloutWindow, Workflow, WorkflowMode};
use fleet_placement::Topology;
use fleet_workflow::graph::Amount;
use fleet_workflow::windows::Windows;
use fleet_workflow::{Graph, StepKind};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::resolve::{self, Policies};
use crate::run::queue;
use crate::{Problem, measure};

/// What an object's author should know now; nothing where nothing is wrong, or it is no object of ours.
pub fn advise(object: &Value) -> Option<String> {
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let wrong = match (text("apiVersion").split('/').next(), text("kind")) {
        (Some("core.oam.dev"), "Application") => of(object, of_application),
        (Some("core.oam.dev"), "Workflow") => of(object, of_workflow),
        (Some("fleetctl.dev"), "RolloutWindow") => {
            return Windows::of_fleet(&read::<RolloutWindow>(object)?.spec)
                .err()
                .map(|why| format!("nothing begins that it may be about until it is mended: {why}"));
        }
        _ => None,
    }?;
    Some(format!("{} ({}); nothing of it is rolled out until it is mended", wrong.message, wrong.reason))
}

fn of<K: DeserializeOwned>(object: &Value, judge: fn(&K) -> Result<(), Problem>) -> Option<Problem> {
    judge(&read(object)?).err()
}

/// What isn't what its kind says the schema refuses.
fn read<K: DeserializeOwned>(object: &Value) -> Option<K> {
    serde_json::from_value(object.clone()).ok()
}

fn of_application(app: &Application) -> Result<(), Problem> {
    queue::rule(app)?;
    resolve::service_account(app)?;
    resolve::components(&app.spec)?;
    let inline = resolve::inline_policies(&app.spec)?;
    if app
        .spec
        .workflow
        .as_ref()
        .is_some_and(|workflow| workflow.reference.is_some() && workflow.steps.is_empty())
    {
        return Ok(());
    }
    let (steps, dag) = resolve::own_steps(&app.spec, &inline)?;
    let graph = Graph::read(&steps, dag)?;
    let named = |name: &Option<String>| name.clone().unwrap_or_default();
    graph.refuse_hopeless(&named(&app.metadata.namespace), &named(&app.metadata.name))?;
    measure::refuse_out_of_reach(&graph)?;
    graph.nodes.iter().try_for_each(|node| match &node.kind {
        StepKind::Deploy(deploy) => {
            too_many_failures(&node.name, deploy.max_failures, &deploy.policies, &inline)
        }
        _ => Ok(()),
    })
}

fn of_workflow(workflow: &Workflow) -> Result<(), Problem> {
    if workflow.spec.steps.is_empty() {
        return Ok(());
    }
    let mode: Option<WorkflowMode> = workflow.spec.mode.clone();
    let (steps, dag) = resolve::in_mode(workflow.spec.steps.clone(), mode)?;
    let graph = Graph::read(&steps, dag)?;
    // Which Application walks it isn't known.
    graph.refuse_hopeless(workflow.metadata.namespace.as_deref().unwrap_or_default(), "")?;
    measure::refuse_out_of_reach(&graph)
}

/// Where all clusters of a step are named, there are no more targets than names.
fn too_many_failures(
    step: &str,
    most: Amount,
    policies: &[String],
    inline: &Policies,
) -> Result<(), Problem> {
    let Amount::Count(failures) = most else { return Ok(()) };
    let mut names = BTreeSet::new();
    for policy in policies {
        match inline.get(policy) {
            Some((type_, properties)) if type_ == "topology" => {
                let topology = Topology::parse(policy, properties)?;
                if topology.clusters.is_empty() {
                    return Ok(());
                }
                let place = |cluster| (cluster, topology.namespace.clone());
                names.extend(topology.clusters.iter().cloned().map(place));
            }
            Some(_) => {}
            // It may be a topology of its own.
            None => return Ok(()),
        }
    }
    if names.is_empty() || usize::try_from(failures).unwrap_or(usize::MAX) <= names.len() {
        return Ok(());
    }
    let error = fleet_workflow::OrderError::MaxFailures { failures, targets: names.len() };
    Err(Problem::wrong(error.reason(), format!("step {step:?}: properties: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn app(steps: Value) -> Value {
        json!({"apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
            "metadata": {"name": "web", "namespace": "demo"},
            "spec": {"components": [],
                "policies": [{"name": "where", "type": "topology", "properties": {"clusters": ["m1", "m2"]}}],
                "workflow": {"steps": steps}}})
    }

    // Broken: somebody applies what can never run, reads "configured", and goes home.
    #[test]
    fn what_the_object_alone_tells_is_said_at_once() {
        let deploy = |more: Value| {
            let mut step = json!({"name": "go", "type": "deploy", "properties": {"policies": ["where"]}});
            for (key, value) in more.as_object().unwrap() {
                step[key] = value.clone();
            }
            step
        };
        let never = json!({"windows": {"allow": [{"cron": "0 0 30 2 *", "duration": "1h"}]}});
        let failures = json!({"properties": {"policies": ["where"], "maxFailures": 3}});
        let second = json!({"name": "then", "type": "suspend", "dependsOn": ["go"]});
        let cases = [
            (json!([deploy(json!({"if": "status ==="}))]), "if"),
            (json!([deploy(json!({"dependsOn": ["then"]})), second]), "then"),
            (json!([deploy(never)]), "never comes"),
            (json!([deploy(failures)]), "only 2"),
        ];
        for (steps, word) in cases {
            let said = advise(&app(steps.clone())).expect(word);
            assert!(said.contains(word), "{said}");
            let workflow = json!({"apiVersion": "core.oam.dev/v1alpha1", "kind": "Workflow",
                "metadata": {"name": "web", "namespace": "demo"}, "mode": {"steps": "DAG"}, "steps": steps});
            assert_eq!(advise(&workflow).is_some(), word != "only 2", "{word}");
        }
        let freeze = json!({"apiVersion": "fleetctl.dev/v1alpha1", "kind": "RolloutWindow",
            "metadata": {"name": "freeze"}, "spec": {"deny": [{"cron": "0 0 30 2 *", "duration": "1d"}]}});
        assert!(advise(&freeze).is_some());
    }

    // Broken: whoever applies in another order is warned of what comes a moment later, and stops reading warnings.
    #[test]
    fn what_may_be_applied_later_is_no_mistake() {
        let fine = app(
            json!([{"name": "go", "type": "deploy", "properties": {"policies": ["elsewhere"], "maxFailures": 9}}]),
        );
        assert_eq!(advise(&fine), None);
        let mut named = app(json!([]));
        named["spec"]["workflow"] = json!({"ref": "not-there-yet"});
        assert_eq!(advise(&named), None);
        for other in [json!(null), json!({"kind": "Application"}), json!({"apiVersion": "v1", "kind": "Pod"})]
        {
            assert_eq!(advise(&other), None, "{other}");
        }
    }
}
