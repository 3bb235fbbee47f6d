//! The Deployment of the controller, and what stands around it.

use serde_json::{Map, Value, json};

use super::{CONTROLLER, House};
use crate::install::values::Values;

impl House<'_> {
    pub(super) fn workload(&self, objects: &mut Vec<Value>) -> Result<(), String> {
        let values = self.values;
        if values.webhook.enabled {
            objects.push(self.webhook()?);
        }
        if !values.controller.enabled {
            return Ok(());
        }
        objects.push(self.deployment());
        if values.pod_disruption_budget.enabled && values.replicas > 1 {
            let spec = json!({
                "maxUnavailable": 1,
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
                "selector": { "matchLabels": selector() },
            });
            objects.push(self.here("policy/v1", "PodDisruptionBudget", json!({ "spec": spec })));
        }
        if values.network_policy.enabled {
            objects.push(self.network_policy());
        }
        let monitored = values.metrics.service_monitor.enabled;
        if values.metrics.service.enabled || monitored {
            objects.push(self.service());
        }
        if monitored {
            objects.push(self.service_monitor());
        }
        if values.webhook.enabled {
            objects.push(self.webhook_service());
        }
        Ok(())
    }

    /// What makes the API server ask who changes what.
    fn webhook(&self) -> Result<Value, String> {
        let wanted = &self.values.webhook;
        let documents = super::documents(super::file!("files/webhook.yaml"))?;
        let mut object = documents.into_iter().next().ok_or("files/webhook.yaml is empty")?;
        let asked = if wanted.url.is_empty() {
            json!({ "service": {
                "name": WEBHOOK, "namespace": self.namespace, "path": "/authors", "port": 443,
            }})
        } else {
            json!({ "url": wanted.url })
        };
        if let Some(hook) = object.pointer_mut("/webhooks/0").and_then(Value::as_object_mut) {
            hook.insert("timeoutSeconds".to_owned(), json!(wanted.timeout_seconds));
            hook.insert("clientConfig".to_owned(), asked);
        }
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("labels".to_owned(), Value::Object(self.labels()));
        }
        Ok(object)
    }

    fn webhook_service(&self) -> Value {
        let spec = json!({
            "selector": selector(),
            "ports": [{ "name": "webhook", "port": 443, "targetPort": "webhook", "protocol": "TCP" }],
        });
        let object = self.object("v1", "Service", WEBHOOK, json!({ "spec": spec }));
        let mut object = self.within(self.namespace, object);
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            let component = [(COMPONENT.to_owned(), json!("webhook"))];
            metadata.insert("labels".to_owned(), self.labels_and(component));
        }
        object
    }

    /// The Grafana dashboard, which stands beside the controller or without it.
    pub(super) fn dashboard(&self) -> Value {
        let labels = &self.values.dashboard.labels;
        let data = json!({ "fleetctl.json": DASHBOARD.trim_end() });
        let object = self.object("v1", "ConfigMap", "fleetctl-dashboard", json!({ "data": data }));
        let mut object = self.within(self.namespace, object);
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("labels".to_owned(), self.labels_and(texts(labels)));
        }
        object
    }

    fn here(&self, api_version: &str, kind: &str, rest: Value) -> Value {
        self.within(self.namespace, self.object(api_version, kind, CONTROLLER, rest))
    }

    fn deployment(&self) -> Value {
        let values = self.values;
        let spec = json!({
            "replicas": values.replicas,
            "selector": { "matchLabels": selector() },
            // A new controller works before an old one goes.
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } },
            "template": {
                "metadata": {
                    "labels": self.labels_and(
                        std::iter::once((COMPONENT.to_owned(), json!("controller"))).chain(texts(&values.pod_labels)),
                    ),
                    "annotations": Value::Object(
                        std::iter::once(("kubectl.kubernetes.io/default-container".to_owned(), json!("controller")))
                            .chain(texts(&values.pod_annotations))
                            .collect(),
                    ),
                },
                "spec": self.pod(),
            },
        });
        let mut object = self.here("apps/v1", "Deployment", json!({ "spec": spec }));
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            let component = [(COMPONENT.to_owned(), json!("controller"))];
            metadata.insert("labels".to_owned(), self.labels_and(component));
        }
        object
    }

    fn pod(&self) -> Value {
        let values = self.values;
        let mut pod = Map::new();
        let mut put = |key: &str, value: Value| {
            let empty = value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(Map::is_empty)
                || value.as_str().is_some_and(str::is_empty);
            if !empty {
                pod.insert(key.to_owned(), value);
            }
        };
        put("serviceAccountName", json!(values.service_account.name));
        put("automountServiceAccountToken", json!(true));
        put("enableServiceLinks", json!(false));
        put("terminationGracePeriodSeconds", json!(values.termination_grace_period_seconds));
        put(
            "securityContext",
            json!({
                "runAsNonRoot": true,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "seccompProfile": { "type": "RuntimeDefault" },
            }),
        );
        put("containers", json!([self.container()]));
        put("imagePullSecrets", json!(values.image_pull_secrets));
        put("priorityClassName", json!(values.priority_class_name));
        put("nodeSelector", json!(values.node_selector));
        put("tolerations", json!(values.tolerations));
        put("affinity", json!(values.affinity));
        put("topologySpreadConstraints", spread(values));
        Value::Object(pod)
    }

    fn container(&self) -> Value {
        let values = self.values;
        let probe = |path: &str, seconds: u32, timeout: u32| {
            json!({
                "httpGet": { "path": path, "port": "metrics" },
                "periodSeconds": seconds,
                "timeoutSeconds": timeout,
            })
        };
        let mut alive = probe("/healthz", 10, 5);
        if let Some(alive) = alive.as_object_mut() {
            alive.insert("failureThreshold".to_owned(), json!(6));
        }
        let port =
            |name: &str, number: u16| json!({ "name": name, "containerPort": number, "protocol": "TCP" });
        let mut ports = vec![port("metrics", values.metrics.port)];
        if values.webhook.enabled {
            ports.push(port("webhook", values.webhook.port));
        }
        let mut container = json!({
            "name": "controller",
            "image": image(values),
            "imagePullPolicy": values.image.pull_policy,
            "args": values.arguments(self.namespace),
            "ports": ports,
            "livenessProbe": alive,
            "readinessProbe": probe("/readyz", 5, 3),
            "resources": values.resources,
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
            },
        });
        if let Some(container) = container.as_object_mut()
            && !values.controller.extra_env.is_empty()
        {
            container.insert("env".to_owned(), json!(values.controller.extra_env));
        }
        container
    }

    fn network_policy(&self) -> Value {
        let wanted = &self.values.network_policy;
        let tcp = |port: Value| json!({ "port": port, "protocol": "TCP" });
        let servers: Vec<Value> = wanted.api_server_ports.iter().map(|port| tcp(json!(port))).collect();
        let names = json!([{ "port": 53, "protocol": "UDP" }, { "port": 53, "protocol": "TCP" }]);
        let mut egress = vec![json!({ "ports": names }), json!({ "ports": servers })];
        egress.extend(wanted.extra_egress.iter().cloned());
        let mut open = vec![tcp(json!("metrics"))];
        if self.values.webhook.enabled {
            open.push(tcp(json!("webhook")));
        }
        let spec = json!({
            "podSelector": { "matchLabels": selector() },
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{ "ports": open }],
            "egress": egress,
        });
        self.here("networking.k8s.io/v1", "NetworkPolicy", json!({ "spec": spec }))
    }

    fn service(&self) -> Value {
        let metrics = &self.values.metrics;
        let spec = json!({
            // Each controller has metrics of its own.
            "clusterIP": "None",
            "selector": selector(),
            "ports": [{ "name": "metrics", "port": metrics.port, "targetPort": "metrics", "protocol": "TCP" }],
        });
        let mut object = self.here("v1", "Service", json!({ "spec": spec }));
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            let component = [(COMPONENT.to_owned(), json!("controller"))];
            metadata.insert("labels".to_owned(), self.labels_and(component));
        }
        let notes: Vec<(&str, String)> =
            metrics.service.annotations.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        self.annotated(object, &notes)
    }

    fn service_monitor(&self) -> Value {
        let monitor = &self.values.metrics.service_monitor;
        let spec = json!({
            "selector": { "matchLabels": selector() },
            "endpoints": [{ "port": "metrics", "path": "/metrics", "interval": monitor.interval }],
        });
        let mut object = self.here("monitoring.coreos.com/v1", "ServiceMonitor", json!({ "spec": spec }));
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("labels".to_owned(), self.labels_and(texts(&monitor.labels)));
        }
        object
    }
}

/// The Service that the API server asks.
const WEBHOOK: &str = "fleetctl-webhook";
const DASHBOARD: &str = super::file!("dashboards/fleetctl.json");
const COMPONENT: &str = "app.kubernetes.io/component";

/// The labels of the controllers' pods that never change.
fn selector() -> Value {
    json!({
        super::NAME_LABEL: "fleetctl",
        "app.kubernetes.io/instance": "fleetctl",
        COMPONENT: "controller",
    })
}

fn image(values: &Values) -> String {
    let image = &values.image;
    match (image.digest.as_str(), image.tag.as_str()) {
        ("", "") => format!("{}:{}", image.repository, env!("CARGO_PKG_VERSION")),
        ("", tag) => format!("{}:{tag}", image.repository),
        (digest, _) => format!("{}@{digest}", image.repository),
    }
}

fn spread(values: &Values) -> Value {
    if !values.topology_spread_constraints.is_empty() {
        return json!(values.topology_spread_constraints);
    }
    let over = |key: &str| {
        json!({
            "topologyKey": key,
            "maxSkew": 1,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": selector() },
        })
    };
    json!([over("kubernetes.io/hostname"), over("topology.kubernetes.io/zone")])
}

fn texts(map: &std::collections::BTreeMap<String, String>) -> impl Iterator<Item = (String, Value)> + '_ {
    map.iter().map(|(key, value)| (key.clone(), json!(value)))
}
