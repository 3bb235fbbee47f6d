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

/// A kubeconfig without rights would open everything, or one with rights nothing; and what was taken away would go on.
#[test]
fn a_user_may_what_was_bound_to_them() {
    let Some(stage) = Stage::start() else { return };
    let (k, user) = (stage.hub(), stage.context("nobody"));
    user.fails("get pods -n demo", &[
        "Error from server (Forbidden): pods is forbidden: User \"nobody\" cannot list resource \"pods\" in API group \"\" in the namespace \"demo\"",
    ]);
    user.fails(
        "delete ns demo",
        &["namespaces \"demo\" is forbidden", "cannot delete resource \"namespaces\""],
    );
    user.fails("get crd", &["at the cluster scope"]);
    user.fails("get --raw /metrics", &["User \"nobody\" cannot get path \"/metrics\""]);
    // What there is, everybody may ask.
    assert!(user.ok("api-resources").contains("deployments"));
    assert!(user.ok("version").contains("Server Version"));
    assert!(user.ok("explain deployment.spec.replicas").contains("replicas"));
    let mine = user.ok("auth can-i --list -n demo");
    assert!(
        mine.contains("selfsubjectaccessreviews.authorization.k8s.io") && mine.contains("[/openapi/*]"),
        "{mine}"
    );
    assert!(!mine.contains("pods") && !mine.contains("*.*"), "{mine}");

    k.prints(
        "create rolebinding views -n demo --clusterrole=view --user=nobody",
        "rolebinding.rbac.authorization.k8s.io/views created",
    );
    user.ok("get pods -n demo");
    user.ok("get ns demo");
    user.prints("auth can-i get pods -n demo", "yes");
    user.prints("auth can-i get pods --subresource=log -n demo", "yes");
    for no in [
        "create pods -n demo",
        "get secrets -n demo",
        "get pods",
        "get pods -A",
        "approve deployments -n demo",
    ] {
        let ended = user.run(&format!("auth can-i {no}"));
        assert!(ended.code == 1 && ended.out.starts_with("no"), "{no}: {ended:?}");
    }
    let mine = user.ok("auth can-i --list -n demo");
    assert!(mine.contains("configmaps") && mine.contains("pods/log"), "{mine}");
    k.prints("auth can-i list deployments.apps -n demo --as=nobody", "yes");
    k.ok("delete rolebinding views -n demo");
    user.fails("get pods -n demo", &["Forbidden"]);

    k.ok("create role one -n demo --verb=get,list --resource=configmaps --resource-name=mine");
    k.ok("create rolebinding one -n demo --role=one --group=system:authenticated");
    k.ok("create configmap mine -n demo --from-literal=a=1");
    user.ok("get configmap mine -n demo");
    user.ok("get configmap -n demo --field-selector metadata.name=mine");
    user.fails("get configmap -n demo", &["cannot list resource \"configmaps\""]);
    user.fails("get configmap kube-root-ca.crt -n demo", &["configmaps \"kube-root-ca.crt\" is forbidden"]);
    k.fails_with("replace -f -", "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: one, namespace: demo}, \
        roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}, subjects: []}", &["cannot change roleRef"]);
}

/// Whoever may write roles would make themselves an administrator.
#[test]
fn rights_that_one_lacks_can_not_be_handed_out() {
    let Some(stage) = Stage::start() else { return };
    let (k, user) = (stage.hub(), stage.context("nobody"));
    k.ok("create rolebinding admin -n demo --clusterrole=admin --user=nobody");
    user.ok("create role maps -n demo --verb=get --resource=configmaps");
    user.ok("create rolebinding maps -n demo --role=maps --user=other");
    user.ok("create rolebinding edits -n demo --clusterrole=edit --user=other");
    user.fails(
        "create role nodes -n demo --verb=get,list --resource=nodes",
        &[
            "roles.rbac.authorization.k8s.io \"nodes\" is forbidden: user \"nobody\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held",
            "{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\" \"list\"]}",
        ],
    );
    user.fails(
        "create rolebinding all -n demo --clusterrole=cluster-admin --user=nobody",
        &["not currently held", "{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}"],
    );
    user.fails(
        "create rolebinding none -n demo --role=none --user=nobody",
        &["roles.rbac.authorization.k8s.io \"none\" not found"],
    );
    user.fails(
        "create clusterrolebinding all --clusterrole=view --user=nobody",
        &["cannot create resource \"clusterrolebindings\""],
    );
    user.fails("patch role maps -n demo --type=merge -p '{\"rules\":[{\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"verbs\":[\"*\"]}]}'", &["not currently held"]);
    user.fails_with(
        "apply --server-side -f -",
        "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: new, namespace: demo}, \
        rules: [{apiGroups: [''], resources: [nodes], verbs: ['*']}]}",
        &["not currently held"],
    );
    let bind = "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: binder, namespace: demo}, \
        rules: [{apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], resourceNames: [cluster-admin], verbs: [bind]}]}";
    k.ok_with("apply -f -", bind);
    k.ok("create rolebinding binder -n demo --role=binder --user=nobody");
    user.ok("create rolebinding all -n demo --clusterrole=cluster-admin --user=other");
    k.prints("auth can-i '*' '*' -n demo --as=other", "yes");
    let elsewhere = k.run("auth can-i get nodes --as=other");
    assert!(elsewhere.code == 1, "{elsewhere:?}");
}

#[test]
fn tokens_of_accounts_open_what_was_bound_to_them() {
    let Some(stage) = Stage::start() else { return };
    let (k, nobody) = (stage.hub(), stage.context("anonymous"));
    k.ok("create serviceaccount bot -n demo");
    let token = k.ok("create token bot -n demo --duration=10m");
    let token = format!("--token={}", token.trim());
    let who = nobody.ok(&format!("auth whoami {token}"));
    assert!(
        who.contains("system:serviceaccount:demo:bot") && who.contains("system:serviceaccounts:demo"),
        "{who}"
    );
    nobody.fails(
        &format!("get configmaps -n demo {token}"),
        &["User \"system:serviceaccount:demo:bot\" cannot list"],
    );
    k.ok("create rolebinding bot -n demo --clusterrole=view --serviceaccount=demo:bot");
    nobody.ok(&format!("get configmaps -n demo {token}"));
    k.prints("auth can-i get configmaps -n demo --as=system:serviceaccount:demo:bot", "yes");
    k.fails("get ns --as=system:serviceaccount:demo:bot", &["cannot list resource \"namespaces\""]);
    stage.context("nobody").fails(
        "get ns --as=system:serviceaccount:demo:bot",
        &["serviceaccounts \"bot\" is forbidden: User \"nobody\" cannot impersonate resource \"serviceaccounts\" in API group \"\" in the namespace \"demo\""],
    );
    stage
        .context("nobody")
        .fails("get ns --as=tester --as-group=system:masters", &["cannot impersonate resource \"users\""]);
    nobody.fails("get ns", &["You must be logged in to the server", "was not issued by this server"]);
    k.ok("delete serviceaccount bot -n demo");
    nobody.fails(&format!("get configmaps -n demo {token}"), &["You must be logged in", "was deleted"]);
}
