//! Labels, annotations, finalizers and other names that stand on objects.
//!
//! `app.oam.dev/*` and `cluster.core.oam.dev/*` are the established names of the Open Application Model
//! and its cluster gateway; `fleetctl.dev/*` are ours.

use fleet_json::hash::ContentHash;

/// On an Application, Policy or Workflow, and on the hub's objects that Applications refer to: who last changed what it
/// says. Written by admission only; what a client writes here is put back. It never reaches a member.
pub const AUTHOR: &str = "fleetctl.dev/author";
/// Beside [`AUTHOR`], on the same objects: everybody who changed what it says and when, see [`crate::authorship`].
pub const AUTHORS: &str = "fleetctl.dev/authors";
/// The rollout token: with it on an Application, only a change of its value starts a run.
pub const PUBLISH_VERSION: &str = "app.oam.dev/publishVersion";
/// On a delivered object: the name of its Application.
pub const APP_NAME: &str = "app.oam.dev/name";
/// On a delivered object: the hub namespace of its Application.
pub const APP_NAMESPACE: &str = "app.oam.dev/namespace";
/// On a delivered object: the component it comes from.
pub const APP_COMPONENT: &str = "app.oam.dev/component";
/// On a delivered object: [`owner_hash`] of its Application; the ownership test.
pub const OWNER: &str = "fleetctl.dev/owner";
/// On a delivered object: hash of what was delivered, which tells a late write from a current one.
pub const CONTENT: &str = "fleetctl.dev/content";
/// On a delivered object that several Applications share: one label each, this prefix with [`owner_hash`] behind it, see
/// [`shared_by`]. A label, since a changed annotation moves a Deployment's generation.
pub const SHARED_BY: &str = "shared-by.fleetctl.dev/";
/// On an Application: what happens to delivered objects when it is deleted (`orphan` keeps them).
pub const ON_DELETE: &str = "fleetctl.dev/on-delete";
/// On an Application: the ServiceAccount of its namespace as which it reads on the hub and is delivered on members.
pub const SERVICE_ACCOUNT: &str = "app.oam.dev/service-account-name";
/// On a deleted Application: end now, record what can't be reached as orphaned (`true`).
pub const FORCE_DELETE: &str = "fleetctl.dev/force-delete";
/// On an Application: asks for a new run of the same spec; each new value is one request.
pub const RESTART: &str = "app.oam.dev/restart-workflow";
/// On an Application: what becomes of its run when something newer is asked for, see [`crate::OnNewRevision`].
pub const ON_NEW_REVISION: &str = "fleetctl.dev/on-new-revision";
/// On an Application: a person's request to stop before the next target; the value names the Run.
pub const SUSPEND: &str = "fleetctl.dev/suspend";
/// On an Application: a person's request to end its Run; the value names the Run.
pub const TERMINATE: &str = "fleetctl.dev/terminate";
/// Behind the name of an annotation by which a person asks for something ([`SUSPEND`], [`TERMINATE`], [`RESTART`]): who
/// did, as they say; the value is `<value of the annotation> <who>`. What is lifted keeps its word about the run.
pub const ASKED_BY: &str = "-by";
/// On an Application: a person's request to let a step begin outside its time windows; the value is a
/// [`crate::WindowRequest`], or `<run>/<step> <reason>`.
pub const OVERRIDE_WINDOW: &str = "fleetctl.dev/override-window";
/// On an Application: what people ask about single targets of its Run, see [`crate::requests`] (JSON).
pub const TARGET_REQUESTS: &str = "fleetctl.dev/target-requests";
/// On an Application: a person's request to go back to an earlier revision, see [`crate::RollbackRequest`] (JSON).
pub const ROLLBACK: &str = "fleetctl.dev/rollback";
/// On an Application that carries what a policy distributes ([`crate::staged`]): [`short_label`] of the policy's name.
pub const STAGES: &str = "fleetctl.dev/stages";
/// On such an Application: the finalizer that keeps it until the distribution has taken on record what it owned.
pub const STAGED_FINALIZER: &str = "fleetctl.dev/distribution";
/// On such an Application: the clusters that the policy's mask or suspension holds, and why (JSON: cluster to reason).
pub const HELD_CLUSTERS: &str = "fleetctl.dev/held-clusters";
/// On such an Application: why nothing new may begin, as `Reason: words`.
pub const HELD_BACK: &str = "fleetctl.dev/held-back";
/// On revisions, runs, approvals and trackers: [`short_label`] of the Application's name.
pub const APPLICATION: &str = "fleetctl.dev/application";
/// On trackers of what policies distribute ([`crate::DISTRIBUTION`]): which of them it is, a number.
pub const SHARD: &str = "fleetctl.dev/shard";
/// On a revision: its content hash.
pub const REVISION_HASH: &str = "app.oam.dev/app-revision-hash";
/// The finalizer that keeps an Application until its objects are gone from the members.
pub const FINALIZER: &str = "app.oam.dev/resource-tracker-finalizer";
/// The finalizer that an established client sets to keep an Application's objects.
pub const ORPHAN_FINALIZER: &str = "app.oam.dev/orphan-resource";
/// On a ManagedCluster: its human name, accepted wherever the name is.
pub const CLUSTER_ALIAS: &str = "cluster.core.oam.dev/cluster-alias";
/// On a ManagedCluster: an operator holds it, nothing is written to it until it is taken away; the value says why, or `true`.
pub const CORDONED: &str = "fleetctl.dev/cordoned";
/// On a ManagedCluster: its place in the order of joining, a decimal number.
pub const JOIN_ORDER: &str = "fleetctl.dev/join-order";
/// The hub's namespace for what belongs to the control plane: members' credentials, leases.
pub const SYSTEM_NAMESPACE: &str = "fleetctl-system";
/// On a ConfigMap of the controller's namespace: it holds health rules.
pub const HEALTH_RULES: &str = "fleetctl.dev/health-rules";
/// On a ConfigMap of the controller's namespace: it says which labels and annotations belong to members.
pub const KEY_RULES: &str = "fleetctl.dev/key-rules";
/// On a ManagedCluster that the controller made: the Secret that it found, `NAMESPACE/NAME`.
pub const REGISTERED_FROM: &str = "fleetctl.dev/registered-from";
/// On a ManagedCluster: `cluster join` has begun and not finished; the same command again completes it.
pub const JOINING: &str = "fleetctl.dev/joining";
/// On a ManagedCluster: it is being taken out of the fleet, with its objects `kept` or `deleted`.
pub const DETACHING: &str = "fleetctl.dev/detaching";
/// How the reason of a cordon begins ([`CORDONED`]) that `cluster detach` set: uncordoning doesn't end it.
pub const BEING_DETACHED: &str = "being detached";
/// On a ManagedCluster: what our account there may do (`cluster`, `cluster+rbac`, `namespaced`, `impersonating`).
pub const MEMBER_PROFILE: &str = "fleetctl.dev/profile";
/// On a ManagedCluster: the only namespaces that our account there reaches, with commas between.
pub const MEMBER_NAMESPACES: &str = "fleetctl.dev/namespaces";
/// On a ManagedCluster: the service accounts that our account there may act as, `namespace/name` with commas between.
pub const MEMBER_IMPERSONATES: &str = "fleetctl.dev/impersonates";
/// On a ManagedCluster: our account there, `namespace/name`.
pub const MEMBER_ACCOUNT: &str = "fleetctl.dev/account";
/// Label on what `cluster join` makes on a member: [`hub_hash`] of the hub it is for.
pub const HUB: &str = "fleetctl.dev/hub";
/// Label on a Secret that holds a member's credentials.
pub const CREDENTIAL_TYPE: &str = "cluster.core.oam.dev/cluster-credential-type";
/// The cluster claim that holds the UID of the member's kube-system namespace (OCM's well-known claim).
pub const CLUSTER_ID_CLAIM: &str = "id.k8s.io";
/// Label on the Lease of a replica: what it is a replica of ([`REPLICA_CONTROLLER`]).
pub const REPLICA: &str = "fleetctl.dev/replica-of";
/// The value of [`REPLICA`] on Leases of the controller.
pub const REPLICA_CONTROLLER: &str = "controller";
/// On the Lease of a replica: whom it counts as alive, by which it claims its share of the work (JSON).
pub const VIEW: &str = "fleetctl.dev/view";
/// On the Lease of the runs that take turns: who acts where, and who waits (JSON).
pub const LINE: &str = "fleetctl.dev/line";
/// The reserved name that means the hub itself.
pub const LOCAL_CLUSTER: &str = "local";
/// The longest label value, in bytes.
const LABEL_LIMIT: usize = 63;

/// On the hub's kube-system namespace: the identity of the hub that this one replaces (the UID of that one's
/// kube-system). A hub that was made anew then owns what the other delivered.
pub const HUB_ID: &str = "fleetctl.dev/hub-id";

/// Tells a hub from any other, from the metadata of its kube-system namespace: its UID, or the identity that it took
/// over. Nothing where it has neither.
pub fn hub_identity(system: &kube::core::ObjectMeta) -> Option<&str> {
    let taken_over = system.annotations.as_ref().and_then(|annotations| annotations.get(HUB_ID));
    let taken_over = taken_over.map(|id| id.trim()).filter(|id| !id.is_empty());
    taken_over.or(system.uid.as_deref())
}

/// Identifies one Application of one hub on every member: a hash of [`hub_identity`], namespace and name.
pub fn owner_hash(hub_uid: &str, namespace: &str, name: &str) -> String {
    ContentHash::of_value(&serde_json::json!([hub_uid, namespace, name])).short()
}

/// Identifies one hub on every member: a hash of its kube-system UID.
pub fn hub_hash(hub_uid: &str) -> String {
    ContentHash::of_value(&serde_json::json!([hub_uid])).short()
}

/// The annotation that says who asked by another one, see [`ASKED_BY`].
pub fn asked_by(annotation: &str) -> String {
    format!("{annotation}{ASKED_BY}")
}

/// Who asked for something by an annotation of an Application, as they say; nothing where that is about another request.
pub fn who_asked(app: &crate::Application, annotation: &str, value: &str) -> Option<String> {
    let said = app.metadata.annotations.as_ref()?.get(&asked_by(annotation))?;
    let who = said.strip_prefix(value)?.strip_prefix(' ')?.trim();
    (!who.is_empty()).then(|| who.chars().take(256).collect())
}

/// Field manager of the statuses that the objects of the hub show of their members.
pub const STATUS_MANAGER: &str = "fleetctl-status";

/// Whether the status of an object was written by us alone.
pub fn shows_members(metadata: &kube::core::ObjectMeta) -> bool {
    let written = metadata.managed_fields.iter().flatten();
    let mut written = written.filter(|entry| entry.subresource.as_deref() == Some("status")).peekable();
    written.peek().is_some() && written.all(|entry| entry.manager.as_deref() == Some(STATUS_MANAGER))
}

/// The field manager under which an Application's objects are applied.
pub fn field_manager(owner: &str) -> String {
    format!("fleetctl:{owner}")
}

/// The label by which an Application says that it shares an object.
pub fn shared_by(owner: &str) -> String {
    format!("{SHARED_BY}{owner}")
}

/// Whose label it is, where it is one of [`shared_by`].
pub fn sharer(label: &str) -> Option<&str> {
    label.strip_prefix(SHARED_BY)
}

/// A label value for a name that may be longer than label values can be: cut, with a hash of the whole.
pub fn short_label(name: &str) -> String {
    if name.len() <= LABEL_LIMIT {
        return name.to_owned();
    }
    let hash = ContentHash::of_value(&serde_json::json!(name)).short();
    let keep = LABEL_LIMIT - hash.len() - 1;
    let head: String = name.chars().take(keep).collect();
    format!("{}-{hash}", head.trim_end_matches(['-', '.', '_']))
}

/// A name for an object that belongs to another: `<name>-<suffix>`, cut where it would be too long (253 bytes).
pub fn derived_name(name: &str, suffix: &str) -> String {
    const LIMIT: usize = 253;
    let whole = format!("{name}-{suffix}");
    if whole.len() <= LIMIT {
        return whole;
    }
    let hash = ContentHash::of_value(&serde_json::json!(name)).short();
    let keep = LIMIT.saturating_sub(hash.len() + suffix.len() + 2);
    let head: String = name.chars().take(keep).collect();
    format!("{head}-{hash}-{suffix}")
}
