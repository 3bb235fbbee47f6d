//! Whether groups that a gate demands may approve at all.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use fleet_api::StepPhase;
use jiff::SignedDuration;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use tokio::time::Instant;

use crate::context::{AppKey, Context, lock};
use crate::turn::walk::Walk;

/// So long a yes is taken for true. Rights have no watch.
const REMEMBERED: Duration = Duration::from_secs(60);
/// So long a no is: a person who reads it does something about it, and looks whether it helped.
const REFUSED: Duration = Duration::from_secs(10);
/// How many answers are kept.
const KEPT: usize = 4096;

/// Answers of the hub's authorizer: an Application, a group, whether the group may approve it.
#[derive(Default)]
pub(crate) struct Powers(Mutex<BTreeMap<(AppKey, String), (bool, Instant)>>);

impl Powers {
    fn is_known(&self, app: &AppKey, group: &str) -> bool {
        let answers = lock(&self.0);
        answers
            .get(&(app.clone(), group.to_owned()))
            .is_some_and(|(allowed, at)| at.elapsed() < if *allowed { REMEMBERED } else { REFUSED })
    }

    /// How long it takes until it is worth asking anew about a group that may not approve, and that a gate still to open
    /// demands; nothing where there is none.
    pub(crate) fn again_in(&self, walk: &Walk) -> Option<SignedDuration> {
        let (revision, status) = (walk.revision.as_ref()?, walk.run_status()?);
        if status.phase.is_over() {
            return None;
        }
        let answers = lock(&self.0);
        let open = revision
            .graph
            .nodes
            .iter()
            .zip(&status.steps)
            .filter(|(_, step)| step.shut_gate().is_some() || step.phase == StepPhase::Pending);
        let groups = open.filter_map(|(node, _)| node.approval.as_ref()).flat_map(|rule| &rule.groups);
        let ends = groups.filter_map(|group| {
            let (allowed, at) = answers.get(&(walk.key.clone(), group.clone()))?;
            (!allowed).then(|| REFUSED.saturating_sub(at.elapsed()))
        });
        ends.min().and_then(|left| SignedDuration::try_from(left).ok())
    }

    fn put(&self, app: &AppKey, group: &str, allowed: bool) {
        let mut answers = lock(&self.0);
        if answers.len() >= KEPT {
            answers.retain(|_, (_, at)| at.elapsed() < REMEMBERED);
        }
        if answers.len() < KEPT {
            answers.insert((app.clone(), group.to_owned()), (allowed, Instant::now()));
        }
    }

    /// The groups of a run's gates that may not approve, and what to do about it, as far as it was asked.
    pub(crate) fn powerless(&self, walk: &Walk) -> BTreeMap<String, String> {
        let answers = lock(&self.0);
        let refused = |group: &String| {
            answers.get(&(walk.key.clone(), group.clone())).is_some_and(|(allowed, _)| !allowed)
        };
        demanded(walk)
            .into_iter()
            .filter(refused)
            .map(|group| {
                let said = without_power(&walk.key, &group);
                (group, said)
            })
            .collect()
    }
}

/// What is said of a group that nothing lets approve.
pub(crate) fn without_power((namespace, name): &AppKey, group: &str) -> String {
    format!(
        "nothing grants group {group:?} the verb approve on Application {namespace}/{name}: kubectl create rolebinding approve-{name} -n {namespace} --clusterrole fleetctl-approver --group {group:?}"
    )
}

/// The same for whoever looks ahead: each group that a gate demands and that may not approve.
///
/// # Errors
/// What the hub refused.
pub(crate) async fn look(client: &kube::Client, walk: &Walk) -> Result<Vec<String>, kube::Error> {
    let mut said = Vec::new();
    for group in demanded(walk) {
        if !may_approve(client, &walk.key, &group).await? {
            said.push(without_power(&walk.key, &group));
        }
    }
    Ok(said)
}

/// What the hub's authorizer says.
async fn may_approve(client: &kube::Client, app: &AppKey, group: &str) -> Result<bool, kube::Error> {
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            groups: Some(vec![group.to_owned()]),
            resource_attributes: Some(ResourceAttributes {
                verb: Some("approve".to_owned()),
                group: Some("core.oam.dev".to_owned()),
                resource: Some("applications".to_owned()),
                namespace: Some(app.0.clone()),
                name: Some(app.1.clone()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// The groups that the gates of a run demand.
fn demanded(walk: &Walk) -> Vec<String> {
    let Some(revision) = &walk.revision else { return Vec::new() };
    let rules = revision.graph.nodes.iter().filter_map(|node| node.approval.as_ref());
    let mut groups: Vec<String> = rules.flat_map(|rule| rule.groups.iter().cloned()).collect();
    groups.sort();
    groups.dedup();
    groups
}

/// Asks the hub's authorizer about the groups that a run's gates demand, where that isn't known. What can't be asked
/// is taken for granted: it is a warning, and no gate opens by it.
pub(crate) async fn ask(ctx: &Context, walk: &Walk) {
    for group in demanded(walk) {
        if ctx.powers.is_known(&walk.key, &group) {
            continue;
        }
        match may_approve(&ctx.hub.client, &walk.key, &group).await {
            Ok(allowed) => ctx.powers.put(&walk.key, &group, allowed),
            Err(error) => {
                let error = fleet_members::innermost(&error);
                tracing::warn!(group, error, "whether a group may approve can't be found out");
            }
        }
    }
}
