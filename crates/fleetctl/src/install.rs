//! `fleetctl install` and `uninstall`: what the Helm chart does, without helm.
//!
//! ```text
//!  values (the chart's, --set, -f) ─► manifests ─► apply: definitions, until Established; then the rest; then wait
//!                                                └─► uninstall: controllers, finalizers, rights; definitions stay
//! ```

mod apply;
mod definitions;
mod manifests;
mod record;
mod uninstall;
mod values;

use fleet_api::names;
use serde_json::{Value, json};

use crate::access::{Access, Cluster};
use crate::args::{Global, InstallArgs, Output, UninstallArgs};
use crate::beside;
use crate::environment::Environment;
use crate::exit::{Failure, Outcome};
pub(crate) use definitions::apply as definitions;
use manifests::Manifests;
pub(crate) use manifests::rights::policies as admission_policies;
pub(crate) use manifests::roles_for_people;

/// Installs or upgrades.
///
/// # Errors
/// See the exit codes.
pub async fn run(environment: &Environment, global: &Global, arguments: &InstallArgs) -> Outcome {
    let given = values::given(arguments)?;
    // What makes no sense by itself is refused before a hub is asked.
    let alone = values::complete(&given)?;
    let namespace = namespace(global)?;
    let broken = |error: String| Failure::failed(format!("what is to be installed can't be made: {error}"));
    if arguments.dry_run {
        let made = manifests::make(&alone, &namespace, false).map_err(broken)?;
        return show(environment, &made, arguments.output.output);
    }
    let hub = Access::load(environment, global)?.hub().await?;
    let before = if arguments.reset_values { json!({}) } else { record::read(&hub, &namespace).await? };
    let (given, kept) = record::join(before, &given);
    let values = values::complete(&given)?;
    let found = apply::look(&hub, &namespace, values.take_over).await?;
    beside::refuse(&beside::others(&hub.client, hub.deadline, environment.now()).await, &hub.context)?;
    record::namespaces_are_there(&hub, &values, &namespace).await?;
    let mut made = manifests::make(&values, &namespace, found.others_clusters).map_err(broken)?;
    made.objects.push(record::object(&given, &namespace));
    let streams = &environment.streams;
    if !kept.is_empty() {
        streams.note(&format!("kept from before: {}; --reset-values forgets them", kept.join(", ")));
    }
    if let Some(owner) = &found.clusters_owner {
        streams.note(&format!("the definition of ManagedCluster belongs to {owner}; it is used as it is"));
    }
    let mut applied = Vec::new();
    for object in &made.definitions {
        applied.push(apply::one(&hub, object).await?);
    }
    apply::established(&hub, &made.definitions, arguments.timeout).await?;
    for object in &made.objects {
        applied.push(apply::one(&hub, object).await?);
    }
    hub.ask("the definitions of traits and component types", definitions::apply(&hub.client, &namespace))
        .await?;
    let gone = apply::prune(&hub, &made.objects).await?;
    match arguments.output.output {
        Some(_) => show(environment, &made, arguments.output.output)?,
        None => {
            for line in applied.iter().chain(&gone) {
                streams.line(line)?;
            }
        }
    }
    if values.controller.enabled {
        if arguments.wait {
            apply::rolled_out(&hub, &namespace, arguments.timeout).await?;
            streams.note("the controllers are ready");
        }
    } else {
        streams.note(&format!(
            "no controller runs on the hub; run one: {} controller --kubeconfig HUB -n {namespace}",
            environment.called.as_str()
        ));
    }
    Ok(())
}

/// Uninstalls.
///
/// # Errors
/// See the exit codes.
pub async fn uninstall(environment: &Environment, global: &Global, arguments: &UninstallArgs) -> Outcome {
    uninstall::run(environment, global, arguments).await
}

/// The namespace of the installation. That of the kubeconfig's context is somebody's place of work, not ours.
fn namespace(global: &Global) -> Outcome<String> {
    let namespace = global.namespace.clone().unwrap_or_else(|| names::SYSTEM_NAMESPACE.to_owned());
    if !values::is_name(&namespace) {
        return Err(Failure::usage(format!("-n {namespace}: that is no name of a namespace")));
    }
    Ok(namespace)
}

fn show(environment: &Environment, made: &Manifests, format: Option<Output>) -> Outcome {
    let all: Vec<&Value> = made.definitions.iter().chain(&made.objects).collect();
    let streams = &environment.streams;
    match format {
        Some(Output::Json) => {
            let list = json!({ "apiVersion": "v1", "kind": "List", "items": all });
            let text =
                serde_json::to_string_pretty(&list).map_err(|error| Failure::failed(error.to_string()))?;
            streams.line(&text)
        }
        Some(Output::Yaml) => {
            let texts: Result<Vec<String>, String> = all.into_iter().map(crate::yaml::write).collect();
            streams.print(&texts.map_err(Failure::failed)?.join("---\n"))
        }
        None => all
            .into_iter()
            .try_for_each(|object| streams.line(&format!("{} would be applied", apply::title(object)))),
    }
}

/// Requests of installation all go to a hub that is asked within its deadline.
async fn optional<T>(
    hub: &Cluster,
    doing: &str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Outcome<Option<T>> {
    match hub.ask(doing, request).await {
        Ok(found) => Ok(Some(found)),
        Err(failure) if failure.exit == crate::exit::Exit::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}
