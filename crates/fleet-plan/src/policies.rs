//! Policies about single objects: garbage-collect, take-over, apply-once, resource-update, read-only,
//! shared-resource.
//!
//! All of them select objects by the same rule: lists of component names and types, kinds and names; a list
//! that is given must match, and at least one must be given.

use fleet_api::ObjectId;
use fleet_json::FieldPath;
use serde::Deserialize;
use serde_json::Value;

use crate::Claim;

/// The policy types that this module reads.
pub const TYPES: [&str; 6] =
    ["garbage-collect", "take-over", "apply-once", "resource-update", "read-only", "shared-resource"];

/// Why a policy can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy {policy:?} of type {type_}: properties: {message}")]
pub struct PolicyError {
    /// The policy's name.
    pub policy: String,
    /// Its type.
    pub type_: String,
    /// What is wrong.
    pub message: String,
}

/// What a rule is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The object.
    pub id: &'a ObjectId,
    /// The component it comes from.
    pub component: &'a str,
    /// That component's type; empty where it isn't known any more.
    pub component_type: &'a str,
}

/// When objects that a new revision no longer has are deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GcStrategy {
    /// After the new revision completed on their target.
    #[default]
    OnAppUpdate,
    /// When the Application is deleted.
    OnAppDelete,
    /// Never; they are left to themselves.
    Never,
}

/// What happens to drift of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriftMode {
    /// It is repaired.
    Repair,
    /// It is reported.
    Report,
    /// It is reported in these fields and repaired in others.
    ReportFields(Vec<FieldPath>),
}

/// All of an Application's policies about single objects, read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResourcePolicies {
    keep_legacy: bool,
    gc: Vec<(Selector, GcStrategy)>,
    take_over: Vec<Selector>,
    apply_once: Vec<(Selector, Vec<FieldPath>)>,
    apply_once_all: bool,
    recreate: Vec<(Selector, Vec<FieldPath>)>,
    /// With the names of the policies.
    read_only: Vec<(String, Selector)>,
    shared: Vec<(String, Selector)>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Selector {
    component_names: Vec<String>,
    component_types: Vec<String>,
    oam_types: Vec<String>,
    trait_types: Vec<String>,
    resource_types: Vec<String>,
    resource_names: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct GarbageCollect {
    application_revision_limit: Option<u32>,
    keep_legacy_resource: bool,
    continue_on_failure: bool,
    order: Option<String>,
    rules: Vec<GcRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GcRule {
    selector: Selector,
    #[serde(default)]
    strategy: GcStrategy,
    #[serde(default)]
    propagation: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Selecting {
    rules: Vec<SelectRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SelectRule {
    #[serde(default)]
    selector: Selector,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ApplyOnce {
    enable: bool,
    rules: Vec<ApplyOnceRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApplyOnceRule {
    #[serde(default)]
    selector: Option<Selector>,
    strategy: ApplyOnceStrategy,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApplyOnceStrategy {
    path: Vec<String>,
    #[serde(default)]
    affect: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ResourceUpdate {
    rules: Vec<UpdateRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateRule {
    selector: Selector,
    strategy: UpdateStrategy,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateStrategy {
    #[serde(default)]
    op: Option<String>,
    #[serde(default)]
    recreate_fields: Vec<String>,
}

impl Selector {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn matches(&self, subject: &Subject<'_>) -> bool {
        let allows =
            |list: &[String], value: &str| list.is_empty() || list.iter().any(|entry| entry == value);
        // Traits that make objects of their own don't exist, so every object is a workload.
        let oam =
            self.oam_types.is_empty() || self.oam_types.iter().any(|t| t.eq_ignore_ascii_case("workload"));
        !self.is_empty()
            && oam
            && self.trait_types.is_empty()
            && allows(&self.component_names, subject.component)
            && allows(&self.component_types, subject.component_type)
            && allows(&self.resource_types, &subject.id.kind)
            && allows(&self.resource_names, &subject.id.name)
    }
}

impl ResourcePolicies {
    /// Adds one policy; several of a type are merged. Types of other modules are passed over.
    ///
    /// # Errors
    /// Where the properties aren't what the type takes.
    pub fn add(&mut self, name: &str, type_: &str, properties: &Value) -> Result<(), PolicyError> {
        let refuse =
            |message: String| PolicyError { policy: name.to_owned(), type_: type_.to_owned(), message };
        let fields = |texts: &[String]| -> Result<Vec<FieldPath>, PolicyError> {
            let parse = |text: &String| FieldPath::parse(text).map_err(|e| refuse(format!("{text:?}: {e}")));
            let whole = |text: &String| if text == "*" { Ok(FieldPath::root()) } else { parse(text) };
            texts.iter().map(whole).collect()
        };
        match type_ {
            "garbage-collect" => {
                let read: GarbageCollect = read(properties).map_err(refuse)?;
                if read.order.as_deref().is_some_and(|order| order != "dependency") {
                    return Err(refuse(
                        "order: only \"dependency\" exists, and it is always kept".to_owned(),
                    ));
                }
                let _ = (read.application_revision_limit, read.continue_on_failure);
                self.keep_legacy |= read.keep_legacy_resource;
                for rule in read.rules {
                    let strategy = match rule.propagation.as_deref() {
                        None | Some("cascading") => rule.strategy,
                        Some("orphan") => GcStrategy::Never,
                        Some(other) => {
                            return Err(refuse(format!("propagation: {other:?} isn't orphan or cascading")));
                        }
                    };
                    self.gc.push((checked(rule.selector).map_err(refuse)?, strategy));
                }
            }
            "take-over" => self.take_over.extend(selectors(properties).map_err(refuse)?),
            "read-only" | "shared-resource" => {
                let read = selectors(properties).map_err(refuse)?.into_iter();
                let rules = if type_ == "read-only" { &mut self.read_only } else { &mut self.shared };
                rules.extend(read.map(|selector| (name.to_owned(), selector)));
            }
            "apply-once" => {
                let read: ApplyOnce = read(properties).map_err(refuse)?;
                self.apply_once_all |= read.enable && read.rules.is_empty();
                for rule in read.rules.into_iter().filter(|_| read.enable) {
                    let known = ["onUpdate", "onStateKeep", "always", ""];
                    if let Some(affect) = rule.strategy.affect.as_deref().filter(|a| !known.contains(a)) {
                        return Err(refuse(format!(
                            "affect: {affect:?} isn't onUpdate, onStateKeep or always"
                        )));
                    }
                    if rule.strategy.path.is_empty() {
                        return Err(refuse("path: is empty; name fields, or write \"*\" for all".to_owned()));
                    }
                    let paths = fields(&rule.strategy.path)?;
                    self.apply_once.push((rule.selector.unwrap_or_default(), paths));
                }
            }
            "resource-update" => {
                let read: ResourceUpdate = read(properties).map_err(refuse)?;
                for rule in read.rules {
                    if let Some(op) =
                        rule.strategy.op.as_deref().filter(|op| !["patch", "replace"].contains(op))
                    {
                        return Err(refuse(format!("op: {op:?} isn't patch or replace")));
                    }
                    let paths = fields(&rule.strategy.recreate_fields)?;
                    self.recreate.push((checked(rule.selector).map_err(refuse)?, paths));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// When an object that is no longer wanted is deleted; the first rule that matches decides.
    pub fn gc(&self, subject: &Subject<'_>) -> GcStrategy {
        let rule = self.gc.iter().find(|(selector, _)| selector.matches(subject));
        let fallback = if self.keep_legacy { GcStrategy::OnAppDelete } else { GcStrategy::OnAppUpdate };
        rule.map_or(fallback, |(_, strategy)| *strategy)
    }

    /// Whether an object that nobody's application owns may be taken over.
    pub fn takes_over(&self, subject: &Subject<'_>) -> bool {
        self.take_over.iter().any(|selector| selector.matches(subject))
    }

    /// Whether any object may be.
    pub fn takes_over_any(&self) -> bool {
        !self.take_over.is_empty()
    }

    /// Whose an object is.
    pub fn claim(&self, subject: &Subject<'_>) -> Claim {
        match (first(&self.read_only, subject), first(&self.shared, subject)) {
            (Some(_), _) => Claim::Observe,
            (None, Some(_)) => Claim::Share,
            (None, None) => Claim::Own,
        }
    }

    /// The read-only and the shared-resource policy that both select an object; only one may.
    pub fn contradiction(&self, subject: &Subject<'_>) -> Option<(&str, &str)> {
        first(&self.read_only, subject).zip(first(&self.shared, subject))
    }

    /// Whether any object may be somebody else's.
    pub fn concerns_others(&self) -> bool {
        !self.read_only.is_empty() || !self.shared.is_empty()
    }

    /// What happens to drift of an object.
    pub fn drift_mode(&self, subject: &Subject<'_>) -> DriftMode {
        if self.apply_once_all {
            return DriftMode::Report;
        }
        let mut fields = Vec::new();
        for (selector, paths) in &self.apply_once {
            if !selector.is_empty() && !selector.matches(subject) {
                continue;
            }
            if paths.iter().any(FieldPath::is_root) {
                return DriftMode::Report;
            }
            fields.extend(paths.iter().cloned());
        }
        if fields.is_empty() { DriftMode::Repair } else { DriftMode::ReportFields(fields) }
    }

    /// Fields whose change may be carried out by deleting the object and creating it anew.
    pub fn recreate_fields(&self, subject: &Subject<'_>) -> Vec<FieldPath> {
        let rules = self.recreate.iter().filter(|(selector, _)| selector.matches(subject));
        rules.flat_map(|(_, paths)| paths.iter().cloned()).collect()
    }
}

fn read<T: for<'de> Deserialize<'de> + Default>(properties: &Value) -> Result<T, String> {
    if properties.is_null() {
        return Ok(T::default());
    }
    T::deserialize(properties).map_err(|e| e.to_string())
}

/// The name of the first policy that selects an object.
fn first<'a>(rules: &'a [(String, Selector)], subject: &Subject<'_>) -> Option<&'a str> {
    rules.iter().find(|(_, selector)| selector.matches(subject)).map(|(name, _)| name.as_str())
}

/// The selectors of a policy that has nothing but `rules[].selector`.
fn selectors(properties: &Value) -> Result<Vec<Selector>, String> {
    let read: Selecting = read(properties)?;
    read.rules.into_iter().map(|rule| checked(rule.selector)).collect()
}

fn checked(selector: Selector) -> Result<Selector, String> {
    if selector.is_empty() {
        return Err("rules: a selector is empty; name components, resourceTypes or resourceNames".to_owned());
    }
    Ok(selector)
}
