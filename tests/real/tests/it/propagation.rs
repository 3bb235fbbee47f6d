//! Native objects follow policies, with the chart's rights only.

use anyhow::{Context as _, Result, ensure};
use fleet_api::names;
use fleet_real::fleet::{SYSTEM, three_centres};
use fleet_real::{Cluster, ClusterSpec, Fleet, Life, eventually, until};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service};
use kube::{Api, ResourceExt as _};

use crate::adopt::{RUNNING, fingerprint, owner, ready};
use crate::trust::people::suffices;

/// By another group's name, and by labels of clusters.
const EDGE: &str = r"
apiVersion: v1
kind: ConfigMap
metadata: {name: edge, namespace: demo}
data: {a: b, nginx.conf: ours}
---
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata: {name: edge, namespace: demo}
spec:
  resourceSelectors: [{apiVersion: v1, kind: ConfigMap, name: edge}]
  placement: {clusterAffinity: {labelSelector: {matchLabels: {tier: edge}}}}
";

/// Broken: on real clusters what runs is restarted as it comes under a policy, the hub's own defaults and addresses are
/// sent to members, an edit, a label or a deletion isn't followed, what somebody changes on a member stays, a deletion is
/// forgotten while no controller runs, `kubectl rollout status` on the hub never ends, or the chart's rights don't suffice for
/// any of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_take_over_deliver_and_take_away() -> Result<()> {
    let hub = ClusterSpec::new("hub", Life::Inert).audited();
    let fleet = Fleet::clusters(hub, three_centres()).await?;
    fleet.helm_install("")?;
    fleet.register_all().await?;
    let mut controller = fleet.installed_controller("controller").await?;
    from_one_to_two(&fleet).await?;

    fleet.kubectl("apply -f examples/propagation")?;
    arrived(&fleet, "nginx", &["mc-bj1", "mc-bj2", "mc-hz1"]).await?;
    shown(&fleet, "nginx", 7).await?;
    let listed = fleet.kubectl("get cpp example --no-headers")?;
    ensure!(listed.split_whitespace().take(4).eq(["example", "1", "1", "True"]), "{listed}");

    // An edit is everywhere, each cluster with its own override.
    fleet.kubectl("set image deployment/nginx nginx=nginx:1.27 -n demo")?;
    arrived(&fleet, "nginx:1.27", &["mc-bj1", "mc-bj2", "mc-hz1"]).await?;
    shown(&fleet, "nginx", 7).await?;

    // A cluster that is named no more, and is named again.
    placed(&fleet, &["cluster1-beijing", "cluster2-beijing"])?;
    gone(&fleet, "mc-hz1").await?;
    let namespaces: Api<Namespace> = Api::all(fleet.member("mc-hz1")?.client().await?);
    until(namespaces, "demo", "gone with what was in it", |found| found.is_none()).await?;
    shown(&fleet, "nginx", 4).await?;
    placed(&fleet, &["cluster1-beijing", "cluster2-beijing", "cluster1-hangzhou"])?;
    arrived(&fleet, "nginx:1.27", &["mc-bj1", "mc-bj2", "mc-hz1"]).await?;

    // A label comes and goes.
    fleet.kubectl("label managedcluster mc-bj2 mc-hz1 tier=edge")?;
    fleet.apply(&fleet.hub, EDGE).await?;
    let [two, three] = ["mc-bj2", "mc-hz1"].map(|name| fleet.member(name));
    let (two, three) = (maps(two?).await?, maps(three?).await?);
    for maps in [&two, &three] {
        until(maps.clone(), "edge", "there", |found| found.is_some()).await?;
    }
    // What somebody changes there is taken back, also at a key with dots.
    let theirs = serde_json::json!({"data": {"nginx.conf": "theirs"}});
    fleet.kubectl(&format!("--context mc-bj2 patch cm edge -n demo --type=merge -p '{theirs}'"))?;
    let is_ours = |found: Option<&ConfigMap>| {
        found.and_then(|found| found.data.as_ref()?.get("nginx.conf")).is_some_and(|value| value == "ours")
    };
    until(two.clone(), "edge", "put right", is_ours).await?;
    fleet.kubectl("label managedcluster mc-hz1 tier-")?;
    until(three.clone(), "edge", "gone with the label", |found| found.is_none()).await?;
    ensure!(
        two.get_opt("edge").await?.is_some()
            && maps(fleet.member("mc-bj1")?).await?.get_opt("edge").await?.is_none()
    );

    // What is deleted while nobody looks is found to be gone.
    controller.kill();
    fleet.kubectl("delete deployment nginx -n demo")?;
    controller.start_again()?;
    for member in ["mc-bj1", "mc-bj2", "mc-hz1"] {
        gone(&fleet, member).await?;
    }
    ensure!(two.get_opt("edge").await?.is_some(), "what is still there was taken away");

    ensure!(controller.stop().await?.is_some_and(|status| status.success()), "{}", controller.log());
    suffices(&fleet, "")?;
    let asked = fleet.hub.audit()?;
    let refused = asked
        .iter()
        .find(|request| request.resource.ends_with("/status") && matches!(request.code, 400 | 415 | 422));
    ensure!(refused.is_none(), "the hub refuses a status: {refused:?}");
    fleet.end();
    Ok(())
}

/// What runs on one cluster comes under a policy as it is, and a second cluster gets the same.
async fn from_one_to_two(fleet: &Fleet) -> Result<()> {
    let (one, two) = (fleet.member("mc-bj1")?, fleet.member("mc-bj2")?);
    fleet.kubectl("--context mc-bj1 create namespace demo")?;
    let manifest = RUNNING.replace("WHERE", "bj1");
    fleet.shell(&format!("kubectl --context mc-bj1 apply -f - <<'END'\n{manifest}\nEND"))?;
    ready(one, 2).await?;
    let before = fingerprint(one).await?;
    let made = fleet.fleetctl("promote -n demo --from cluster1-beijing deploy/web svc/web cm/web --yes")?;
    ensure!(made.contains("3 objects on mc-bj1 (cluster1-beijing) taken over in place"), "{made}");
    ensure!(owner(one).await?.is_some(), "nobody owns it");
    ensure!(fingerprint(one).await? == before, "touched:\n{before:#?}\n{:#?}", fingerprint(one).await?);
    shown(fleet, "web", 2).await?;

    fleet.kubectl(
        "patch propagationpolicy promoted-mc-bj1 -n demo --type=json -p \
         '[{\"op\": \"add\", \"path\": \"/spec/placement/clusterAffinity/clusterNames/-\", \"value\": \"cluster2-beijing\"}]'",
    )?;
    ready(two, 2).await?;
    shown(fleet, "web", 4).await?;
    let mut addresses = Vec::new();
    for cluster in [&fleet.hub, one, two] {
        let services: Api<Service> = Api::namespaced(cluster.client().await?, "demo");
        let seen = until(services, "web", "there", |service| service.is_some()).await?;
        addresses.push(seen.and_then(|service| service.spec?.cluster_ip).context("an address")?);
    }
    let [hub, first, second] = addresses.as_slice() else { return Ok(()) };
    ensure!(hub != first && first != second && hub != second, "sent along: {addresses:?}");

    // A promoted policy takes nothing with it.
    fleet.kubectl("delete propagationpolicy promoted-mc-bj1 -n demo")?;
    eventually("it is nobody's", || async {
        ensure!(owner(one).await?.is_none() && owner(two).await?.is_none());
        Ok(())
    })
    .await?;
    ensure!(fingerprint(one).await? == before, "touched:\n{before:#?}\n{:#?}", fingerprint(one).await?);
    Ok(())
}

/// Waits until members run the example's Deployment of this image; the first with its override.
async fn arrived(fleet: &Fleet, image: &str, members: &[&str]) -> Result<()> {
    for &member in members {
        let wanted = match member {
            "mc-bj1" => (format!("registry.cn-hangzhou.aliyuncs.com/{image}"), 1),
            _ => (image.to_owned(), 3),
        };
        let api: Api<Deployment> = Api::namespaced(fleet.member(member)?.client().await?, "demo");
        let what = format!("{wanted:?} ready on {member}");
        until(api, "nginx", &what, |found| {
            let Some(found) = found else { return false };
            let spec = found.spec.as_ref();
            let pods = spec.and_then(|spec| spec.template.spec.as_ref());
            let runs = pods.and_then(|pods| pods.containers.first()?.image.as_ref());
            let status = found.status.clone().unwrap_or_default();
            runs == Some(&wanted.0)
                && spec.and_then(|spec| spec.replicas) == Some(wanted.1)
                && status.observed_generation == found.metadata.generation
                && (status.replicas, status.updated_replicas, status.ready_replicas)
                    == (Some(wanted.1), Some(wanted.1), Some(wanted.1))
                && found.labels().contains_key(names::OWNER)
        })
        .await?;
    }
    Ok(())
}

/// Waits until the hub's Deployment shows what the members have together, in the words of stock kubectl.
async fn shown(fleet: &Fleet, name: &str, replicas: i32) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(fleet.hub.client().await?, "demo");
    until(api, name, &format!("{replicas} replicas on the hub"), |found| {
        let status = found.and_then(|found| found.status.clone()).unwrap_or_default();
        status.observed_generation == found.and_then(|found| found.metadata.generation)
            && (status.replicas, status.ready_replicas) == (Some(replicas), Some(replicas))
    })
    .await?;
    fleet.kubectl(&format!("rollout status deployment/{name} -n demo --timeout=60s"))?;
    fleet.kubectl(&format!("wait deployment/{name} -n demo --for=condition=Available --timeout=60s"))?;
    Ok(())
}

/// Says where the example goes.
fn placed(fleet: &Fleet, clusters: &[&str]) -> Result<()> {
    let patch = serde_json::json!({"spec": {"placement": {"clusterAffinity": {"clusterIds": clusters}}}});
    fleet.kubectl(&format!("patch cpp example --type=merge -p '{patch}'"))?;
    Ok(())
}

/// Waits until a member has the example's Deployment no more.
async fn gone(fleet: &Fleet, member: &str) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(fleet.member(member)?.client().await?, "demo");
    until(api, "nginx", &format!("gone from {member}"), |found| found.is_none()).await?;
    Ok(())
}

async fn maps(member: &Cluster) -> Result<Api<ConfigMap>> {
    Ok(Api::namespaced(member.client().await?, "demo"))
}

/// Broken: on a hub whose own controllers run what it holds, two writers of a status never end, what the hub's
/// controllers write is delivered, or nobody is told why the members' status isn't there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_runs_them_itself_keeps_its_status() -> Result<()> {
    let hub = ClusterSpec::new("hub", Life::Nodeless).audited();
    let fleet =
        Fleet::clusters(hub, [ClusterSpec::new("mc-bj1", Life::Living).alias("cluster1-beijing")]).await?;
    fleet.helm_install("")?;
    fleet.register_all().await?;
    let mut controller = fleet.installed_controller("controller").await?;
    fleet.kubectl("create namespace demo")?;
    fleet.kubectl("apply -f examples/propagation")?;
    placed(&fleet, &["cluster1-beijing"])?;
    arrived(&fleet, "nginx", &["mc-bj1"]).await?;
    eventually("it is told", || async {
        let told = fleet.kubectl("get cpp example -o jsonpath={.status.problems}")?;
        ensure!(told.contains("StatusNotShown") && told.contains("controllers of the hub"), "{told}");
        Ok(())
    })
    .await?;
    let written = || -> Result<usize> {
        let account = format!("system:serviceaccount:{SYSTEM}:fleetctl-controller");
        let asked = fleet.hub.audit()?.into_iter();
        Ok(asked.filter(|asked| asked.user == account && asked.resource == "deployments/status").count())
    };
    let before = written()?;
    ensure!((1..=10).contains(&before), "written {before} times");

    // It is the hub's from now on, and deliveries go on.
    fleet.kubectl("set image deployment/nginx nginx=nginx:1.27 -n demo")?;
    arrived(&fleet, "nginx:1.27", &["mc-bj1"]).await?;
    let api: Api<Deployment> = Api::namespaced(fleet.hub.client().await?, "demo");
    until(api, "nginx", "as the hub's controllers see it", |found| {
        let status = found.and_then(|found| found.status.clone()).unwrap_or_default();
        status.observed_generation == found.and_then(|found| found.metadata.generation)
            && status.ready_replicas.is_none()
            && status.unavailable_replicas.is_some()
    })
    .await?;
    ensure!(written()? == before, "it writes on");
    let member: Api<Deployment> = Api::namespaced(fleet.member("mc-bj1")?.client().await?, "demo");
    let generation = member.get("nginx").await?.metadata.generation;
    ensure!(generation == Some(2), "what the hub's controllers wrote was delivered: {generation:?}");
    ensure!(controller.stop().await?.is_some_and(|status| status.success()), "{}", controller.log());
    suffices(&fleet, "")?;
    fleet.end();
    Ok(())
}
