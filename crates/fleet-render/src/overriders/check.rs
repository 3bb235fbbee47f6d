//! What is wrong with a policy whatever it is applied to.

use fleet_api::propagation::{OverridePolicySpec, Overriders, PolicyProblem, Severity};

use super::error::Fault;
use super::{document, image, lists, maps, patch, rules};

/// More overriders of a kind in one rule are a mistake, or an attack.
const MOST: usize = 256;

/// Everything that is wrong with the overriders of a policy, with its place, before any object is seen.
#[must_use]
pub fn check_overrides(spec: &OverridePolicySpec) -> Vec<PolicyProblem> {
    let mut problems = Vec::new();
    let mut tell = |place: String, severity: Severity, fault: Fault| {
        problems.push(PolicyProblem {
            severity,
            reason: fault.code.to_owned(),
            path: format!("{place}{}", fault.below),
            message: fault.message,
        });
    };
    let earlier = spec.overriders.is_some() || spec.target_cluster.is_some();
    if earlier && !spec.override_rules.is_empty() {
        let message = "targetCluster and overriders are the earlier form of overrideRules; move them there as its first rule";
        tell("spec.overriders".to_owned(), Severity::Error, Fault::invalid("", message));
    }
    let rules = rules(spec);
    if rules.is_empty() {
        let message = "it changes nothing; give overrideRules";
        tell("spec.overrideRules".to_owned(), Severity::Warning, Fault::invalid("", message));
    }
    for (place, _, own) in rules {
        if let Err(fault) = size(own) {
            tell(place, Severity::Error, fault);
            continue;
        }
        for (at, fault) in faults(own) {
            tell(format!("{place}.{at}"), Severity::Error, fault);
        }
        if *own == Overriders::default() {
            tell(place, Severity::Warning, Fault::invalid("", "it changes nothing; give an overrider"));
        }
    }
    problems
}

/// Each overrider of a rule that is wrong by itself.
fn faults(own: &Overriders) -> Vec<(String, Fault)> {
    let mut all: Vec<(String, Fault)> = Vec::new();
    let mut note = |list: &str, at: usize, outcome: Result<(), Fault>| {
        all.extend(outcome.err().map(|fault| (format!("{list}[{at}]"), fault)));
    };
    own.image_overrider.iter().enumerate().for_each(|(at, o)| note("imageOverrider", at, image::check(o)));
    own.command_overrider
        .iter()
        .enumerate()
        .for_each(|(at, o)| note("commandOverrider", at, lists::check(o)));
    own.args_overrider.iter().enumerate().for_each(|(at, o)| note("argsOverrider", at, lists::check(o)));
    own.labels_overrider.iter().enumerate().for_each(|(at, o)| note("labelsOverrider", at, maps::check(o)));
    own.annotations_overrider
        .iter()
        .enumerate()
        .for_each(|(at, o)| note("annotationsOverrider", at, maps::check(o)));
    own.field_overrider.iter().enumerate().for_each(|(at, o)| note("fieldOverrider", at, document::check(o)));
    own.plaintext.iter().enumerate().for_each(|(at, o)| note("plaintext", at, patch::check(o)));
    all
}

/// Refuses a rule that holds more than anybody writes.
pub(super) fn size(own: &Overriders) -> Result<(), Fault> {
    let sizes = [
        ("imageOverrider", own.image_overrider.len()),
        ("commandOverrider", own.command_overrider.len()),
        ("argsOverrider", own.args_overrider.len()),
        ("labelsOverrider", own.labels_overrider.len()),
        ("annotationsOverrider", own.annotations_overrider.len()),
        ("fieldOverrider", own.field_overrider.len()),
        ("plaintext", own.plaintext.len()),
    ];
    match sizes.into_iter().find(|(_, size)| *size > MOST) {
        Some((list, size)) => Err(Fault::invalid(
            format!(".{list}"),
            format!("has {size} items; a rule has at most {MOST} of a kind"),
        )),
        None => Ok(()),
    }
}
