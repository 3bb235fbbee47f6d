//! `kubectl delete` and what goes with an object.

use crate::support::Stage;

#[test]
fn delete_by_name_selector_file_and_all() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    for name in ["a", "b", "c", "d", "e"] {
        k.ok(&format!("create secret generic {name} -n demo"));
    }
    k.ok("label secret b c -n demo pick=me");
    k.prints("delete secret a -n demo --dry-run=server", "secret \"a\" deleted (server dry run)");
    k.prints("delete secret a -n demo", "secret \"a\" deleted");
    k.fails("delete secret a -n demo", &["Error from server (NotFound): secrets \"a\" not found"]);
    k.prints("delete secret a -n demo --ignore-not-found", "");
    k.prints("delete secret -l pick=me -n demo", "secret \"b\" deleted\nsecret \"c\" deleted");
    k.prints_with(
        "delete -f -",
        "{apiVersion: v1, kind: Secret, metadata: {name: d, namespace: demo}}",
        "secret \"d\" deleted",
    );
    k.prints("delete secret --all -n demo -o name", "secret/e");
    k.ok("create secret generic s -n demo");
    k.prints("delete secret/s -n demo --now --wait=false", "secret \"s\" deleted");
    k.fails("delete nonsense x", &["the server doesn't have a resource type \"nonsense\""]);
}

#[test]
fn finalizers_hold_an_object() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    k.ok_with("create -f -", "{apiVersion: v1, kind: ConfigMap, metadata: {name: held, namespace: demo, finalizers: [example.com/hold]}}");
    let mut delete = k.start("delete cm held -n demo");
    delete.line("configmap \"held\" deleted");
    k.ok("wait --for=jsonpath={.metadata.deletionTimestamp} cm/held -n demo --timeout=20s");
    k.fails("delete cm held -n demo --timeout=1s", &["timed out waiting for the condition"]);
    k.fails(r#"patch cm held -n demo --type=merge -p '{"metadata":{"finalizers":["example.com/hold","example.com/more"]}}'"#, &["Forbidden"]);
    k.ok(r#"patch cm held -n demo --type=merge -p '{"metadata":{"finalizers":null}}'"#);
    assert_eq!(delete.end(), 0);
    k.fails("get cm held -n demo", &["not found"]);
}

#[test]
fn what_an_object_owns_goes_or_stays() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.member();
    k.ok("create namespace demo");
    let make = || {
        k.ok("create deployment web -n demo --image=nginx:1 --replicas=2");
        k.ok("rollout status deployment/web -n demo --timeout=30s");
    };
    make();
    k.prints("delete deployment web -n demo --cascade=foreground", "deployment.apps \"web\" deleted");
    k.prints("get rs,pods -n demo -o name", "");
    make();
    k.prints("delete deployment web -n demo --cascade=orphan", "deployment.apps \"web\" deleted");
    let left = k.ok("get rs -n demo -o name");
    assert!(left.starts_with("replicaset.apps/web-"), "{left}");
    k.prints("get rs -n demo -o jsonpath={.items[*].metadata.ownerReferences}", "");
    k.prints("delete rs -n demo -l app=web", "replicaset.apps \"web-…\" deleted");
    k.ok("wait --for=delete pod -l app=web -n demo --timeout=30s");
    make();
    k.prints("delete pods -n demo -l app=web --wait=false", "pod \"web-…\" deleted\npod \"web-…\" deleted");
    k.ok("wait --for=condition=Available deployment/web -n demo --timeout=30s");
    k.prints("delete deployment web -n demo", "deployment.apps \"web\" deleted");
    k.ok("wait --for=delete rs -l app=web -n demo --timeout=30s");
    k.ok("wait --for=delete pod -l app=web -n demo --timeout=30s");
}

#[test]
fn a_namespace_goes_with_what_is_in_it() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.member();
    k.ok("create namespace shop");
    k.ok("create deployment web -n shop --image=nginx:1");
    k.ok("create configmap c -n shop");
    k.ok_with("create -f -", "{apiVersion: v1, kind: ConfigMap, metadata: {name: held, namespace: shop, finalizers: [example.com/hold]}}");
    let mut delete = k.start("delete namespace shop");
    delete.line("namespace \"shop\" deleted");
    k.ok("wait --for=jsonpath={.status.phase}=Terminating ns/shop --timeout=20s");
    k.prints("get ns shop", "NAME STATUS AGE\nshop Terminating …");
    k.fails(
        "create configmap late -n shop",
        &["unable to create new content in namespace shop because it is being terminated"],
    );
    k.ok(r#"patch cm held -n shop --type=merge -p '{"metadata":{"finalizers":null}}'"#);
    assert_eq!(delete.end(), 0);
    k.fails("get ns shop", &["namespaces \"shop\" not found"]);
    k.prints("get all,cm -n shop -o name", "");
    k.fails(
        "delete namespace default",
        &["namespaces \"default\" is forbidden: this namespace may not be deleted"],
    );
}
