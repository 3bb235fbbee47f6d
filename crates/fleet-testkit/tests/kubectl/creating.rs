//! `kubectl create`, in its forms.

use crate::support::Stage;

/// Go clients send these in protobuf; kubectl's own generators are how most people make their first objects.
#[test]
fn generators_make_objects() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    k.prints("create namespace shop", "namespace/shop created");
    k.prints(
        "create deployment web -n shop --image=nginx:1 --replicas=2 --port=80",
        "deployment.apps/web created",
    );
    k.prints("create configmap settings -n shop --from-literal=a=b", "configmap/settings created");
    k.prints("create secret generic keys -n shop --from-literal=user=me", "secret/keys created");
    k.prints("create job once -n shop --image=busybox -- date", "job.batch/once created");
    k.prints(
        "create cronjob often -n shop --image=busybox --schedule='*/5 * * * *'",
        "cronjob.batch/often created",
    );
    k.prints(
        "create ingress web -n shop --rule='shop.example/*=web:80'",
        "ingress.networking.k8s.io/web created",
    );
    k.prints(
        "create role reader -n shop --verb=get,list --resource=pods",
        "role.rbac.authorization.k8s.io/reader created",
    );
    k.prints(
        "create rolebinding reader -n shop --role=reader --user=ann",
        "rolebinding.rbac.authorization.k8s.io/reader created",
    );
    k.prints("create quota small -n shop --hard=pods=9", "resourcequota/small created");
    k.prints(
        "create pdb web -n shop --selector=app=web --min-available=1",
        "poddisruptionbudget.policy/web created",
    );
    k.prints("create serviceaccount robot -n shop", "serviceaccount/robot created");
    k.prints("create service clusterip web -n shop --tcp=80:8080", "service/web created");
    k.prints("create service loadbalancer lb -n shop --tcp=80:8080", "service/lb created");
    k.prints("create priorityclass urgent --value=10", "priorityclass.scheduling.k8s.io/urgent created");
    k.prints("run lone -n shop --image=busybox", "pod/lone created");
    k.prints("expose deployment web -n shop --name=web2 --port=81", "service/web2 exposed");
    k.prints(
        "autoscale deployment web -n shop --min=1 --max=3",
        "horizontalpodautoscaler.autoscaling/web autoscaled",
    );
    k.prints("get deployment web -n shop -o jsonpath={.spec.replicas},{.spec.template.spec.containers[0].ports[0].containerPort}", "2,80");
    k.prints("get secret keys -n shop -o jsonpath={.data.user},{.type}", "bWU=,Opaque");
    k.prints("get service web -n shop -o jsonpath={.spec.ports[0].targetPort}", "8080");
    k.prints(
        "get cronjob -n shop",
        "
        NAME    SCHEDULE      TIMEZONE   SUSPEND   ACTIVE   LAST SCHEDULE   AGE
        often   */5 * * * *   <none>     False     0        <none>          …",
    );
    k.prints(
        "get role,rolebinding -n shop",
        "
        NAME CREATED AT
        role.rbac.authorization.k8s.io/reader …
        NAME ROLE AGE
        rolebinding.rbac.authorization.k8s.io/reader Role/reader …",
    );
    k.prints(
        "get priorityclass urgent",
        "
        NAME VALUE GLOBAL-DEFAULT AGE PREEMPTIONPOLICY
        urgent 10 false … PreemptLowerPriority",
    );
}

#[test]
fn files_make_objects() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    stage.write(
        "two.yaml",
        "\
apiVersion: v1
kind: ConfigMap
metadata: {name: one, namespace: demo, labels: {app: x}}
data: {k: v}
---
apiVersion: v1
kind: Secret
metadata: {name: two, namespace: demo}
stringData: {k: v}
",
    );
    k.prints(
        "create -f two.yaml --dry-run=client",
        "configmap/one created (dry run)\nsecret/two created (dry run)",
    );
    k.prints(
        "create -f two.yaml --dry-run=server",
        "configmap/one created (server dry run)\nsecret/two created (server dry run)",
    );
    k.fails("get configmap one -n demo", &["Error from server (NotFound): configmaps \"one\" not found"]);
    k.prints("create -f two.yaml", "configmap/one created\nsecret/two created");
    k.prints("get secret two -n demo -o jsonpath={.data.k}{.stringData}", "dg==");
    k.fails("create -f two.yaml", &[
        "Error from server (AlreadyExists): error when creating \"two.yaml\": configmaps \"one\" already exists",
        "secrets \"two\" already exists",
    ]);
    k.prints_with(
        "create -f - -o name",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: three, namespace: demo}}",
        "configmap/three",
    );
    k.prints_with(
        "create -f - -o name",
        r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "four", "namespace": "demo"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "five", "namespace": "demo"}}]}"#,
        "configmap/four\nconfigmap/five",
    );
    let generated = "{apiVersion: v1, kind: ConfigMap, metadata: {generateName: gen-, namespace: demo}}";
    let first = k.ok_with("create -f - -o name", generated);
    let second = k.ok_with("create -f - -o name", generated);
    assert!(
        first.starts_with("configmap/gen-") && first.trim().len() == "configmap/gen-".len() + 5,
        "{first}"
    );
    assert_ne!(first, second, "generated names are unique");
    k.fails_with("apply -f -", generated, &["cannot use generate name with apply"]);
}

#[test]
fn refusals_say_what_is_wrong() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    k.fails_with(
        "create -f -",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: nowhere}}",
        &["Error from server (NotFound): error when creating \"STDIN\": namespaces \"nowhere\" not found"],
    );
    k.fails_with(
        "create -f -",
        "{apiVersion: v1, kind: Nonsense, metadata: {name: x}}",
        &["no matches for kind \"Nonsense\" in version \"v1\"", "ensure CRDs are installed first"],
    );
    k.fails_with("create -f -", "{apiVersion: v1, kind: ConfigMap, metadata: {name: Bad_Name, namespace: demo}}",
        &["The ConfigMap \"Bad_Name\" is invalid: metadata.name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 subdomain"]);
    k.fails_with(
        "create -f -",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: demo}, dta: {a: b}}",
        &["Error from server (BadRequest)", "strict decoding error: unknown field \"dta\""],
    );
    k.fails_with(
        "create -n default -f -",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: demo}}",
        &["the namespace from the provided object \"demo\" does not match the namespace \"default\""],
    );
    k.fails_with(
        "create -f -",
        "apiVersion: v1\nkind: ConfigMap\n\tmetadata: {}\n",
        &["found a tab character that violates indentation"],
    );
    let deployment = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: x, namespace: demo}, spec: {
        selector: {matchLabels: {app: x}}, template: {metadata: {labels: {app: other}}, spec: {containers: [{name: a, image: b}]}}}}";
    k.fails_with("create -f -", deployment,
        &["The Deployment \"x\" is invalid: spec.template.metadata.labels: Invalid value: {\"app\":\"other\"}: `selector` does not match template `labels`"]);
    k.fails("create deployment Bad -n demo --image=x", &["a lowercase RFC 1123 subdomain"]);
    k.fails(
        "create token default -n demo --duration=1m",
        &["may not specify a duration less than 10 minutes"],
    );
    k.fails("create token nobody -n demo", &["serviceaccounts \"nobody\" not found"]);
}
