//! `kubectl get -w` and `kubectl wait`.

use crate::support::Stage;

/// Rows of a watch come as tables, with the header once.
#[test]
fn get_w_shows_changes_as_they_come() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    k.ok("create configmap one -n demo --from-literal=a=1");
    let mut rows = k.start("get cm -n demo -w");
    rows.line("NAME DATA AGE");
    rows.line("one 1 …");
    k.ok("create configmap two -n demo");
    rows.line("two 0 …");
    k.ok(r#"patch cm two -n demo -p '{"data":{"x":"y","z":"w"}}'"#);
    rows.line("two 2 …");
    let mut only = k.start("get cm -n demo -l pick=me -w --output-watch-events");
    let mut events = k.start("get cm one -n demo -w --output-watch-events");
    events.line("EVENT NAME DATA AGE");
    events.line("ADDED one 1 …");
    k.ok("label cm one -n demo pick=me");
    events.line("MODIFIED one 1 …");
    only.line("ADDED one 1 …");
    k.ok("label cm one -n demo pick-");
    only.line("DELETED one 1 …");
    k.ok("delete cm one -n demo");
    events.line("DELETED one 1 …");
    rows.line("one 1 …");
}

#[test]
fn wait_ends_when_the_condition_holds() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.member();
    k.ok("create namespace demo");
    let mut early = k.start("wait --for=create deployment/web -n demo --timeout=30s");
    k.ok("create deployment web -n demo --image=nginx:1");
    early.line("deployment.apps/web condition met");
    assert_eq!(early.end(), 0);
    k.prints(
        "wait --for=condition=Available deployment/web -n demo --timeout=30s",
        "deployment.apps/web condition met",
    );
    k.prints("wait --for=condition=Ready pod -l app=web -n demo --timeout=30s", "pod/web-… condition met");
    k.prints(
        "wait --for=jsonpath='{.status.readyReplicas}'=1 deployment/web -n demo --timeout=30s",
        "deployment.apps/web condition met",
    );
    let gone = k.start("wait --for=delete deployment/web -n demo --timeout=30s");
    k.ok("delete deployment web -n demo");
    assert_eq!(gone.end(), 0);
    k.fails(
        "wait --for=condition=Available deployment/web -n demo --timeout=1s",
        &["deployments.apps \"web\" not found"],
    );
    k.ok("create configmap c -n demo");
    k.fails(
        "wait --for=jsonpath={.data.x}=y cm/c -n demo --timeout=1s",
        &["timed out waiting for the condition on configmaps/c"],
    );
}
