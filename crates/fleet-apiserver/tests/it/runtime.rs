//! kube's client and runtime, unchanged, on the service.

use std::pin::pin;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{ResourceExt, discovery::Discovery};
use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn the_client_creates_patches_lists_and_deletes() {
    let server = server().await;
    let client = client(&server, MEMBER);
    assert_eq!(client.apiserver_version().await.unwrap().minor, "35");
    let api: Api<Deployment> = Api::default_namespaced(client.clone());
    let object: Deployment = serde_json::from_value(deployment("a")).unwrap();
    let created = api.create(&PostParams::default(), &object).await.unwrap();
    assert_eq!(created.spec.unwrap().replicas, Some(1));
    let apply = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"labels": {"x": "y"}}});
    let applied = api.patch("a", &PatchParams::apply("me"), &Patch::Apply(apply)).await.unwrap();
    assert_eq!(applied.labels()["x"], "y");
    let status = json!({"status": {"replicas": 1, "readyReplicas": 1, "observedGeneration": 1}});
    api.patch_status("a", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    assert_eq!(api.get_status("a").await.unwrap().status.unwrap().ready_replicas, Some(1));
    assert_eq!(api.get_scale("a").await.unwrap().spec.unwrap().replicas, Some(1));
    assert_eq!(api.get_metadata("a").await.unwrap().name_any(), "a");
    assert_eq!(api.list(&ListParams::default().labels("x=y")).await.unwrap().items.len(), 1);
    assert!(api.delete("a", &DeleteParams::default()).await.unwrap().is_right());
    assert!(api.get_opt("a").await.unwrap().is_none());
    let refused = api.get("a").await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.is_not_found()));
}

#[tokio::test]
async fn discovery_works_both_ways() {
    let server = server().await;
    for discovery in [
        Discovery::new(client(&server, MEMBER)).run().await.unwrap(),
        Discovery::new(client(&server, MEMBER)).run_aggregated().await.unwrap(),
    ] {
        let apps = discovery.groups().find(|group| group.name() == "apps").unwrap();
        assert!(apps.recommended_kind("Deployment").is_some());
    }
}

#[tokio::test]
async fn a_reflector_follows_by_lists_and_by_streaming() {
    for config in [watcher::Config::default().page_size(2), watcher::Config::default().streaming_lists()] {
        let server = server().await;
        for at in 0..5 {
            post(&server, CONFIGMAPS, &configmap(&format!("c{at}"))).await;
        }
        let api: Api<ConfigMap> = Api::default_namespaced(client(&server, MEMBER));
        let (store, writer) = reflector::store();
        let mut stream = pin!(watcher(api, config).default_backoff().reflect(writer).boxed());
        while store.state().len() < 6 {
            stream.try_next().await.unwrap().unwrap();
        }
        post(&server, CONFIGMAPS, &configmap("late")).await;
        delete(&server, &format!("{CONFIGMAPS}/c0"), "").await;
        let names = || {
            let mut names: Vec<String> = store.state().iter().map(|object| object.name_any()).collect();
            names.sort();
            names
        };
        while names().contains(&"c0".to_owned()) {
            stream.try_next().await.unwrap().unwrap();
        }
        assert_eq!(names(), ["c1", "c2", "c3", "c4", "kube-root-ca.crt", "late"]);
    }
}

#[tokio::test]
async fn a_watcher_recovers_from_a_history_that_is_gone() {
    let options = fleet_store::Options { history_bytes: 8 * 1024, watch_queue: 2 };
    let server = server_over(fleet_store::Store::memory(options)).await;
    let api: Api<ConfigMap> = Api::default_namespaced(client(&server, MEMBER));
    let (store, writer) = reflector::store();
    let mut stream = pin!(watcher(api, watcher::Config::default()).reflect(writer).boxed());
    while store.state().is_empty() {
        stream.try_next().await.unwrap().unwrap();
    }
    for at in 0..60 {
        post(&server, CONFIGMAPS, &configmap(&format!("c{at}"))).await;
    }
    // Errors on the way are the watcher's to deal with.
    for _ in 0..1000 {
        if store.state().len() == 61 {
            return;
        }
        let _ = stream.next().await.unwrap();
    }
    panic!("it never caught up");
}

#[tokio::test]
async fn namespaces_can_be_listed_through_the_typed_client_on_the_hub() {
    let server = server().await;
    let api: Api<Namespace> = Api::all(client(&server, HUB));
    assert_eq!(api.list(&ListParams::default()).await.unwrap().items.len(), 4);
}
