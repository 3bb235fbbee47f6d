//! What a policy tells of the Applications that carry it.

use fleet_api::propagation::Rollout;
use fleet_api::{Application, Phase, conditions};
use fleet_propagation::PolicyId;

use crate::propagation::distributor::Distributor;

impl Distributor {
    /// The Applications that carry a policy, by namespace.
    pub(in crate::propagation) fn rollouts(&self, id: &PolicyId) -> Vec<Rollout> {
        let its = self.stages.policies.iter().filter(|(_, policy)| *policy == id);
        let told = its.filter_map(|(key, _)| {
            let application = self.application(key)?;
            let (reason, message) = stands(&application);
            let workflow = application.status.as_ref().and_then(|status| status.workflow.as_ref());
            Some(Rollout {
                namespace: key.0.clone(),
                application: key.1.clone(),
                run: workflow.map(|workflow| workflow.run.clone()).unwrap_or_default(),
                reason: reason.to_owned(),
                message,
            })
        });
        told.collect()
    }
}

/// How an Application stands: a code and words.
fn stands(application: &Application) -> (&'static str, String) {
    let Some(status) = &application.status else {
        return ("StagedStarting", "its first run is about to start".to_owned());
    };
    let workflow = status.workflow.as_ref();
    let message = workflow.map(|workflow| workflow.message.clone()).unwrap_or_default();
    let rendered = conditions::find(&status.conditions, "Rendered");
    if let Some(problem) = rendered.filter(|condition| condition.status != "True") {
        return ("StagedRefused", format!("{}: {}", problem.reason, problem.message));
    }
    match status.status {
        Phase::Starting | Phase::Rendering => ("StagedStarting", message),
        Phase::RunningWorkflow | Phase::Deleting => ("StagedRunning", message),
        Phase::WorkflowSuspending => ("StagedWaiting", message),
        Phase::WorkflowTerminated => ("StagedTerminated", message),
        Phase::WorkflowFailed => ("StagedFailed", message),
        // What is written and not looked at yet.
        Phase::Running | Phase::Unhealthy
            if Some(status.observed_generation) != application.metadata.generation =>
        {
            ("StagedStarting", "what has changed is about to roll out".to_owned())
        }
        Phase::Running | Phase::Unhealthy => {
            let current = conditions::find(&status.conditions, "Current");
            match current.filter(|condition| condition.status == "False") {
                Some(behind) => ("StagedBehind", format!("{}: {}", behind.reason, behind.message)),
                None => ("StagedDone", message),
            }
        }
    }
}
