//! Who is let in, and what a client is told about where it is.

use crate::support::Stage;

#[test]
fn certificates_decide_who_asks() {
    let Some(stage) = Stage::start() else { return };
    stage.hub().prints(
        "auth whoami",
        "
        ATTRIBUTE VALUE
        Username tester
        Groups [system:masters system:authenticated]",
    );
    stage
        .context("nobody")
        .prints("auth whoami", "ATTRIBUTE VALUE\nUsername nobody\nGroups [system:authenticated]");
    stage.hub().prints(
        "auth whoami --as=bob --as-group=devs",
        "
        ATTRIBUTE VALUE
        Username bob
        Groups [devs system:authenticated]",
    );
    stage.hub().fails("get secret -n demo --as=system:anonymous", &["Error from server (Forbidden)"]);
    stage.context("anonymous").fails("get ns", &["You must be logged in to the server"]);
    stage.context("wrong-ca").fails("get ns", &["x509: certificate signed by unknown authority"]);
    let foreign = stage.context("foreign").run("get ns");
    assert!(foreign.code == 1 && foreign.err.contains("tls"), "{foreign:?}");
    stage.context("no-cluster").fails("get ns", &["the server could not find the requested resource"]);
}

#[test]
fn can_i() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    k.prints("auth can-i create deployments", "yes");
    k.prints("auth can-i '*' '*'", "yes");
    let all = k.ok("auth can-i --list");
    assert!(all.contains("*.*"), "{all}");
    let no = k.run("auth can-i create deployments --as=system:anonymous");
    assert!(no.code == 1, "{no:?}");
}

#[test]
fn contexts_choose_the_cluster() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    k.ok("create configmap here -n demo");
    stage.member().fails("get configmap here -n demo", &["not found"]);
    let view = k.ok("config view --minify -o jsonpath={.clusters[0].cluster.server}");
    assert!(view.starts_with("https://127.0.0.1:"), "{view}");
    k.prints("config use-context mc-bj1", "Switched to context \"mc-bj1\".");
    k.prints("config set-context mc-bj1 --namespace=demo", "Context \"mc-bj1\" modified.");
    let view = stage.member().ok(
        "config view --minify -o jsonpath={.clusters[0].cluster.server},{.contexts[0].context.namespace}",
    );
    assert!(view.ends_with("/clusters/mc-bj1,demo"), "{view}");
    let info = stage.member().ok("cluster-info");
    assert!(info.contains("is running at") && info.contains("/clusters/mc-bj1"), "{info}");
    let version: serde_json::Value = serde_json::from_str(&k.ok("version -o json")).expect("JSON");
    assert_eq!(
        (&version["serverVersion"]["major"], &version["serverVersion"]["minor"]),
        (&"1".into(), &"35".into())
    );
    assert_eq!(k.ok("get --raw /readyz"), "ok");
    assert_eq!(k.ok("get --raw /livez?verbose"), "ok");
    k.fails("get --raw /nothing", &["the server could not find the requested resource"]);
}
