//! What a workflow says that can come to nothing but a failure once its turn comes: known before anything begins.
//!
//! Apart from reading, since a revision that is on record is read whatever it says: its run fails where it comes to that.

use std::collections::BTreeSet;

use fleet_cel::{Limits, Template};

use super::error::did_you_mean;
use super::expression::Expression;
use super::measure::{WaitFor, What};
use super::{Graph, MeasureProperties, Node, StepKind, WorkflowError};

/// What expressions of steps see of `context`.
const FIELDS: [&str; 10] = [
    "name",
    "appName",
    "namespace",
    "appRevision",
    "revision",
    "runNumber",
    "publishVersion",
    "cause",
    "appLabels",
    "stepName",
];
/// What `${context.…}` sees in the properties of steps that measure, ask or tell.
const TEMPLATE_FIELDS: [&str; 9] =
    ["name", "appName", "namespace", "appRevision", "revision", "run", "runNumber", "stepName", "planHash"];

/// What expressions of a step see of `output`; of what a step measures or asks that depends on the answer.
fn output_fields(kind: &StepKind) -> Option<&'static [&'static str]> {
    match kind {
        StepKind::Deploy(_) => Some(&["targets", "clusters", "succeeded", "total", "planHash"]),
        StepKind::Suspend(_) => Some(&["approver", "proven", "reason", "at"]),
        StepKind::Group => Some(&["steps"]),
        StepKind::Measure(_) => None,
    }
}

impl Graph {
    /// Refuses what can't succeed, for the Application of a namespace and a name.
    ///
    /// # Errors
    /// The first step of which that is known, with the cause and what to write instead.
    pub fn refuse_hopeless(&self, namespace: &str, application: &str) -> Result<(), WorkflowError> {
        self.nodes.iter().try_for_each(|node| of_node(node, namespace, application))
    }
}

fn of_node(node: &Node, namespace: &str, application: &str) -> Result<(), WorkflowError> {
    let step = || node.name.clone();
    if node.waits_at_most.is_some_and(|most| !most.is_positive()) {
        let message = "must be more than nothing; leave it out for the default".to_owned();
        return Err(WorkflowError::Timeout { step: step(), message });
    }
    if let Some(condition) = &node.condition {
        known_fields(&condition.expression).map_err(|message| WorkflowError::Field {
            step: step(),
            field: "if",
            message,
        })?;
    }
    for output in &node.outputs {
        let known = known_fields(&output.expression).and_then(|()| match output_fields(&node.kind) {
            Some(fields) => among("output", output.expression.names_of("output"), fields),
            None => Ok(()),
        });
        known.map_err(|message| {
            let message = format!("{}: valueFrom: {message}", output.name);
            WorkflowError::Field { step: step(), field: "outputs", message }
        })?;
    }
    if let StepKind::Measure(measure) = &node.kind {
        // What other steps put in isn't known yet.
        let fixed = node.inputs.iter().all(|input| input.at.is_none());
        of_measure(measure, fixed, namespace, application)
            .map_err(|message| WorkflowError::Properties { step: step(), message })?;
    }
    Ok(())
}

fn known_fields(expression: &Expression) -> Result<(), String> {
    among("context", expression.names_of("context"), &FIELDS)
}

fn among(whole: &str, names: impl IntoIterator<Item = String>, known: &[&str]) -> Result<(), String> {
    let unknown = names.into_iter().find(|name| !known.contains(&name.as_str()));
    unknown.map_or(Ok(()), |name| {
        Err(format!(
            "{whole} has no field {name:?}{}; it has: {}",
            did_you_mean(&name, known),
            known.join(", ")
        ))
    })
}

fn of_measure(
    measure: &MeasureProperties,
    fixed: bool,
    namespace: &str,
    application: &str,
) -> Result<(), String> {
    let template =
        Template::compile(&measure.written, &Limits::default()).map_err(|error| error.to_string())?;
    let named: BTreeSet<String> = template.selected_of("context");
    among("context", named, &TEMPLATE_FIELDS)?;
    let plain = |text: &str| fixed && !text.contains("${");
    match &measure.what {
        What::WaitFor(wanted) => {
            if fixed && wanted.is_secret() {
                return Err(format!("kind: {}", WaitFor::NO_SECRET));
            }
            let elsewhere = wanted.cluster.is_empty() && !wanted.namespace.is_empty();
            if elsewhere && plain(&wanted.namespace) && wanted.namespace != namespace {
                return Err(format!(
                    "namespace: {:?} isn't the Application's ({namespace}); on the hub only objects of that one can be waited for",
                    wanted.namespace
                ));
            }
        }
        What::DependsOnApp(wanted) => {
            let here = wanted.namespace.is_empty() || wanted.namespace == namespace;
            if fixed && here && wanted.name == application {
                return Err(format!(
                    "name: Application {namespace}/{application} would wait for itself; name another one"
                ));
            }
        }
        What::Metrics(_) | What::Request(_) | What::Webhook(_) | What::Notification(_) => {}
    }
    Ok(())
}
