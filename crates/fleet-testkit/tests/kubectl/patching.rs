//! `kubectl patch`, `label`, `annotate`, `scale`, `set`.

use crate::support::Stage;

#[test]
fn three_kinds_of_patch() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    k.ok("create deployment web -n demo --image=nginx:1");
    let image = "get deployment web -n demo -o jsonpath={.spec.template.spec.containers[*].image}";
    k.prints(r#"patch deployment web -n demo -p '{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"b:1"}]}}}}'"#, "deployment.apps/web patched");
    k.prints(image, "b:1 nginx:1");
    k.prints(r#"patch deployment web -n demo -p '{"spec":{"template":{"spec":{"containers":[{"name":"side","$patch":"delete"}]}}}}'"#, "deployment.apps/web patched");
    k.prints(image, "nginx:1");
    k.prints(
        r#"patch deployment web -n demo -p '{"spec":{"replicas":1}}'"#,
        "deployment.apps/web patched (no change)",
    );
    k.prints(r#"patch deployment web -n demo --type=merge -p '{"spec":{"template":{"spec":{"containers":[{"name":"only","image":"c:1"}]}}}}'"#, "deployment.apps/web patched");
    k.prints(image, "c:1");
    k.prints(r#"patch deployment web -n demo --type=json -p '[{"op":"test","path":"/spec/replicas","value":1},{"op":"replace","path":"/spec/replicas","value":3}]'"#, "deployment.apps/web patched");
    k.prints("get deployment web -n demo -o jsonpath={.spec.replicas}", "3");
    k.fails(
        r#"patch deployment web -n demo --type=json -p '[{"op":"test","path":"/spec/replicas","value":1}]'"#,
        &["The Deployment \"web\" is invalid: patch: "],
    );
    k.fails(
        r#"patch deployment web -n demo --type=json -p '[{"op":"remove","path":"/spec/nothing"}]'"#,
        &["The Deployment \"web\" is invalid: patch: "],
    );
    k.fails(r#"patch deployment web -n demo -p '{"spec":{"replicas":"x"}}'"#, &["replicas"]);
    k.fails(
        r#"patch deployment gone -n demo -p '{}'"#,
        &["Error from server (NotFound): deployments.apps \"gone\" not found"],
    );
    k.prints(r#"patch deployment web -n demo --subresource=status --type=merge -p '{"status":{"replicas":2},"spec":{"replicas":9}}'"#, "deployment.apps/web patched");
    k.prints("get deployment web -n demo -o jsonpath={.status.replicas}/{.spec.replicas}", "2/3");
    k.prints(
        r#"patch deployment web -n demo --subresource=scale --type=merge -p '{"spec":{"replicas":4}}'"#,
        "scale.autoscaling/web patched",
    );
    k.prints("get deployment web -n demo --subresource=scale", "NAME DESIRED AVAILABLE AGE\nweb 4 2 …");
    k.prints(
        r#"patch deployment web -n demo --dry-run=server -p '{"spec":{"replicas":8}}'"#,
        "deployment.apps/web patched",
    );
    k.prints("get deployment web -n demo -o jsonpath={.spec.replicas}", "4");
}

#[test]
fn labels_and_annotations() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    k.ok("create configmap one -n demo");
    k.ok("create configmap two -n demo");
    k.prints("label configmap one two -n demo tier=front", "configmap/one labeled\nconfigmap/two labeled");
    k.prints("label configmap one -n demo tier=front", "configmap/one not labeled");
    k.fails(
        "label configmap one -n demo tier=back",
        &["'tier' already has a value (front), and --overwrite is false"],
    );
    k.prints("label configmap one -n demo tier=back --overwrite", "configmap/one labeled");
    k.prints("get configmap -n demo -l tier=back -o name", "configmap/one");
    k.prints(
        "get configmap -n demo -l 'tier in (back,front)' -L tier",
        "NAME DATA AGE TIER\none 0 … back\ntwo 0 … front",
    );
    k.prints("label configmap one -n demo tier-", "configmap/one unlabeled");
    k.prints("label configmap -n demo -l tier=front all=yes", "configmap/two labeled");
    k.fails(
        "label configmap one -n demo 'bad key=x'",
        &["name part must consist of alphanumeric characters"],
    );
    k.prints("annotate configmap one -n demo note='some words'", "configmap/one annotated");
    k.fails("annotate configmap one -n demo note=other", &["--overwrite is false but found the following declared annotation(s): 'note' already has a value (some words)"]);
    k.prints("annotate configmap one -n demo note=other --overwrite", "configmap/one annotated");
    k.prints("annotate configmap one -n demo note-", "configmap/one annotated");
    k.prints("get configmap one -n demo -o jsonpath={.metadata.annotations.note}", "");
    k.fails("label configmap one -n demo a=b --resource-version=1", &["the object has been modified"]);
}

#[test]
fn scale_and_set() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    k.ok("create deployment web -n demo --image=nginx:1");
    k.prints("scale deployment/web -n demo --replicas=3", "deployment.apps/web scaled");
    k.fails(
        "scale deployment/web -n demo --current-replicas=2 --replicas=5",
        &["Expected replicas to be 2, was 3"],
    );
    k.prints("set image deployment/web -n demo nginx=nginx:2", "deployment.apps/web image updated");
    k.prints("set image deployment/web -n demo nginx=nginx:2", "");
    k.fails("set image deployment/web -n demo other=nginx:2", &["unable to find container named \"other\""]);
    k.prints("set env deployment/web -n demo A=1 B=2", "deployment.apps/web env updated");
    k.prints("set env deployment/web -n demo A-", "deployment.apps/web env updated");
    k.prints("set env deployment/web -n demo --list", "# Deployment web, container nginx\nB=2");
    k.prints(
        "set resources deployment/web -n demo --limits=cpu=200m",
        "deployment.apps/web resource requirements updated",
    );
    k.prints(
        "set serviceaccount deployment/web default -n demo",
        "deployment.apps/web serviceaccount updated",
    );
    k.prints("get deployment web -n demo -o jsonpath={.spec.template.spec.containers[0].image}/{.spec.template.spec.containers[0].env}/{.spec.template.spec.containers[0].resources}/{.spec.replicas}/{.metadata.generation}",
        r#"nginx:2/[{"name":"B","value":"2"}]/{"limits":{"cpu":"200m"}}/3/7"#);
    k.ok("create service clusterip web -n demo --tcp=80");
    k.prints("set selector service/web -n demo app=other", "service/web selector updated");
}
