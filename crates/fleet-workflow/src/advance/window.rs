//! Time windows: a step, or a target of one that delivers, begins only inside them. What is under way goes on.

use std::collections::BTreeMap;

use fleet_api::{StepState, TargetPhase, WindowOverride};

use super::Turn;
use crate::windows::{Opening, Windows, opening};
use crate::{FleetWindow, Node, Problem, StepKind};

/// The reason of what waits for its time.
const WAITING: &str = "WaitingForWindow";
/// The reason of what waits since nobody can say for what time.
const INVALID: &str = "InvalidRolloutWindow";

/// Whether a step that hasn't begun waits for its time.
pub(super) fn is_shut(step: &StepState) -> bool {
    matches!(step.reason.as_str(), WAITING | INVALID)
}

impl Turn<'_> {
    /// Whether a step may begin now. What delivers may always: its targets wait.
    pub(super) fn may_begin(&mut self, node: &Node, step: &mut StepState) -> bool {
        if matches!(node.kind, StepKind::Deploy(_)) {
            return true;
        }
        let concerned: Vec<usize> = self.windows_on(None);
        let Some(problem) = self.shut_window(node, step, &concerned) else { return true };
        step.reason = problem.reason;
        step.message = problem.message;
        false
    }

    /// Notes which targets of a step may not begin now.
    pub(super) fn shut_targets(&mut self, node: &Node, step: &mut StepState) {
        if node.windows.is_none() && self.facts.windows.is_empty() {
            return;
        }
        let mut judged: BTreeMap<Vec<usize>, Option<Problem>> = BTreeMap::new();
        let open = |phase: TargetPhase| phase == TargetPhase::Pending;
        let pending: Vec<_> = step
            .targets
            .iter()
            .filter(|state| open(state.phase) && state.started_at.is_none())
            .map(|state| state.target.clone())
            .collect();
        for target in pending {
            let concerned = self.windows_on(Some(&target.cluster));
            let problem = match judged.get(&concerned) {
                Some(known) => known.clone(),
                None => {
                    let problem = self.shut_window(node, step, &concerned);
                    judged.insert(concerned, problem.clone());
                    problem
                }
            };
            if let Some(problem) = problem {
                self.shut.insert((node.name.clone(), target), problem);
            }
        }
    }

    /// Those of the fleet that concern a cluster, or a step that is about none.
    fn windows_on(&self, cluster: Option<&str>) -> Vec<usize> {
        let concerns = |window: &FleetWindow| match (&window.clusters, cluster) {
            (None, _) => true,
            (Some(clusters), Some(cluster)) => clusters.contains(cluster),
            (Some(_), None) => false,
        };
        let all = self.facts.windows.iter().enumerate();
        all.filter(|(_, window)| concerns(window)).map(|(index, _)| index).collect()
    }

    /// Why a step may not begin, unless a person lets it; asks for a turn when it may.
    fn shut_window(&mut self, node: &Node, step: &mut StepState, concerned: &[usize]) -> Option<Problem> {
        if step.window_override.is_some() {
            return None;
        }
        let problem = self.why_shut(node, concerned)?;
        if let Some(asked) = self.facts.window_override.as_ref().filter(|asked| asked.step == node.name) {
            let (by, reason) = (asked.by.clone(), asked.reason.clone());
            step.window_override = Some(WindowOverride { by, reason, at: Some(self.now) });
            return None;
        }
        Some(problem)
    }

    fn why_shut(&mut self, node: &Node, concerned: &[usize]) -> Option<Problem> {
        let fleet: Vec<&FleetWindow> =
            concerned.iter().filter_map(|index| self.facts.windows.get(*index)).collect();
        let go_on = format!(
            "to begin all the same: fleetctl workflow resume {} --step {} --override-window --reason WHY",
            self.address(),
            node.name
        );
        let broken = fleet.iter().find_map(|window| Some((window, window.windows.as_ref().err()?)));
        if let Some((window, cause)) = broken {
            let message = format!(
                "RolloutWindow {} can't be read, so nothing begins: {cause}; mend it (kubectl edit rolloutwindow {}), or {go_on}",
                window.name, window.name
            );
            return Some(Problem { reason: INVALID.to_owned(), message });
        }
        let mut all: Vec<(&Windows, String)> = Vec::new();
        if let Some(own) = &node.windows {
            all.push((own, "the step's windows".to_owned()));
        }
        for window in fleet {
            if let Ok(windows) = &window.windows {
                let said =
                    if window.message.is_empty() { String::new() } else { format!(" ({})", window.message) };
                all.push((windows, format!("RolloutWindow {}{said}", window.name)));
            }
        }
        let times: Vec<&Windows> = all.iter().map(|(windows, _)| *windows).collect();
        let when = match opening(&times, self.now) {
            Opening::Now => return None,
            Opening::At(at, called) => {
                self.wake(at);
                format!("opens {called}")
            }
            Opening::Never => "no time is known when it opens".to_owned(),
        };
        let shut = all.iter().filter(|(windows, _)| opening(&[windows], self.now) != Opening::Now);
        let shut: Vec<&str> = shut.map(|(_, name)| name.as_str()).collect();
        let message = format!("outside of {}; {when}; {go_on}", shut.join(" and "));
        Some(Problem { reason: WAITING.to_owned(), message })
    }
}
