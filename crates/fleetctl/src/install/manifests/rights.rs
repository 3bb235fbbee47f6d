//! Accounts, rights, and the admission policies that prove approvals.

use serde_json::{Value, json};

use super::{CONTROLLER, House, NAMESPACE_NOTE, documents, file};

const RBAC: &str = "rbac.authorization.k8s.io/v1";

impl House<'_> {
    pub(super) fn rights(&self, objects: &mut Vec<Value>) -> Result<(), String> {
        let values = self.values;
        let account = &values.service_account;
        if values.controller.enabled && account.create {
            let object = self.object(
                "v1",
                "ServiceAccount",
                &account.name,
                json!({ "automountServiceAccountToken": false }),
            );
            let notes: Vec<(&str, String)> =
                account.annotations.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
            objects.push(self.annotated(self.within(self.namespace, object), &notes));
        }
        if values.rbac.create {
            let role = self.object(RBAC, "ClusterRole", CONTROLLER, json!({ "rules": self.rules()? }));
            objects.push(self.annotated(role, &[(NAMESPACE_NOTE, self.namespace)]));
            if values.controller.enabled {
                self.bindings(objects)?;
            }
        }
        if values.rbac.people {
            objects.extend(self.labelled(super::roles_for_people()?));
        }
        if values.policies.install {
            objects.extend(self.labelled(policies(&self.controllers())?));
        }
        Ok(())
    }

    /// The accounts that are the controller.
    fn controllers(&self) -> Vec<String> {
        let own = format!("system:serviceaccount:{}:{}", self.namespace, self.values.service_account.name);
        std::iter::once(own).chain(self.values.controller.users.iter().cloned()).collect()
    }

    /// The controller's rights on the whole hub.
    fn rules(&self) -> Result<Vec<Value>, String> {
        let mut rules = rules(file!("files/controller-rules.yaml"))?;
        if self.values.referenced.secrets {
            rules.extend(rules_of_secrets()?);
        }
        for readable in &self.values.referenced.resources {
            rules.push(json!({
                "apiGroups": readable.api_groups,
                "resources": readable.resources,
                "verbs": ["get", "list", "watch"],
            }));
            // What members show of an object that policies distribute comes to its status.
            let statuses: Vec<String> =
                readable.resources.iter().map(|resource| format!("{resource}/status")).collect();
            rules.push(json!({
                "apiGroups": readable.api_groups,
                "resources": statuses,
                "verbs": ["patch"],
            }));
        }
        if self.values.webhook.enabled {
            rules.extend(self::rules(file!("files/webhook-rules.yaml"))?);
        }
        rules.extend(self.values.rbac.extra_rules.iter().cloned());
        Ok(rules)
    }

    fn bindings(&self, objects: &mut Vec<Value>) -> Result<(), String> {
        let subjects = json!([{
            "kind": "ServiceAccount",
            "name": self.values.service_account.name,
            "namespace": self.namespace,
        }]);
        let binding = |kind: &str, role_kind: &str, role: &str| {
            let role_ref =
                json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role });
            self.object(RBAC, kind, role, json!({ "roleRef": role_ref, "subjects": subjects }))
        };
        objects.push(binding("ClusterRoleBinding", "ClusterRole", CONTROLLER));
        let mut own = rules(file!("files/controller-namespace-rules.yaml"))?;
        if self.values.webhook.enabled {
            own.extend(rules(file!("files/webhook-namespace-rules.yaml"))?);
        }
        let mut roles = vec![(self.namespace, CONTROLLER, own)];
        for namespace in self.credentials_namespaces() {
            roles.push((namespace, "fleetctl-credentials", rules(file!("files/credentials-rules.yaml"))?));
        }
        for (namespace, name, rules) in roles {
            let role = self.object(RBAC, "Role", name, json!({ "rules": rules }));
            objects.push(self.within(namespace, role));
            objects.push(self.within(namespace, binding("RoleBinding", "Role", name)));
        }
        Ok(())
    }

    /// Objects of the chart's files, with our labels.
    fn labelled(&self, mut objects: Vec<Value>) -> Vec<Value> {
        for metadata in objects.iter_mut().filter_map(|object| object.get_mut("metadata")?.as_object_mut()) {
            let own = metadata.remove("labels");
            let own = own.and_then(|labels| labels.as_object().cloned()).unwrap_or_default();
            metadata.insert("labels".to_owned(), self.labels_and(own));
        }
        objects
    }
}

/// The admission policies and their bindings, where these users are the controller.
pub(crate) fn policies(controllers: &[String]) -> Result<Vec<Value>, String> {
    let users = serde_json::to_string(controllers).map_err(|error| error.to_string())?;
    documents(&file!("files/policies.yaml").replace("CONTROLLERS", &users))
}

fn rules_of_secrets() -> Result<Vec<Value>, String> {
    rules(file!("files/controller-secret-rules.yaml"))
}

/// The rules of a file of the chart.
fn rules(text: &str) -> Result<Vec<Value>, String> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}
