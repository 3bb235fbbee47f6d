//! Whether approvals are proved: the admission policy that holds an approver to the requesting user, and asks for the
//! verb `approve`, is on the hub as it was installed, and was when the approval was made.

pub(crate) mod follow;
pub(crate) mod powers;

use fleet_api::{Approval, Decision};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

/// The name of the policy and of its binding.
pub const APPROVALS_POLICY: &str = "approvals.fleetctl.dev";

/// So long after a change of the policy an approval isn't taken for proved. API servers look at policies through caches
/// of their own, so that a request may be let pass for a moment after the policy or its binding came back; and times on
/// objects are whole seconds. Without this, somebody could remove the binding, approve in another's name, and restore it
/// within the same second.
pub const MARGIN: SignedDuration = SignedDuration::from_secs(5);

/// The expressions of the policy, as the chart has them.
const EXPRESSIONS: [&str; 5] = [
    "request.operation != 'CREATE' || object.spec.approver == request.userInfo.username",
    "request.operation != 'CREATE' || !has(object.spec.groups) \
     || object.spec.groups.all(g, has(request.userInfo.groups) && g in request.userInfo.groups)",
    "request.operation != 'CREATE' \
     || authorizer.group('core.oam.dev').resource('applications').namespace(request.namespace) \
     .name(object.spec.application).check('approve').allowed()",
    "request.operation != 'CREATE' || request.userInfo.username != 'system:anonymous'",
    "request.operation != 'UPDATE' || object.spec == oldObject.spec",
];

/// What stands around the names of the controllers, which approve nothing themselves: whoever could take the token of one
/// would open every gate.
const CONTROLLERS: (&str, &str) = ("request.operation != 'CREATE' || !(request.userInfo.username in [", "])");

/// Whether who approves is proved now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// It is; the policy and its binding were last changed at this time.
    Strong(Timestamp),
    /// It isn't: which object, what is the matter, and what to do.
    Weak(String),
}

impl Proof {
    /// Why an approval isn't proved, where it isn't.
    pub(crate) fn doubt(&self, approval: &Approval, margin: SignedDuration) -> Option<Doubt> {
        let since = match self {
            Self::Strong(since) => since,
            Self::Weak(why) => return Some(Doubt { message: why.clone(), counts_from: None }),
        };
        let created = approval.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let proved_from = since.saturating_add(margin).unwrap_or(*since);
        if created.is_some_and(|created| created >= proved_from) {
            return None;
        }
        let Approval { spec, metadata } = approval;
        let verb = match spec.decision {
            Decision::Approve => "resume",
            Decision::Reject => "reject",
        };
        let message = format!(
            "who made it isn't proved: it was made before, or within {margin:#} after, the ValidatingAdmissionPolicy {APPROVALS_POLICY} or its binding was changed ({since}); decide again, {proved_from} or later: fleetctl workflow {verb} {} -n {} --step {}",
            spec.application,
            metadata.namespace.as_deref().unwrap_or_default(),
            spec.step,
        );
        Some(Doubt { message, counts_from: Some(proved_from) })
    }
}

/// Why an approval isn't proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// In words, with what to do.
    pub(crate) message: String,
    /// From when on the same decision, made anew, is proved, where nothing but time is missing.
    pub(crate) counts_from: Option<Timestamp>,
}

/// Whether a policy and its binding, as they are on a hub, prove who approves. Defaults that an API server fills in make
/// no difference, nor do further validations, which can only refuse more.
#[must_use]
pub fn judge(
    policy: Option<&ValidatingAdmissionPolicy>,
    binding: Option<&ValidatingAdmissionPolicyBinding>,
) -> Proof {
    let weak = |kind: &str, what: &str| {
        Proof::Weak(format!(
            "who approves can't be proved: the {kind} {APPROVALS_POLICY} {what}; restore it: fleetctl install (an embedded hub restores it when it starts: fleetctl local up)"
        ))
    };
    let (policy_kind, binding_kind) = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding");
    let Some(policy) = policy else { return weak(policy_kind, "isn't there") };
    let Some(binding) = binding else { return weak(binding_kind, "isn't there") };
    if let Some(why) = weakness_of_policy(policy) {
        return weak(policy_kind, &format!("was weakened: {why}"));
    }
    if let Some(why) = weakness_of_binding(binding) {
        return weak(binding_kind, &format!("was weakened: {why}"));
    }
    match (changed(&policy.metadata), changed(&binding.metadata)) {
        (Some(policy), Some(binding)) => Proof::Strong(policy.max(binding)),
        (None, _) => weak(policy_kind, "doesn't say when it was changed (metadata.managedFields)"),
        (_, None) => weak(binding_kind, "doesn't say when it was changed (metadata.managedFields)"),
    }
}

/// When an object was last changed; nothing where what says so was taken away.
fn changed(metadata: &ObjectMeta) -> Option<Timestamp> {
    let created = metadata.creation_timestamp.as_ref()?.0;
    let entries = metadata.managed_fields.as_deref().unwrap_or_default();
    let mut newest: Option<Timestamp> = None;
    for entry in entries {
        newest = newest.max(Some(entry.time.as_ref()?.0));
    }
    newest.map(|newest| newest.max(created))
}

fn weakness_of_policy(policy: &ValidatingAdmissionPolicy) -> Option<&'static str> {
    if policy.metadata.deletion_timestamp.is_some() {
        return Some("it is being deleted");
    }
    let Some(spec) = &policy.spec else { return Some("it has no spec") };
    if spec.failure_policy.as_deref().is_some_and(|policy| policy != "Fail") {
        return Some("failurePolicy isn't Fail");
    }
    if spec.match_conditions.as_ref().is_some_and(|conditions| !conditions.is_empty()) {
        return Some("its matchConditions leave requests out");
    }
    if spec.param_kind.is_some() {
        return Some("it takes parameters");
    }
    let Some(matched) = &spec.match_constraints else { return Some("it matches nothing") };
    if let Some(why) = exempts(matched) {
        return Some(why);
    }
    if !matched.resource_rules.iter().flatten().any(covers) {
        return Some("its resourceRules leave approvals out");
    }
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    let has = |wanted: &&str| {
        let mut all = spec.validations.iter().flatten();
        all.any(|validation| plain(&validation.expression) == plain(wanted))
    };
    if !EXPRESSIONS.iter().all(has) {
        return Some("its validations aren't those of the chart");
    }
    let bars = |expression: &str| {
        let names = plain(expression);
        let names =
            names.strip_prefix(&plain(CONTROLLERS.0)).and_then(|rest| rest.strip_suffix(CONTROLLERS.1));
        names.is_some_and(names_somebody)
    };
    let barred = spec.validations.iter().flatten().any(|validation| bars(&validation.expression));
    (!barred).then_some("no validation keeps the controller from approving")
}

/// Whether a list in CEL holds text literals alone, and one at least.
fn names_somebody(list: &str) -> bool {
    let literal = |entry: &str| {
        let within = |quote: char| entry.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        let text = within('"').or_else(|| within('\''));
        text.is_some_and(|text| !text.is_empty() && !text.contains(['"', '\'', '\\']))
    };
    list.split(',').all(literal)
}

fn weakness_of_binding(binding: &ValidatingAdmissionPolicyBinding) -> Option<&'static str> {
    if binding.metadata.deletion_timestamp.is_some() {
        return Some("it is being deleted");
    }
    let Some(spec) = &binding.spec else { return Some("it has no spec") };
    if spec.policy_name.as_deref() != Some(APPROVALS_POLICY) {
        return Some("it binds another policy");
    }
    if !spec.validation_actions.iter().flatten().any(|action| action == "Deny") {
        return Some("validationActions doesn't say Deny");
    }
    if spec.param_ref.is_some() {
        return Some("it takes parameters");
    }
    let matched = spec.match_resources.as_ref()?;
    if let Some(why) = exempts(matched) {
        return Some(why);
    }
    let narrowed =
        matched.resource_rules.as_ref().is_some_and(|rules| !rules.is_empty() && !rules.iter().any(covers));
    narrowed.then_some("its resourceRules leave approvals out")
}

/// What lets single objects pass.
fn exempts(matched: &MatchResources) -> Option<&'static str> {
    let selects = |selector: &Option<LabelSelector>| {
        selector.as_ref().is_some_and(|selector| *selector != LabelSelector::default())
    };
    if matched.match_policy.as_deref().is_some_and(|policy| policy != "Equivalent") {
        return Some("matchPolicy isn't Equivalent");
    }
    if selects(&matched.namespace_selector) {
        return Some("its namespaceSelector leaves namespaces out");
    }
    if selects(&matched.object_selector) {
        return Some("its objectSelector leaves objects out");
    }
    let excludes = matched.exclude_resource_rules.as_ref().is_some_and(|rules| !rules.is_empty());
    excludes.then_some("its excludeResourceRules leave requests out")
}

/// Whether a rule takes every approval.
fn covers(rule: &NamedRuleWithOperations) -> bool {
    let has = |list: &Option<Vec<String>>, wanted: &str| {
        list.iter().flatten().any(|entry| entry == "*" || entry == wanted)
    };
    has(&rule.api_groups, "fleetctl.dev")
        && has(&rule.api_versions, "*")
        && has(&rule.resources, "approvals")
        && (has(&rule.operations, "CREATE") && has(&rule.operations, "UPDATE"))
        && rule.resource_names.as_ref().is_none_or(Vec::is_empty)
        && rule.scope.as_deref().is_none_or(|scope| matches!(scope, "*" | "Namespaced"))
}

#[cfg(test)]
mod tests;
