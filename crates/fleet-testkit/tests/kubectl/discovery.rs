//! What kubectl learns about kinds: `api-resources`, `api-versions`, `explain`.

use crate::support::Stage;

#[test]
fn resources_are_listed() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    k.prints(
        "api-resources --api-group=apps",
        "
        NAME                  SHORTNAMES   APIVERSION   NAMESPACED   KIND
        controllerrevisions                apps/v1      true         ControllerRevision
        daemonsets            ds           apps/v1      true         DaemonSet
        deployments           deploy       apps/v1      true         Deployment
        replicasets           rs           apps/v1      true         ReplicaSet
        statefulsets          sts          apps/v1      true         StatefulSet",
    );
    k.prints("api-resources --api-group=apps -o wide --categories=all --no-headers", "
        daemonsets ds apps/v1 true DaemonSet create,delete,deletecollection,get,list,patch,update,watch all
        deployments deploy apps/v1 true Deployment create,delete,deletecollection,get,list,patch,update,watch all
        replicasets rs apps/v1 true ReplicaSet create,delete,deletecollection,get,list,patch,update,watch all
        statefulsets sts apps/v1 true StatefulSet create,delete,deletecollection,get,list,patch,update,watch all");
    let all = k.ok("api-resources -o name");
    for name in [
        "applications.core.oam.dev",
        "managedclusters.cluster.open-cluster-management.io",
        "configmaps",
        "jobs.batch",
    ] {
        assert!(all.lines().any(|line| line == name), "{name} isn't among {all}");
    }
    assert!(!k.ok("api-resources --namespaced=false -o name").contains("configmaps"));
    let versions = k.ok("api-versions");
    for version in ["apps/v1", "core.oam.dev/v1beta1", "v1"] {
        assert!(versions.lines().any(|line| line == version), "{version} isn't among {versions}");
    }
    for line in [
        "get app -n demo",
        "get applications.core.oam.dev -n demo",
        "get applications.v1beta1.core.oam.dev -n demo",
    ] {
        let none = k.run(line);
        assert!(none.code == 0 && none.err.contains("No resources found"), "{line}: {none:?}");
    }
}

#[test]
fn explain_knows_builtin_and_custom_kinds() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    let says = |line: &str, words: &[&str]| {
        let out = k.ok(line);
        for word in words {
            assert!(out.contains(word), "kubectl {line} doesn't say {word:?}:\n{out}");
        }
    };
    says(
        "explain deployment",
        &[
            "GROUP:      apps",
            "KIND:       Deployment",
            "VERSION:    v1",
            "spec\t<DeploymentSpec>",
            "metadata\t<ObjectMeta>",
        ],
    );
    says(
        "explain deploy.spec.strategy",
        &[
            "FIELD: strategy <DeploymentStrategy>",
            "rollingUpdate\t<RollingUpdateDeployment>",
            "type\t<string>",
        ],
    );
    says("explain pod.spec.containers.env", &["FIELD: env <[]EnvVar>", "name\t<string> -required-"]);
    says(
        "explain configmap --recursive",
        &["binaryData\t<map[string]string>", "ownerReferences\t<[]OwnerReference>"],
    );
    says(
        "explain app.spec.components",
        &[
            "GROUP:      core.oam.dev",
            "KIND:       Application",
            "FIELD: components <[]Object>",
            "name\t<string> -required-",
        ],
    );
    says("explain app --recursive", &["components\t<[]Object>"]);
    says("explain managedcluster.spec", &["hubAcceptsClient\t<boolean>"]);
    says("explain hpa --api-version=autoscaling/v1", &["VERSION:    v1"]);
    k.fails("explain deploy.spec.nothing", &["field \"nothing\" does not exist"]);
    k.fails("explain nonsense", &["the server doesn't have a resource type \"nonsense\""]);
}
