//! `kubectl apply` and `diff`, on the client's side and on the server's; `replace` and `edit`.

use crate::support::Stage;

const WEB: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: demo
  labels: {app: web, tier: front}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: nginx:1
        env:
        - {name: A, value: '1'}
        - {name: B, value: '2'}
      - name: side
        image: busybox:1
";

/// Three-way: what the file no longer says goes, what others added stays.
#[test]
fn apply_creates_changes_and_removes() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    stage.write("web.yaml", WEB);
    k.prints("apply -f web.yaml --dry-run=server", "deployment.apps/web created (server dry run)");
    k.prints("apply -f web.yaml --dry-run=client", "deployment.apps/web created (dry run)");
    k.prints("apply -f web.yaml", "deployment.apps/web created");
    k.prints("apply -f web.yaml", "deployment.apps/web unchanged");
    let kept = k.ok("apply view-last-applied deployment web -n demo -o yaml");
    assert!(kept.contains("tier: front"), "{kept}");
    k.ok("set env deployment/web -n demo C=3 -c main");
    k.ok("label deployment web -n demo other=stays");
    stage.write(
        "web.yaml",
        &WEB.replace(", tier: front", "")
            .replace("        - {name: B, value: '2'}\n", "")
            .replace("nginx:1", "nginx:2"),
    );
    k.prints("apply -f web.yaml", "deployment.apps/web configured");
    k.prints("get deployment web -n demo -o jsonpath={.metadata.labels}", r#"{"app":"web","other":"stays"}"#);
    k.prints("get deployment web -n demo -o jsonpath={range.spec.template.spec.containers[*]}{.name}={.image}:{.env[*].name};{end}",
        "main=nginx:2:A C;side=busybox:1:;");
    stage.write(
        "web.yaml",
        &WEB.replace("{app: web}}\n  template", "{app: other}}\n  template")
            .replace("metadata: {labels: {app: web}}", "metadata: {labels: {app: other}}"),
    );
    k.fails(
        "apply -f web.yaml",
        &["The Deployment \"web\" is invalid: spec.selector: Invalid value:", "field is immutable"],
    );
    k.prints("apply -f web.yaml --force --grace-period=0", "deployment.apps/web configured");
    k.prints("get deployment web -n demo -o jsonpath={.spec.selector.matchLabels.app}", "other");
}

#[test]
fn apply_takes_a_folder_and_a_kustomization() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    stage.write("all/web.yaml", WEB);
    stage.write(
        "all/config.yaml",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: demo}, data: {a: b}}",
    );
    k.prints("apply -f all", "configmap/settings created\ndeployment.apps/web created");
    stage.write(
        "all/kustomization.yaml",
        "\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namePrefix: k-
namespace: demo
resources: [web.yaml, config.yaml]
configMapGenerator:
- name: generated
  literals: [x=y]
",
    );
    k.prints(
        "apply -k all",
        "configmap/k-generated-… created\nconfigmap/k-settings created\ndeployment.apps/k-web created",
    );
    k.prints(
        "apply -k all",
        "configmap/k-generated-… unchanged\nconfigmap/k-settings unchanged\ndeployment.apps/k-web unchanged",
    );
    assert_eq!(k.run("diff -k all").code, 0);
    k.prints(
        "delete -k all",
        "
        configmap \"k-generated-…\" deleted
        configmap \"k-settings\" deleted
        deployment.apps \"k-web\" deleted",
    );
    stage.write("all/kustomization.yaml", "resources: [config.yaml]\n");
    stage.write(
        "pruned.yaml",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: goes, namespace: demo, labels: {set: x}}}",
    );
    k.prints(
        "apply -f pruned.yaml --prune -l set=x -n demo --prune-allowlist=core/v1/ConfigMap",
        "configmap/goes created",
    );
    stage.write(
        "pruned.yaml",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: stays, namespace: demo, labels: {set: x}}}",
    );
    k.prints(
        "apply -f pruned.yaml --prune -l set=x -n demo --prune-allowlist=core/v1/ConfigMap",
        "configmap/stays created\nconfigmap/goes pruned",
    );
}

#[test]
fn unknown_fields_are_told_as_asked() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    stage.write(
        "web.yaml",
        &WEB.replace("replicas: 2", "replica: 2").replace("image: busybox:1", "imag: busybox:1"),
    );
    k.fails("apply -f web.yaml", &[
        "Error from server (BadRequest): error when creating \"web.yaml\": Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error:",
        "unknown field \"spec.replica\"",
        "unknown field \"spec.template.spec.containers[1].imag\"",
    ]);
    k.fails("apply --validate=true -f web.yaml", &["strict decoding error"]);
    let web = WEB.replace("replicas: 2", "replica: 2");
    stage.write("web.yaml", &web);
    let warned = k.run("apply --validate=warn -f web.yaml");
    assert!(warned.code == 0 && warned.err.contains("Warning: unknown field \"spec.replica\""), "{warned:?}");
    let silent = k.run("apply --validate=ignore -f web.yaml");
    assert!(silent.code == 0 && !silent.err.contains("Warning: unknown"), "{silent:?}");
    stage.write("wrong.yaml", &WEB.replace("replicas: 2", "replicas: two"));
    k.fails(
        "apply -f wrong.yaml",
        &["Deployment in version \"v1\" cannot be handled as a Deployment", "replicas"],
    );
    k.fails("apply --server-side -f web.yaml", &["strict decoding error: unknown field \"spec.replica\""]);
    stage.write("required.yaml", &WEB.replace("      - name: side\n", "      - command: [x]\n"));
    k.ok("delete deployment web -n demo");
    k.fails("apply -f required.yaml", &["spec.template.spec.containers[1].name: Required value"]);
}

#[test]
fn server_side_apply_knows_owners() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    stage.write("web.yaml", WEB);
    k.prints("apply --server-side -f web.yaml", "deployment.apps/web serverside-applied");
    k.prints("apply --server-side -f web.yaml", "deployment.apps/web serverside-applied");
    stage.write("other.yaml", &WEB.replace("replicas: 2", "replicas: 5"));
    k.fails(
        "apply --server-side --field-manager=other -f other.yaml",
        &["Apply failed with 1 conflict: conflict with \"kubectl\": .spec.replicas", "--force-conflicts"],
    );
    k.prints(
        "apply --server-side --field-manager=other --force-conflicts -f other.yaml",
        "deployment.apps/web serverside-applied",
    );
    k.fails("apply --server-side -f web.yaml", &["conflict with \"other\": .spec.replicas"]);
    stage.write(
        "web.yaml",
        &WEB.replace("  replicas: 2\n", "").replace("        - {name: B, value: '2'}\n", ""),
    );
    k.prints("apply --server-side -f web.yaml", "deployment.apps/web serverside-applied");
    k.prints("get deployment web -n demo -o jsonpath={.spec.replicas}/{.spec.template.spec.containers[0].env[*].name}", "5/A B");
    k.ok("scale deployment web -n demo --replicas=7");
    let fields = k.ok("get deployment web -n demo --show-managed-fields -o jsonpath={range.metadata.managedFields[*]}{.manager}:{.operation}:{.subresource};{end}");
    assert!(
        fields.contains("kubectl:Apply:;")
            && fields.contains("other:Apply:;")
            && fields.contains(":Update:scale;"),
        "{fields}"
    );
    let plain = k.ok("get deployment web -n demo -o yaml");
    assert!(!plain.contains("managedFields"), "{plain}");
}

/// A user who turns from client-side to server-side apply must be able to remove fields afterwards.
#[test]
fn client_side_applies_are_taken_over() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    stage.write("web.yaml", WEB);
    k.ok("apply -f web.yaml");
    k.prints("apply --server-side -f web.yaml", "deployment.apps/web serverside-applied");
    stage.write("web.yaml", &WEB.replace(", tier: front", ""));
    k.prints("apply --server-side -f web.yaml", "deployment.apps/web serverside-applied");
    k.prints("get deployment web -n demo -o jsonpath={.metadata.labels}", r#"{"app":"web"}"#);
}

#[test]
fn diff_tells_by_its_exit_code() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    stage.write("web.yaml", WEB);
    let ended = k.run("diff -f web.yaml");
    assert!(ended.code == 1 && ended.out.contains("+kind: Deployment"), "{ended:?}");
    k.ok("apply -f web.yaml");
    let ended = k.run("diff -f web.yaml");
    assert!(ended.code == 0 && ended.out.is_empty(), "{ended:?}");
    stage.write("web.yaml", &WEB.replace("nginx:1", "nginx:2"));
    let ended = k.run("diff -f web.yaml");
    assert!(
        ended.code == 1 && ended.out.contains("-        image: nginx:1\n+        image: nginx:2"),
        "{ended:?}"
    );
    let ended = k.run("diff --server-side --force-conflicts -f web.yaml");
    assert!(ended.code == 1 && ended.out.contains("+        image: nginx:2"), "{ended:?}");
    k.prints("get deployment web -n demo -o jsonpath={.spec.template.spec.containers[0].image}", "nginx:1");
    stage.write("web.yaml", "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: nowhere}}");
    assert!(k.run("diff -f web.yaml").code >= 1);
}

#[test]
fn replace_and_edit() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    stage.write("web.yaml", WEB);
    k.fails("replace -f web.yaml", &["Error from server (NotFound): error when replacing \"web.yaml\": deployments.apps \"web\" not found"]);
    k.ok("create -f web.yaml");
    stage.write("web.yaml", &WEB.replace("replicas: 2", "replicas: 4"));
    k.prints("replace -f web.yaml", "deployment.apps/web replaced");
    k.prints("get deployment web -n demo -o jsonpath={.spec.replicas}", "4");
    let old = k.ok("get deployment web -n demo -o json");
    k.ok("scale deployment web -n demo --replicas=6");
    k.fails_with("replace -f -", &old, &[
        "Error from server (Conflict): error when replacing \"STDIN\": Operation cannot be fulfilled on deployments.apps \"web\": the object has been modified; please apply your changes to the latest version and try again",
    ]);
    let uid = k.ok("get deployment web -n demo -o jsonpath={.metadata.uid}");
    k.prints("replace --force -f web.yaml", "deployment.apps \"web\" deleted\ndeployment.apps/web replaced");
    assert_ne!(uid, k.ok("get deployment web -n demo -o jsonpath={.metadata.uid}"));
    let edit = |editor: &str| k.run_with("edit deployment web -n demo", "", &[("KUBE_EDITOR", editor)]);
    let ended = edit("sed -i s/nginx:1/nginx:9/");
    assert!(ended.code == 0 && ended.out.contains("deployment.apps/web edited"), "{ended:?}");
    k.prints("get deployment web -n demo -o jsonpath={.spec.template.spec.containers[0].image}", "nginx:9");
    let ended = edit("true");
    assert!(
        ended.code == 0 && format!("{}{}", ended.out, ended.err).contains("Edit cancelled, no changes made."),
        "{ended:?}"
    );
    let ended = edit("sed -i s/nginx:9//");
    assert!(ended.code == 1 && ended.err.contains("error: deployments.apps \"web\" is invalid"), "{ended:?}");
}
