//! Workloads on a member: rollouts, and what simulated Pods can't do.

use crate::support::Stage;

#[test]
fn rollouts_go_on_back_and_again() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.member();
    k.ok("create namespace demo");
    k.ok("create deployment web -n demo --image=nginx:1 --replicas=3");
    let out = k.ok("rollout status deployment/web -n demo --timeout=30s");
    assert!(out.contains("deployment \"web\" successfully rolled out"), "{out}");
    k.ok("set image deployment/web -n demo nginx=nginx:2");
    k.ok("rollout status deployment/web -n demo --timeout=30s");
    k.prints(
        "rollout history deployment/web -n demo",
        "deployment.apps/web\nREVISION CHANGE-CAUSE\n1 <none>\n2 <none>",
    );
    let out = k.ok("rollout history deployment/web -n demo --revision=2");
    assert!(out.contains("nginx:2"), "{out}");
    k.prints("rollout undo deployment/web -n demo", "deployment.apps/web rolled back");
    k.ok("rollout status deployment/web -n demo --timeout=30s");
    k.prints("get deployment web -n demo -o jsonpath={.spec.template.spec.containers[0].image}", "nginx:1");
    k.prints(
        "rollout history deployment/web -n demo",
        "deployment.apps/web\nREVISION CHANGE-CAUSE\n2 <none>\n3 <none>",
    );
    k.prints("rollout restart deployment/web -n demo", "deployment.apps/web restarted");
    k.ok("rollout status deployment/web -n demo --timeout=30s");
    k.prints("rollout pause deployment/web -n demo", "deployment.apps/web paused");
    k.fails("rollout pause deployment/web -n demo", &["deployments.apps \"web\" is already paused"]);
    k.fails("rollout undo deployment/web -n demo", &["cannot rollback a paused deployment"]);
    k.prints("rollout resume deployment/web -n demo", "deployment.apps/web resumed");
    k.prints("rollout undo deployment/web -n demo --to-revision=2", "deployment.apps/web rolled back");
    k.ok("rollout status deployment/web -n demo --timeout=30s");
    k.prints("get deployment web -n demo", "NAME READY UP-TO-DATE AVAILABLE AGE\nweb 3/3 3 3 …");
    k.fails(
        "rollout undo deployment/web -n demo --to-revision=99",
        &["unable to find specified revision 99"],
    );
}

#[test]
fn other_workloads_run_too() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.member();
    k.ok("create namespace demo");
    let pod = "template: {metadata: {labels: {app: x}}, spec: {containers: [{name: main, image: 'x:1'}]}}";
    k.ok_with(
        "apply -f -",
        &format!(
            "
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db, namespace: demo}}
spec: {{replicas: 2, serviceName: db, selector: {{matchLabels: {{app: x}}}}, {pod}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: agent, namespace: demo}}
spec: {{selector: {{matchLabels: {{app: x}}}}, {pod}}}
"
        ),
    );
    k.ok("rollout status statefulset/db -n demo --timeout=30s");
    k.ok("rollout status daemonset/agent -n demo --timeout=30s");
    k.prints(
        "get sts,ds -n demo",
        "
        NAME READY AGE
        statefulset.apps/db 2/2 …
        NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE SELECTOR AGE
        daemonset.apps/agent 1 1 1 1 1 <none> …",
    );
    k.prints("get pods -n demo -o name", "pod/agent-…\npod/db-0\npod/db-1");
    k.ok("create job once -n demo --image=busybox");
    k.prints("wait --for=condition=complete job/once -n demo --timeout=30s", "job.batch/once condition met");
    k.prints("get job once -n demo", "NAME STATUS COMPLETIONS DURATION AGE\nonce Complete 1/1 … …");
    k.ok("create cronjob often -n demo --image=busybox --schedule='* * * * *'");
    k.prints("create job --from=cronjob/often manual -n demo", "job.batch/manual created");
    k.ok("run lone -n demo --image=nginx:1");
    k.ok("wait --for=condition=Ready pod/lone -n demo --timeout=30s");
    k.prints(
        "get pod lone -n demo -o wide",
        "
        NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES
        lone 1/1 Running 0 … 10.… node-0 <none> <none>",
    );
    k.prints("cordon node-0", "node/node-0 cordoned");
    k.prints("uncordon node-0", "node/node-0 uncordoned");
    k.prints("taint node node-0 a=b:NoSchedule", "node/node-0 tainted");
    k.prints("taint node node-0 a=b:NoSchedule-", "node/node-0 untainted");
    k.ok("drain node-0 --ignore-daemonsets --force --disable-eviction=false --timeout=20s");
    k.ok("uncordon node-0");
    k.ok("wait --for=jsonpath={.status.readyReplicas}=2 statefulset/db -n demo --timeout=30s");
    k.fails("get pod lone -n demo", &["pods \"lone\" not found"]);
    k.ok("delete pod db-0 -n demo --grace-period=0 --force");
    k.ok("get all -n demo");
}

/// Nothing runs in a simulated Pod: the answer must say so, at once, with a non-zero exit code.
#[test]
fn simulated_pods_have_no_process() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.member();
    k.ok("create namespace demo");
    k.ok("run lone -n demo --image=nginx:1");
    k.ok("wait --for=condition=Ready pod/lone -n demo --timeout=30s");
    stage.write("file", "x");
    for line in [
        "logs lone -n demo",
        "logs -f lone -n demo",
        "exec lone -n demo -- date",
        "attach lone -n demo",
        "port-forward pod/lone -n demo :80",
        "cp file demo/lone:/tmp/file",
    ] {
        k.fails(line, &["isn't possible: pod \"lone\" is simulated, no process runs behind it"]);
    }
    k.fails(
        "top pod -n demo",
        &["there are no metrics: pods and nodes are simulated, no process runs behind them"],
    );
    k.fails("top node", &["there are no metrics: pods and nodes are simulated, no process runs behind them"]);
    k.fails("logs zzz -n demo", &["pods \"zzz\" not found"]);
    k.fails("exec zzz -n demo -- date", &["pods \"zzz\" not found"]);
}
