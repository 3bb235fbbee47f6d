//! How many more replicas of an object a cluster has room for, by what its nodes have left.
//!
//! The estimate is node by node: two halves of a pod fit nowhere. It counts what pods request, as the scheduler does, and
//! knows nothing of affinities and node selectors; what such rules keep out shows later, as pods that find no node.

use std::collections::BTreeMap;

use fleet_json::quantity::{Format, Quantity};
use serde_json::Value;

/// Resources by name; `pods` counts pods.
pub type Resources = BTreeMap<String, Quantity>;

/// Room for pods, as a resource.
const PODS: &str = "pods";

/// What the nodes of a cluster that take new pods have left.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Room {
    nodes: Vec<Resources>,
}

impl Room {
    /// Of nodes, each with what it lets pods use less what its pods request.
    #[must_use]
    pub fn new(nodes: Vec<Resources>) -> Self {
        Self { nodes }
    }

    /// How many pods that request so much fit.
    #[must_use]
    pub fn fits(&self, request: &Resources) -> u64 {
        self.nodes.iter().map(|node| fits(node, request)).fold(0, u64::saturating_add)
    }

    /// Takes room for so many pods: where most fit, first. What doesn't fit isn't taken.
    pub fn take(&mut self, request: &Resources, mut pods: u64) {
        let mut order: Vec<&mut Resources> = self.nodes.iter_mut().collect();
        order.sort_by_key(|node| std::cmp::Reverse(fits(node, request)));
        for node in order {
            let here = fits(node, request).min(pods);
            if here == 0 {
                return;
            }
            for (name, wanted) in request {
                if let Some(left) = node.get_mut(name) {
                    *left = left.minus(times(*wanted, here));
                }
            }
            pods -= here;
        }
    }
}

fn fits(node: &Resources, request: &Resources) -> u64 {
    let each = request.iter().filter(|(_, wanted)| wanted.nanos() > 0).map(|(name, wanted)| {
        let left = node.get(name).map_or(0, |left| left.nanos());
        u64::try_from(left.max(0) / wanted.nanos()).unwrap_or(u64::MAX)
    });
    each.min().unwrap_or(u64::MAX)
}

fn times(quantity: Quantity, count: u64) -> Quantity {
    let mut sum = Quantity::from_units(0, quantity.format());
    let (mut double, mut left) = (quantity, count);
    while left > 0 {
        if left & 1 == 1 {
            sum = sum.plus(double);
        }
        double = double.plus(double);
        left >>= 1;
    }
    sum
}

/// What one replica of an object requests: of its pod template, or of the pod that it is. Nothing where it has none.
///
/// As the scheduler counts: the containers together with the sidecars, or the most that an init container needs beside the
/// sidecars before it; then the overhead
/// (<https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/753-sidecar-containers>).
#[must_use]
pub fn pod_requests(object: &Value) -> Option<Resources> {
    let at = match object.get("kind").and_then(Value::as_str) {
        Some("Pod") => "/spec",
        Some("CronJob") => "/spec/jobTemplate/spec/template/spec",
        _ => "/spec/template/spec",
    };
    Some(requests_of_pod(object.pointer(at)?))
}

/// The same of a pod's spec.
#[must_use]
pub fn requests_of_pod(spec: &Value) -> Resources {
    let list = |name: &str| spec.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut sidecars = Resources::new();
    let mut most = Resources::new();
    for container in list("initContainers") {
        let own = requests(container.get("resources"));
        if container.get("restartPolicy").and_then(Value::as_str) == Some("Always") {
            add(&mut sidecars, &own);
            raise(&mut most, &sidecars);
        } else {
            let mut beside = sidecars.clone();
            add(&mut beside, &own);
            raise(&mut most, &beside);
        }
    }
    let mut sum = sidecars;
    for container in list("containers") {
        add(&mut sum, &requests(container.get("resources")));
    }
    raise(&mut sum, &most);
    add(&mut sum, &quantities(spec.get("overhead")));
    sum.insert(PODS.to_owned(), Quantity::from_units(1, Format::DecimalSi));
    sum
}

/// What a container requests; a limit without a request is one, too.
fn requests(resources: Option<&Value>) -> Resources {
    let part = |name: &str| quantities(resources.and_then(|resources| resources.get(name)));
    let mut all = part("limits");
    all.extend(part("requests"));
    all
}

fn quantities(map: Option<&Value>) -> Resources {
    let map = map.and_then(Value::as_object).into_iter().flatten();
    map.filter_map(|(name, value)| Some((name.clone(), Quantity::from_value(value).ok()?))).collect()
}

fn add(sum: &mut Resources, more: &Resources) {
    for (name, quantity) in more {
        let so_far = sum.get(name).copied();
        sum.insert(name.clone(), so_far.map_or(*quantity, |so_far| so_far.plus(*quantity)));
    }
}

fn raise(most: &mut Resources, other: &Resources) {
    for (name, quantity) in other {
        let known = most.entry(name.clone()).or_insert(*quantity);
        *known = (*known).max(*quantity);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn resources(of: &[(&str, &str)]) -> Resources {
        of.iter().map(|(name, text)| ((*name).to_owned(), Quantity::parse(text).unwrap())).collect()
    }

    /// Broken: sidecars or init containers aren't counted, or counted twice, and pods are sent where they don't fit.
    #[test]
    fn a_pod_requests_what_the_scheduler_counts() {
        let with = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let spec = json!({
            "initContainers": [
                {"name": "setup", "resources": with("900m")},
                {"name": "sidecar", "restartPolicy": "Always", "resources": with("200m")},
                {"name": "migrate", "resources": with("1")},
            ],
            "containers": [
                {"name": "a", "resources": {"requests": {"cpu": "300m"}, "limits": {"cpu": "2", "memory": "64Mi"}}},
                {"name": "b", "resources": with("100m")},
            ],
            "overhead": {"cpu": "50m"},
        });
        let object = json!({"kind": "Deployment", "spec": {"template": {"spec": spec}}});
        assert_eq!(
            pod_requests(&object).unwrap(),
            resources(&[("cpu", "1250m"), ("memory", "64Mi"), ("pods", "1")])
        );
        assert_eq!(pod_requests(&json!({"kind": "ConfigMap", "data": {}})), None);
        let pod = json!({"kind": "Pod", "spec": {"containers": [{"name": "a"}]}});
        assert_eq!(pod_requests(&pod).unwrap(), resources(&[("pods", "1")]));
    }

    /// Broken: what two nodes have left together is taken for room that one has.
    #[test]
    fn room_is_counted_node_by_node() {
        let mut room = Room::new(vec![
            resources(&[("cpu", "1500m"), ("memory", "4Gi"), ("pods", "10")]),
            resources(&[("cpu", "1500m"), ("memory", "4Gi"), ("pods", "10")]),
            resources(&[("cpu", "64"), ("memory", "64Mi"), ("pods", "10")]),
            resources(&[("cpu", "-1"), ("memory", "4Gi"), ("pods", "10")]),
        ]);
        let request = resources(&[("cpu", "1"), ("memory", "1Gi"), ("pods", "1")]);
        assert_eq!(room.fits(&request), 2);
        assert_eq!(room.fits(&resources(&[("example.com/gpu", "1"), ("pods", "1")])), 0);
        assert_eq!(room.fits(&resources(&[("pods", "1")])), 40);
        room.take(&request, 1);
        assert_eq!(room.fits(&request), 1);
        room.take(&request, 5);
        assert_eq!(room.fits(&request), 0);
    }

    proptest! {
        /// What was taken is gone, and nothing else; nothing is given twice.
        #[test]
        fn what_is_taken_fits_no_more(
            nodes in prop::collection::vec((0_i64..40, 0_i64..40), 0..6),
            cpu in 1_i64..8, pods in 0_u64..60,
        ) {
            let resource = |cpu: i64, pods: i64| Resources::from([
                ("cpu".to_owned(), Quantity::from_units(cpu, Format::DecimalSi)),
                (PODS.to_owned(), Quantity::from_units(pods, Format::DecimalSi)),
            ]);
            let mut room = Room::new(nodes.iter().map(|(cpu, pods)| resource(*cpu, *pods)).collect());
            let request = resource(cpu, 1);
            let before = room.fits(&request);
            room.take(&request, pods);
            prop_assert_eq!(room.fits(&request), before.saturating_sub(pods));
        }
    }
}
