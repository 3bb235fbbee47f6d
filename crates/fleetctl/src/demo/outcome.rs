//! What stands on each member at the end.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::Api;

use super::scenario::{APPLICATION, NAMESPACE};
use crate::access::Cluster;
use crate::exit::Outcome;
use crate::roster::Roster;
use crate::table::Table;

/// The final state, one member a row.
pub(super) async fn table(roster: &Roster, members: &[&(String, Cluster)]) -> Outcome<Table> {
    let mut table = Table::new(["CLUSTER", "READY", "ENV_NAME", "DATABASE", "INGRESS"]);
    for (name, cluster) in members {
        let row = row(cluster).await?;
        table.row([roster.label(name), row.ready, row.environment, row.database, row.ingress]);
    }
    Ok(table)
}

struct Row {
    ready: String,
    environment: String,
    database: String,
    ingress: String,
}

async fn row(cluster: &Cluster) -> Outcome<Row> {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let ingresses: Api<Ingress> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let deployment = cluster.ask("the Deployment", deployments.get_opt(APPLICATION)).await?;
    let map = cluster.ask("the ConfigMap", maps.get_opt(APPLICATION)).await?;
    let ingress = cluster.ask("the Ingress", ingresses.get_opt(APPLICATION)).await?;
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "<none>".to_owned());
    let config = map.and_then(|map| map.data?.remove("config.json"));
    Ok(Row {
        ready: or_none(deployment.as_ref().map(ready)),
        environment: or_none(deployment.as_ref().and_then(environment)),
        database: or_none(config.as_deref().and_then(database)),
        ingress: or_none(ingress.as_ref().and_then(address)),
    })
}

fn ready(deployment: &Deployment) -> String {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
    format!("{ready}/{wanted}")
}

fn environment(deployment: &Deployment) -> Option<String> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    let variables = pod.containers.iter().flat_map(|container| container.env.iter().flatten());
    variables.filter(|variable| variable.name == "ENV_NAME").find_map(|variable| variable.value.clone())
}

/// The address in `database-host: "…"`; the example's config.json is no JSON, so it is looked for by eye.
fn database(config: &str) -> Option<String> {
    let line = config.lines().find(|line| line.contains("database"))?;
    let value = line.split_once(':')?.1.trim().trim_end_matches(',');
    Some(value.trim_matches('"').to_owned())
}

fn address(ingress: &Ingress) -> Option<String> {
    let balancer = ingress.status.as_ref()?.load_balancer.as_ref()?;
    let first = balancer.ingress.as_ref()?.first()?;
    first.ip.clone().or_else(|| first.hostname.clone())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_database_is_found() {
        let config = "{\n  database-host: \"beijing-db.pg.aliyun.com\"\n}\n";
        assert_eq!(super::database(config).as_deref(), Some("beijing-db.pg.aliyun.com"));
    }
}
