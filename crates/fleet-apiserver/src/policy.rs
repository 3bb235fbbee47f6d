//! ValidatingAdmissionPolicy: rules in CEL, kept as objects, that writes must follow.
//!
//! ```text
//!  Store ─► Known (per cluster, read again when a policy or binding changed) ─► Set { Policy ─► its Bindings }
//!                                                                                  │ matching: is the write meant?
//!  a write, as the real server shows it to policies (review) ──────────────────────┤ params: what the binding names
//!                                                                                  ▼
//!                                                 judge (pure but for the authorizer) ─► denials, warnings
//! ```
//!
//! See <https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/>. A cluster without
//! policies pays for two look-ups in the store's index; a write that no policy means, for comparing names.

mod authority;
mod binding;
mod compiled;
mod judge;
mod known;
mod matching;
mod params;
mod review;
mod written;

pub(crate) use known::Known;
pub(crate) use review::Review;
pub(crate) use written::check;

use serde_json::Value;

use crate::dispatch::Call;
use crate::status::{ApiError, Cause};
use binding::{Action, Binding};
use judge::Denial;
use review::Subject;

/// The group of the kinds that decide about writes.
const GROUP: &str = "admissionregistration.k8s.io";

/// Lets a write pass, or refuses it; warns its sender where a binding says so.
///
/// # Errors
/// The first denial, with the reason that the policy gives.
pub(crate) fn admit(call: &mut Call<'_>, review: &Review<'_>) -> Result<(), ApiError> {
    let Some(cluster) = call.cluster else { return Ok(()) };
    // Nobody can lock everybody out of what would let them in again.
    if call.kind.custom.is_none() && call.kind.group() == GROUP {
        return Ok(());
    }
    let set = cluster.policies.current(&call.server.store, &cluster.name);
    if set.is_empty() {
        return Ok(());
    }
    let subject = Subject::new(call, cluster, review);
    let mut denied = None;
    let mut warnings = Vec::new();
    for (policy, bindings) in set.iter() {
        let Some(kind) = policy.constraints.matches(&subject) else { continue };
        let mut refuse = |binding: Option<&Binding>, denial: Denial| {
            denied.get_or_insert_with(|| (policy.name.clone(), binding.map(|b| b.name.clone()), denial));
        };
        if let Some(why) = &policy.broken {
            if policy.fails_closed {
                refuse(None, Denial::new(format!("failed to configure policy: {why}")));
            }
            continue;
        }
        let facts = subject.facts(&kind);
        for binding in bindings {
            if binding.matcher.as_ref().is_some_and(|matcher| matcher.matches(&subject).is_none()) {
                continue;
            }
            let params = match params::of(call, cluster, policy, binding, &subject) {
                Ok(params) => params,
                Err(why) => {
                    if policy.fails_closed {
                        refuse(Some(binding), Denial::new(format!("failed to configure binding: {why}")));
                    }
                    continue;
                }
            };
            for params in &params {
                let authority = authority::Authority::new(call, cluster);
                for denial in judge::judge(policy, &facts, params, &authority) {
                    if binding.actions.contains(&Action::Warn) {
                        warnings.push(format!(
                            "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                            policy.name, binding.name, denial.message
                        ));
                    }
                    if binding.actions.contains(&Action::Deny) {
                        refuse(Some(binding), denial);
                    }
                }
            }
        }
    }
    // Not twice where a write is made anew because somebody came between.
    warnings.retain(|warning| !call.warnings.contains(warning));
    call.warnings.extend(warnings);
    match denied {
        None => Ok(()),
        Some((policy, binding, denial)) => {
            Err(refusal(call, review.name, &policy, binding.as_deref(), &denial))
        }
    }
}

/// The refusal as the real server words it.
fn refusal(call: &Call<'_>, name: &str, policy: &str, binding: Option<&str>, denial: &Denial) -> ApiError {
    let binding = binding.map(|binding| format!(" with binding '{binding}'")).unwrap_or_default();
    let why = format!("ValidatingAdmissionPolicy '{policy}'{binding} denied request: {}", denial.message);
    let forbidden = ApiError::forbidden(call.kind.group(), &call.kind.plural, name, &why);
    let (code, reason) = match denial.reason.as_deref() {
        Some("Forbidden") => (403, "Forbidden"),
        Some("Unauthorized") => (401, "Unauthorized"),
        Some("RequestEntityTooLarge") => (413, "RequestEntityTooLarge"),
        _ => (422, "Invalid"),
    };
    ApiError::new(code, reason, forbidden.message())
        .about(call.kind.group(), &call.kind.plural, name)
        .with_causes(vec![Cause { reason: String::new(), message: why, field: String::new() }])
}

/// An object's list of maps, whatever is in its place.
fn list<'v>(object: &'v Value, at: &str) -> &'v [Value] {
    object.pointer(at).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// An object's text, empty where there is none.
fn text<'v>(object: &'v Value, at: &str) -> &'v str {
    object.pointer(at).and_then(Value::as_str).unwrap_or_default()
}
