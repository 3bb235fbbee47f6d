//! Temporary.
#![allow(missing_docs)]
use std::sync::Arc;
use fleet_apiserver::*;
use fleet_sim::Simulator;
use fleet_store::Store;
use kube::api::*;
use serde_json::json;
use tokio_util::sync::CancellationToken;
pub struct MemberSpec(String, String);
impl MemberSpec { pub fn new(a: &str, b: &str) -> Self { Self(a.into(), b.into()) } }
pub struct EmbeddedOptions { pub members: Vec<MemberSpec>, pub controller: bool, clock: Clock, seed: u64 }
impl EmbeddedOptions { pub fn in_memory(clock: Clock, seed: u64) -> Self { Self { members: vec![], controller: false, clock, seed } } }
pub struct Embedded { api: ApiServer, stop: CancellationToken }
struct W(ApiServer);
fn c(api: &ApiServer, n: &str) -> kube::Client { kube::Client::new(api.service(n, Identity::admin("x")), "default") }
impl fleet_sim::Members for W {
    fn watch_client(&self) -> kube::Client { c(&self.0, ApiServer::WILDCARD) }
    fn member(&self, n: &str) -> kube::Client { c(&self.0, n) }
}
#[allow(clippy::disallowed_methods)]
impl Embedded {
    pub async fn start(o: EmbeddedOptions) -> anyhow::Result<Self> {
        let api = ApiServer::new(Store::memory(fleet_store::Options::default()), Options { clock: o.clock.clone(), seed: o.seed, version: "0".into(), certificate_authority: String::new() });
        api.create_cluster("hub", ClusterProfile { workloads: false }).await?;
        let hub = c(&api, "hub");
        let crds: Api<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition> = Api::all(hub.clone());
        for d in fleet_api::crds::all()? {
            let name = d["metadata"]["name"].as_str().unwrap_or("").to_string();
            crds.patch(&name, &PatchParams::apply("t").force(), &Patch::Apply(&d)).await?;
        }
        for (i, m) in o.members.iter().enumerate() {
            api.create_cluster(&m.0, ClusterProfile { workloads: true }).await?;
            fleet_sim::seed_member(&c(&api, &m.0)).await?;
            let mc: Api<fleet_api::ManagedCluster> = Api::all(hub.clone());
            let v = json!({"apiVersion":"cluster.open-cluster-management.io/v1","kind":"ManagedCluster","metadata":{"name":m.0,"annotations":{fleet_api::names::CLUSTER_ALIAS: m.1, fleet_api::names::JOIN_ORDER: i.to_string()}},"spec":{"hubAcceptsClient":true}});
            mc.patch(&m.0, &PatchParams::apply("t").force(), &Patch::Apply(&v)).await?;
        }
        let stop = CancellationToken::new();
        tokio::spawn(upkeep::run(api.clone(), stop.clone()));
        let clock = o.clock.clone();
        tokio::spawn(Simulator::new(W(api.clone()), fleet_sim::Options::new(move || clock())).run(stop.clone().cancelled_owned()));
        Ok(Self { api, stop })
    }
    pub fn api(&self) -> &ApiServer { &self.api }
    pub fn client(&self, n: &str) -> kube::Client { c(&self.api, n) }
    pub async fn shutdown(self) { self.stop.cancel(); self.api.store().close().await; let _ = Arc::new(()); }
}
