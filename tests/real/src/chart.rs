//! The control plane as helm installs it, with the controller as a process here: its account, rights and arguments are
//! those of the Deployment.

use std::ffi::OsString;

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};

use crate::fleet::SYSTEM;
use crate::kubeconfig::{self, User};
use crate::{Controller, Fleet};

/// The chart, from the workspace's folder.
pub const CHART: &str = "charts/fleetctl";
const CONTROLLER: &str = "fleetctl-controller";

impl Fleet {
    /// Installs the chart on the hub, with further arguments for helm.
    ///
    /// # Errors
    /// Where helm refuses, with what it said.
    pub fn helm_install(&self, arguments: &str) -> Result<String> {
        let said =
            self.shell(&format!("helm install fleetctl {CHART} -n {SYSTEM} --create-namespace {arguments}"))?;
        self.wait_served()?;
        Ok(said)
    }

    /// Waits until the hub serves every kind that was defined there: a definition is established a moment before.
    ///
    /// # Errors
    /// Where one isn't served within a minute.
    pub fn wait_served(&self) -> Result<()> {
        self.shell(
            "export KUBECTL='kubectl --context hub'; timeout 60 sh -c '\
             for kind in $($KUBECTL get crd -o jsonpath=\"{.items[*].metadata.name}\"); do \
             until $KUBECTL get \"$kind\" -A >/dev/null 2>&1; do sleep 0.1; done; done'",
        )?;
        Ok(())
    }

    /// Starts the controller that the Deployment on the hub describes, outside of it: the same arguments and
    /// environment, a token of the same account.
    ///
    /// # Errors
    /// Where the hub has no such Deployment or account, or the program can't be started.
    pub async fn installed_controller(&self, name: &str) -> Result<Controller> {
        let client = self.hub.client().await?;
        let deployment = Api::<Deployment>::namespaced(client.clone(), SYSTEM).get(CONTROLLER).await?;
        let pod =
            deployment.spec.and_then(|spec| spec.template.spec).context("the Deployment has a template")?;
        let container = pod.containers.into_iter().next().context("the Deployment has a container")?;
        let account = pod.service_account_name.context("the Deployment names its ServiceAccount")?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client, SYSTEM);
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(3600), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let answer = accounts.create_token_request(&account, &PostParams::default(), &request).await?;
        let token = answer.status.context("a token")?.token;
        let path = self.room().path().join(format!("{name}.kubeconfig"));
        kubeconfig::write(&path, &self.hub.kubeconfig_as(&User::Token(token)))?;
        // The port of a pod is its own; here it is everybody's.
        let listen = |argument: String| {
            match argument.strip_prefix("--webhook-listen=").and_then(|address| address.rsplit_once(':')) {
                // The hub was told which one.
                Some((_, port)) => format!("--webhook-listen=127.0.0.1:{port}"),
                None if argument.starts_with("--listen=") => "--listen=127.0.0.1:0".to_owned(),
                None => argument,
            }
        };
        let mut arguments: Vec<OsString> =
            container.args.unwrap_or_default().into_iter().map(listen).map(Into::into).collect();
        arguments.extend(["--kubeconfig".into(), path.into()]);
        let variables = container.env.unwrap_or_default().into_iter();
        let variables = variables.filter_map(|variable| Some((variable.name, variable.value?)));
        Controller::run(self.room(), name, arguments, variables)
    }
}
