//! One cluster's worth of input for plans.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::{ObjectId, Owned, Target, TargetInventory};
use fleet_plan::{
    Claim, Delivery, Desired, Plan, PlanInput, ResourcePolicies, Subject, TargetInput, plan, prepare,
};
use serde_json::{Value, json};

pub(crate) const DELIVERY: Delivery<'static> =
    Delivery { application: "web-demo", namespace: "demo", owner: "0123456789" };

/// What is known of one target, and what is to stand there.
#[derive(Default)]
pub(crate) struct Site {
    pub(crate) rendered: Vec<Value>,
    pub(crate) delivered: Vec<Value>,
    pub(crate) owned: Vec<ObjectId>,
    pub(crate) made_namespace: bool,
    pub(crate) kept: Vec<ObjectId>,
    pub(crate) not_last: bool,
}

pub(crate) fn id(api_version: &str, kind: &str, namespace: &str, name: &str) -> ObjectId {
    ObjectId::new(api_version, kind, namespace, name)
}

pub(crate) fn deployment(name: &str, image: &str) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
        "spec": { "replicas": 5, "template": { "spec": { "containers": [{ "name": "web", "image": image }] } } } })
}

pub(crate) fn config(name: &str, text: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "text": text } })
}

pub(crate) fn secret(name: &str, data: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "data": data })
}

pub(crate) fn role(name: &str) -> Value {
    json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": name } })
}

pub(crate) fn crd(name: &str) -> Value {
    json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": name } })
}

pub(crate) fn prepared(objects: &[Value], target: &Target) -> Vec<Desired> {
    prepared_with(objects, target, &ResourcePolicies::default())
}

/// The same, with policies that say whose each object is.
pub(crate) fn prepared_with(objects: &[Value], target: &Target, policies: &ResourcePolicies) -> Vec<Desired> {
    let objects: Vec<(String, Value)> =
        objects.iter().map(|object| ("web".to_owned(), object.clone())).collect();
    let scoped =
        |id: &ObjectId| matches!(id.kind.as_str(), "ClusterRole" | "CustomResourceDefinition" | "Namespace");
    let claim = |id: &ObjectId, component: &str| -> Claim {
        policies.claim(&Subject { id, component, component_type: "ref-objects" })
    };
    prepare(&objects, target, &DELIVERY, &scoped, &claim)
}

pub(crate) fn policies(list: &[(&str, Value)]) -> ResourcePolicies {
    let mut policies = ResourcePolicies::default();
    for (type_, properties) in list {
        policies.add(type_, type_, properties).unwrap();
    }
    policies
}

/// The plan of one step over some sites.
pub(crate) fn plan_of(sites: &[(Target, Site)], policies: &ResourcePolicies) -> Plan {
    with_input(sites, policies, plan)
}

/// What the plan of one step over some sites is made from.
pub(crate) fn with_input<T>(
    sites: &[(Target, Site)],
    policies: &ResourcePolicies,
    make: impl FnOnce(&PlanInput<'_>) -> T,
) -> T {
    struct Parts {
        desired: Vec<Desired>,
        previous: Vec<Desired>,
        inventory: TargetInventory,
        kept: BTreeSet<ObjectId>,
    }
    let parts: Vec<Parts> = sites
        .iter()
        .map(|(target, site)| {
            let owned =
                |id: &ObjectId| (id.clone(), Owned { component: "web".to_owned(), made_namespace: false });
            let mut objects: BTreeMap<ObjectId, Owned> = site.owned.iter().map(owned).collect();
            if site.made_namespace {
                let made = Owned { component: String::new(), made_namespace: true };
                objects.insert(id("v1", "Namespace", "", &target.namespace), made);
            }
            Parts {
                desired: prepared_with(&site.rendered, target, policies),
                previous: prepared(&site.delivered, target),
                inventory: TargetInventory {
                    target: target.clone(),
                    layers: Vec::new(),
                    begun: Vec::new(),
                    objects,
                },
                kept: site.kept.iter().cloned().collect(),
            }
        })
        .collect();
    let targets = sites.iter().zip(&parts).map(|((target, site), parts)| TargetInput {
        target: target.clone(),
        desired: &parts.desired,
        previous: &parts.previous,
        inventory: Some(&parts.inventory),
        last: !site.not_last,
        kept: &parts.kept,
    });
    let component_types = BTreeMap::from([("web".to_owned(), "ref-objects".to_owned())]);
    make(&PlanInput {
        step: "ship",
        targets: targets.collect(),
        policies,
        component_types: &component_types,
        keeps_deleted: false,
    })
}

pub(crate) fn here() -> Target {
    Target::new("mc-bj1", "demo")
}

pub(crate) fn plan_here(site: Site, policies: &ResourcePolicies) -> Plan {
    plan_of(&[(here(), site)], policies)
}
