//! Objects that are shared: who isn't the owner any more, or has become it, enters anew.

use fleet_api::{DriftState, Target};
use fleet_members::Observed;
use fleet_plan::TargetPlan;

use super::{AFTER_REFUSAL, Difference, Next, Repair};
use crate::deliver;
use crate::turn::held;

/// What part an Application has in an object that it shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// It owns it, and has written it.
    Owner,
    /// Another owns it, and it says that it shares it.
    Sharer,
    /// None yet; or it was passed to it and not written since.
    Outside,
}

pub(super) fn part(seen: Option<&Observed>, owner: &str) -> Part {
    match seen {
        Some(seen) if seen.owner == owner && !seen.content.is_empty() => Part::Owner,
        Some(seen) if seen.owner != owner && seen.sharers.iter().any(|sharer| sharer == owner) => {
            Part::Sharer
        }
        _ => Part::Outside,
    }
}

impl Repair {
    /// Comes to own or to share the object, as a delivery does.
    pub(super) async fn enter(&self, target: Target) -> Next {
        let (cluster, id) = (self.member.name(), &self.desired.id);
        let named = self.member.account().map(|account| account.name.as_str());
        // When the hold ends, everything there is looked at again.
        if held::hold(&self.ctx, &self.app, named, cluster).is_some()
            || !self.board.begin_sending_repair(&self.run, cluster, id)
        {
            return Next::Settled;
        }
        let job = deliver::Job {
            board: self.board.clone(),
            run: self.run.clone(),
            step: String::new(),
            application: self.app.1.clone(),
            namespace: self.app.0.clone(),
            owner: self.owner.clone(),
            account: self.member.account().cloned(),
            desired: std::sync::Arc::default(),
            previous: std::collections::BTreeMap::new(),
            begun: Vec::new(),
            distributed: None,
            plan: TargetPlan { target: target.clone(), actions: Vec::new(), loses: String::new() },
            target,
            parallelism: 1,
        };
        let outcome = deliver::send(&self.member, &job, &self.desired).await;
        self.board.end_sending_repair(cluster, id);
        let problem = match outcome {
            Ok(()) => {
                self.board.report_drift(cluster, id, None);
                return Next::Tell;
            }
            Err(deliver::Refusal::Held | deliver::Refusal::Unreachable(_)) => return Next::Settled,
            Err(deliver::Refusal::Later(problem) | deliver::Refusal::Final(problem)) => problem,
        };
        let differs = Difference { fields: Vec::new(), manager: None };
        self.report(DriftState::Refused, &differs, format!("{}; tried again", problem.message));
        self.ctx.due.wake(&self.app);
        tokio::select! {
            () = tokio::time::sleep(AFTER_REFUSAL) => Next::LookAgain,
            () = self.board.closed() => Next::Settled,
        }
    }
}
