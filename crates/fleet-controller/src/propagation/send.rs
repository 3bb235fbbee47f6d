//! One object to one member: one apply, and a read of its metadata before the first.

use std::sync::Arc;

use fleet_api::{ObjectId, Target, names};
use fleet_json::ContentHash;
use fleet_members::{Acting, Conflict, MemberError};
use serde_json::{Value, json};

use super::items::{Matter, Standing};
use crate::deliver::{Refusal, are_of};

/// What is to be sent.
pub(super) struct Order {
    pub(super) id: ObjectId,
    pub(super) standing: Arc<Standing>,
    /// What was delivered there last: fields of it that others took are drift and may be taken back.
    pub(super) last: Option<Arc<Standing>>,
    /// Hash over the fields that were ours after that, which a controller that was started later knows, too.
    pub(super) left: Option<u64>,
    /// It was seen there as ours: there is no need to ask whose it is.
    pub(super) ours: bool,
    /// It is one of many: whose they are is asked of all together.
    pub(super) one_of_many: bool,
    pub(super) owner: String,
}

/// What came of it.
pub(super) enum Sent {
    /// It is there. Hash over the fields that are ours now, who had taken some of them, and the autoscaler to which its
    /// replicas are left.
    Applied { fields: Option<u64>, taken_by: Option<String>, scaled_by: Option<String> },
    /// There is no such namespace.
    NoNamespace,
    /// It doesn't answer; it is tried again when it does.
    Unreachable(Matter),
    /// Somebody holds the member; it is tried again when the hold ends.
    Held(Matter),
    /// It may go another time.
    Later(Matter),
    /// Somebody has to do something.
    Refused(Matter),
}

/// Sends an object.
pub(super) async fn send(member: &Acting, order: &Order) -> Sent {
    match try_to_send(member, order).await {
        Ok(sent) => sent,
        Err(error) => failed(&order.id, &error),
    }
}

async fn try_to_send(member: &Acting, order: &Order) -> Result<Sent, MemberError> {
    let id = &order.id;
    let path = member.path(id).await?;
    member.watch(id, &path);
    let manager = names::field_manager(&order.owner);
    let (mut force, mut was_ours) = (false, order.ours);
    // It is taken over whatever others set; but not the replicas that an autoscaler did.
    let mut takes_over = false;
    // Objects of ours have our label; if a list doesn't show it among others', it isn't there, or is ours.
    let absent = !order.ours && order.one_of_many && !member.may_have_of_another(id, &order.owner).await;
    let mut shown = None;
    if !order.ours
        && !absent
        && let Some(live) = member.metadata(id).await?
    {
        if live.deleting {
            let message =
                format!("{id} on {} is being deleted; it is made anew once it is gone", member.name());
            return Ok(Sent::Later(Matter::passing("BeingDeleted", message)));
        }
        match live.owner() {
            Some(owner) if owner == order.owner => {
                was_ours = true;
                shown = live.labels.get(names::CONTENT).filter(|_| live.appliers.contains(&manager)).cloned();
            }
            Some(_) => return Ok(Sent::Refused(owned_by_another(member, id, &live.labels))),
            // Somebody took our label off, which is drift: what was let go, or made anew, has no entry of ours.
            None if live.appliers.contains(&manager) => was_ours = true,
            None if order.standing.takes_over => {
                takes_over = true;
                force = order.standing.object.read().pointer(REPLICAS).is_none();
            }
            None => {
                let message = format!(
                    "{id} is on {} already and nobody distributes it; delete it there, or set conflictResolution: Overwrite to take it over in place",
                    member.name()
                );
                return Ok(Sent::Refused(Matter::lasting("ExistsAlready", message)));
            }
        }
    }
    let mut object = order.standing.sent(&order.owner);
    let (mut taken_by, mut scaled_by, mut asked) = (None, None, false);
    loop {
        match member.apply(id, &object, &manager, force).await {
            Ok(live) => {
                if was_ours && live.before_first_apply {
                    member.forget_unnamed(id).await?;
                }
                return Ok(Sent::Applied { fields: live.managed, taken_by, scaled_by });
            }
            Err(error @ MemberError::Conflicts { .. }) if !force => {
                let MemberError::Conflicts { conflicts, .. } = &error else { return Err(error) };
                if !asked && conflicts.iter().any(|conflict| conflict.field == ".spec.replicas") {
                    asked = true;
                    scaled_by = member.scaled_by(id).await?;
                    if scaled_by.is_some() {
                        object = without_replicas(object);
                        continue;
                    }
                }
                if !takes_over && !is_drift(member, order, &manager, shown.take(), conflicts).await? {
                    return Err(error);
                }
                if !takes_over {
                    taken_by = conflicts.first().map(|conflict| conflict.manager.clone());
                }
                force = true;
            }
            Err(MemberError::Refused { code: 404, message, .. })
                if !id.namespace.is_empty() && message.contains("namespaces") =>
            {
                return Ok(Sent::NoNamespace);
            }
            Err(error) => return Err(error),
        }
    }
}

/// The code of what is told of an object that another hub's policies, or an Application, have on a member.
pub(super) const OWNED_BY_ANOTHER: &str = "OwnedByAnother";

/// Where a workload says how many replicas it has.
const REPLICAS: &str = "/spec/replicas";

/// An object that says nothing about its replicas: applied so, they are whose they are.
fn without_replicas(mut object: Value) -> Value {
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("replicas");
    }
    object
}

fn owned_by_another(
    member: &Acting,
    id: &ObjectId,
    labels: &std::collections::BTreeMap<String, String>,
) -> Matter {
    let label = |name: &str| labels.get(name).map(String::as_str);
    let who = match (label(names::APP_NAMESPACE), label(names::APP_NAME)) {
        (Some(namespace), Some(name)) => {
            format!("belongs to the application {namespace}/{name}; deliver it by one of the two only")
        }
        _ => format!(
            "is distributed by policies of another hub; distribute it from one hub only, or, where this hub replaces the other: \
             kubectl annotate namespace kube-system {}=UID (that of the other's kube-system), and start the controllers anew; or, where the label {} there names nobody, take that off",
            names::HUB_ID,
            names::OWNER
        ),
    };
    Matter::lasting(OWNED_BY_ANOTHER, format!("{id} on {} {who}", member.name()))
}

/// Whether every field in conflict is one that our last delivery there set: the one that is known, or the one whose content
/// the object shows. Who was started since may know only what its fields hash to.
async fn is_drift(
    member: &Acting,
    order: &Order,
    manager: &str,
    shown: Option<String>,
    conflicts: &[Conflict],
) -> Result<bool, MemberError> {
    let seen = || member.observed(&order.id).filter(|_| order.ours).map(|seen| seen.content.clone());
    let shown = shown.or_else(seen);
    let shown = Some(&order.standing).filter(|standing| shown.as_ref() == Some(&standing.content));
    let known = order.last.iter().chain(shown);
    let known: Vec<Value> = known.map(|standing| standing.sent(&order.owner)).collect();
    match order.left {
        Some(left) if known.is_empty() && !conflicts.is_empty() => {
            member.has_lost(&order.id, manager, left, conflicts).await
        }
        _ => Ok(are_of(conflicts, &known.iter().collect::<Vec<_>>())),
    }
}

/// What an error means for a place.
pub(super) fn failed(id: &ObjectId, error: &MemberError) -> Sent {
    match error {
        MemberError::Held { hold, cluster } => {
            Sent::Held(Matter::passing(hold.reason(), hold.message(cluster)))
        }
        MemberError::Refused { message, cluster, .. } if error.is_immutable_field() => {
            let advice = "a field that can't be changed is changed: put it back on the hub, or delete the object on this cluster, \
                          where it is made anew then";
            Sent::Refused(Matter::lasting(
                "ImmutableField",
                format!("{id} on {cluster}: {message}; {advice}"),
            ))
        }
        other => match Refusal::of(id, other) {
            Refusal::Held => Sent::Held(Matter::passing("Held", other.to_string())),
            Refusal::Unreachable(problem) => {
                Sent::Unreachable(Matter::passing(&problem.reason, problem.message))
            }
            Refusal::Later(problem) => Sent::Later(Matter::passing(&problem.reason, problem.message)),
            Refusal::Final(problem) => Sent::Refused(Matter::lasting(&problem.reason, problem.message)),
        },
    }
}

/// Makes a namespace for objects that are to be in it.
pub(super) async fn make_namespace(member: &Acting, target: &Target, owner: &str) -> Result<(), MemberError> {
    let id = super::ledger::namespace_id(&target.namespace);
    let mut object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": target.namespace}});
    let content = ContentHash::of_value(&object).short();
    if let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.insert("labels".to_owned(), json!({ names::OWNER: owner, names::CONTENT: content }));
    }
    match member.apply(&id, &object, &names::field_manager(owner), false).await {
        // Somebody else made it meanwhile; it is theirs.
        Ok(_) | Err(MemberError::Conflicts { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
