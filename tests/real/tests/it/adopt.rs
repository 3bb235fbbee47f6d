//! An Application of what stock kubectl made, on members whose controllers make real pods of it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use fleet_api::{Application, Phase, names};
use fleet_real::kubeconfig::User;
use fleet_real::{Cluster, ClusterSpec, Fleet, Life, eventually, kubeconfig, until};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

pub(crate) const RUNNING: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: web, namespace: demo, labels: {app: web}}
data: {mode: fast, where: WHERE}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: demo, labels: {app: web}}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: demo, labels: {app: web}, annotations: {team: shop}}
spec:
  replicas: 2
  revisionHistoryLimit: 3
  selector: {matchLabels: {app: web}}
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata: {labels: {app: web}, annotations: {scraped: "yes"}}
    spec:
      containers:
        - name: web
          image: nginx:1.27
          ports: [{name: http, containerPort: 80}]
          env:
            - {name: MODE, valueFrom: {configMapKeyRef: {name: web, key: mode}}}
            - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
          resources: {requests: {cpu: 1000m, memory: 64Mi}, limits: {memory: 0.5Gi}}
          readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 5}
          volumeMounts: [{name: config, mountPath: /etc/web}]
      volumes:
        - {name: config, projected: {sources: [{configMap: {name: web}}, {serviceAccountToken: {path: token}}]}}
      topologySpreadConstraints:
        - {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}
"#;

/// One of each kind that people run, with everything that API servers fill in, note or give.
const MANY: &str = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: many, namespace: demo, labels: {set: many}}
spec:
  serviceName: many
  selector: {matchLabels: {app: many}}
  template:
    metadata: {labels: {app: many}}
    spec:
      initContainers: [{name: wait, image: "busybox:1", command: [sleep, "1"], restartPolicy: Always}]
      containers: [{name: many, image: "busybox:1", lifecycle: {preStop: {httpGet: {port: 80}}}, volumeMounts: [{name: data, mountPath: /data}]}]
      volumes:
        - {name: made, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}}
        - {name: host, hostPath: {path: /tmp}}
        - {name: down, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
  volumeClaimTemplates:
    - {metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1024Mi}}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: many, namespace: demo, labels: {set: many}}
spec:
  selector: {matchLabels: {app: daemon}}
  template:
    metadata: {labels: {app: daemon}}
    spec: {hostNetwork: true, containers: [{name: many, image: "busybox", ports: [{containerPort: 9000}]}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: many, namespace: demo, labels: {set: many}}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: many, image: "busybox:1"}]}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: many, namespace: demo, labels: {set: many}}
spec: {schedule: "0 3 1 1 *", jobTemplate: {spec: {template: {spec: {restartPolicy: OnFailure, containers: [{name: many, image: "busybox:1"}]}}}}}
---
apiVersion: v1
kind: Service
metadata: {name: many, namespace: demo, labels: {set: many}}
spec: {type: LoadBalancer, externalTrafficPolicy: Local, selector: {app: many}, ports: [{name: a, port: 80}, {name: b, port: 81, nodePort: 30881}, {name: c, port: 53, protocol: UDP}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: many, namespace: demo, labels: {set: many}}
spec: {rules: [{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: many, port: {name: a}}}}]}}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: many, namespace: demo, labels: {set: many}}
spec: {podSelector: {matchLabels: {app: many}}, ingress: [{ports: [{port: 80}]}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: many, namespace: demo, labels: {set: many}}
spec: {minAvailable: 50%, selector: {matchLabels: {app: many}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: many, namespace: demo, labels: {set: many}}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: many}
  maxReplicas: 3
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: many, namespace: demo, labels: {set: many}}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: many, namespace: demo, labels: {set: many}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: many, namespace: demo, labels: {set: many}}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: many, namespace: demo, labels: {set: many}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: many}
subjects: [{kind: ServiceAccount, name: many}]
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: many, namespace: demo, labels: {set: many}}
spec: {hard: {pods: 100}}
---
apiVersion: v1
kind: LimitRange
metadata: {name: many, namespace: demo, labels: {set: many}}
spec: {limits: [{type: Container, max: {cpu: "8"}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: many, namespace: demo, labels: {set: many}}
spec: {containers: [{name: many, image: "busybox:1"}]}
"#;
const KINDS: &str = "sts,ds,job,cronjob,svc,ing,netpol,pdb,hpa,pvc,sa,role,rolebinding,quota,limits,pod";

/// What a touch would change.
#[derive(Debug, PartialEq)]
pub(crate) struct Fingerprint {
    /// By name: the hash of the template is a part of it.
    pods: BTreeMap<String, Option<String>>,
    replica_sets: BTreeMap<String, Option<String>>,
    generations: [Option<i64>; 2],
    said: Vec<Value>,
}

pub(crate) async fn fingerprint(member: &Cluster) -> Result<Fingerprint> {
    let (client, all) = (member.client().await?, ListParams::default());
    let pods: Api<Pod> = Api::namespaced(client.clone(), "demo");
    let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), "demo");
    let deployment = Api::<Deployment>::namespaced(client.clone(), "demo").get("web").await?;
    let service = Api::<Service>::namespaced(client.clone(), "demo").get("web").await?;
    let map = Api::<ConfigMap>::namespaced(client, "demo").get("web").await?;
    Ok(Fingerprint {
        pods: pods.list(&all).await?.items.iter().map(|pod| (pod.name_any(), pod.uid())).collect(),
        replica_sets: sets.list(&all).await?.items.iter().map(|set| (set.name_any(), set.uid())).collect(),
        generations: [deployment.metadata.generation, service.metadata.generation],
        said: vec![
            json!([deployment.spec, deployment.metadata.uid, deployment.metadata.annotations]),
            json!([service.spec, service.metadata.uid, service.metadata.annotations]),
            json!([map.data, map.metadata.uid, map.metadata.annotations]),
        ],
    })
}

pub(crate) async fn ready(member: &Cluster, replicas: i32) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(member.client().await?, "demo");
    until(api, "web", "ready", |object| {
        object.is_some_and(|object| {
            object.status.as_ref().is_some_and(|status| {
                status.ready_replicas == Some(replicas)
                    && status.replicas == Some(replicas)
                    && status.observed_generation == object.metadata.generation
            })
        })
    })
    .await?;
    Ok(())
}

pub(crate) async fn owner(member: &Cluster) -> Result<Option<String>> {
    let api: Api<Deployment> = Api::namespaced(member.client().await?, "demo");
    Ok(api.get("web").await?.labels().get(names::OWNER).cloned())
}

/// Broken: real controllers take an adoption for a change and start pods anew, an autoscaler's decision is taken back, drift
/// of what was adopted is repaired though nobody said so, or a deletion takes away what ran before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kubectl_made_is_adopted_without_a_touch() -> Result<()> {
    let members = [ClusterSpec::new("m1", Life::Living), ClusterSpec::new("m2", Life::Living).oldest()];
    let fleet = Fleet::start(ClusterSpec::new("hub", Life::Inert), members).await?;
    fleet.kubectl("create namespace demo")?;
    for member in ["m1", "m2"] {
        fleet.kubectl(&format!("--context {member} create namespace demo"))?;
        let manifest = RUNNING.replace("WHERE", member);
        fleet.shell(&format!("kubectl --context {member} apply -f - <<'END'\n{manifest}\nEND"))?;
    }
    // As an autoscaler does: against what the manifest says.
    fleet.kubectl(
        "--context m2 -n demo patch deployment web --subresource=scale --type=merge \
         --field-manager=kube-controller-manager -p '{\"spec\":{\"replicas\":3}}'",
    )?;
    let (one, two) = (fleet.member("m1")?, fleet.member("m2")?);
    ready(one, 2).await?;
    ready(two, 3).await?;
    let before = [fingerprint(one).await?, fingerprint(two).await?];

    // With the hub's credentials for members that one has no context for.
    let hub_only = fleet.room().path().join("hub-only.kubeconfig");
    kubeconfig::write(&hub_only, fleet.hub.kubeconfig())?;
    let what = "-n demo --from m1,m2 deploy,svc,cm,rs,pod -l app=web";
    let plan = fleet.fleetctl(&format!("adopt web {what} --dry-run --kubeconfig {}", hub_only.display()))?;
    ensure!(plan.contains("tried on each cluster by a dry run"), "{plan}");
    let scaled = |line: &str| {
        line.contains("Deployment demo/web") && line.contains("m2") && line.contains("spec.replicas")
    };
    ensure!(plan.lines().any(scaled), "{plan}");
    ensure!([fingerprint(one).await?, fingerprint(two).await?] == before, "a dry run touched something");

    let made = fleet.fleetctl(&format!("adopt web {what} --yes"))?;
    ensure!(made.contains("takes over 3 objects on 2 clusters"), "{made}");
    let mut controller = fleet.controller()?;
    let apps: Api<Application> = Api::namespaced(fleet.hub.client().await?, "demo");
    let running = |app: Option<&Application>| {
        app.and_then(|app| app.status.as_ref()).is_some_and(|status| status.status == Phase::Running)
    };
    until(apps.clone(), "web", "running", running).await?;
    ensure!(owner(one).await?.is_some() && owner(two).await?.is_some(), "nobody owns it");
    let after = [fingerprint(one).await?, fingerprint(two).await?];
    ensure!(after == before, "touched:\n{before:#?}\n{after:#?}");

    // An edit is reported, and left.
    fleet.kubectl(
        "--context m1 -n demo patch deployment web --type=merge -p '{\"spec\":{\"revisionHistoryLimit\":7}}'",
    )?;
    eventually("the edit is reported", || async {
        let listed = fleet.fleetctl("drift list web -n demo")?;
        let told = |row: &str| row.contains("Reported") && row.contains("spec.revisionHistoryLimit");
        ensure!(listed.lines().any(told), "{listed}");
        Ok(())
    })
    .await?;
    let limit = async || -> Result<Option<i32>> {
        let api: Api<Deployment> = Api::namespaced(one.client().await?, "demo");
        Ok(api.get("web").await?.spec.and_then(|spec| spec.revision_history_limit))
    };
    ensure!(limit().await? == Some(7), "it was repaired");

    // It is repaired once the policy is gone; an autoscaler's number stays all the same.
    let command = made.lines().find_map(|line| line.split_once("kubectl patch ")).context("the command")?.1;
    fleet.kubectl(&format!("patch {command}"))?;
    eventually("the edit is taken back", || async {
        ensure!(limit().await? == Some(3));
        Ok(())
    })
    .await?;
    until(apps.clone(), "web", "running again", running).await?;
    let after = fingerprint(one).await?;
    ensure!(
        (&after.pods, &after.replica_sets) == (&before[0].pods, &before[0].replica_sets),
        "pods were touched"
    );
    ensure!(fingerprint(two).await? == before[1], "the other member was touched");

    // What ran before the Application runs after it.
    fleet.fleetctl("delete web -n demo --wait")?;
    ensure!(owner(one).await?.is_none() && owner(two).await?.is_none(), "labels stay");
    ensure!(fingerprint(one).await?.pods == before[0].pods, "pods were touched");
    ensure!(fingerprint(two).await? == before[1], "the other member was touched");
    controller.stop().await?;
    fleet.end();
    Ok(())
}

/// Broken: what API servers fill in, give or note is taken for a decision: delivering it would change the object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_says_what_it_is() -> Result<()> {
    let members = [ClusterSpec::new("m1", Life::Living), ClusterSpec::new("m2", Life::Living).oldest()];
    let fleet = Fleet::start(ClusterSpec::new("hub", Life::Bare), members).await?;
    fleet.kubectl("create namespace demo")?;
    for (member, verb) in [("m1", "apply"), ("m2", "create")] {
        fleet.kubectl(&format!("--context {member} create namespace demo"))?;
        fleet.shell(&format!("kubectl --context {member} {verb} -f - <<'END'\n{MANY}\nEND"))?;
        let api: Api<StatefulSet> = Api::namespaced(fleet.member(member)?.client().await?, "demo");
        let seen = |set: Option<&StatefulSet>| {
            set.is_some_and(|set| set.status.as_ref().is_some_and(|status| status.replicas == 1))
        };
        until(api, "many", "taken up", seen).await?;
    }
    let plan = fleet.fleetctl(&format!("adopt many -n demo --from m1,m2 {KINDS} -l set=many --dry-run"))?;
    ensure!(plan.contains("tried on each cluster by a dry run"), "{plan}");
    ensure!(plan.lines().filter(|row| row.contains(" demo/many  ")).count() == 32, "{plan}");
    ensure!(!plan.contains("spec."), "they differ, or are left to others: {plan}");

    // Who may not do it is told where and what.
    let reader = |cluster: &Cluster, name: &str| -> Result<Value> {
        Ok(cluster.kubeconfig_as(&User::Certificate(cluster.pki()?.client(name, &[])?)))
    };
    let (hub, one) = (&fleet.hub, fleet.member("m1")?);
    for context in ["hub", "m1"] {
        fleet.kubectl(&format!(
            "--context {context} create clusterrole reader --verb=get,list --resource='*.*'"
        ))?;
        fleet.kubectl(&format!(
            "--context {context} create clusterrolebinding reader --clusterrole=reader --user=reader"
        ))?;
    }
    let path = fleet.room().path().join("weak.kubeconfig");
    let line = format!("KUBECONFIG={} fleetctl adopt many -n demo --from m1 sa/many --yes", path.display());
    for (kubeconfigs, said) in [
        (
            [hub.kubeconfig().clone(), reader(one, "nobody")?],
            "m1: /api/v1/namespaces/demo/serviceaccounts/many: serviceaccounts \"many\" is forbidden",
        ),
        ([hub.kubeconfig().clone(), reader(one, "reader")?], "cannot patch resource \"serviceaccounts\""),
        ([reader(hub, "reader")?, one.kubeconfig().clone()], "hand the manifest (the same with -o yaml)"),
    ] {
        kubeconfig::write(&path, &kubeconfig::merge(&kubeconfigs))?;
        let ran = fleet.try_shell(&line)?;
        let complaint = String::from_utf8_lossy(&ran.stderr);
        ensure!(ran.status.code() == Some(4) && complaint.contains(said), "{said}\n{complaint}");
    }
    let apps: Api<Application> = Api::namespaced(fleet.hub.client().await?, "demo");
    ensure!(apps.list(&ListParams::default()).await?.items.is_empty(), "something was made");
    fleet.end();
    Ok(())
}
