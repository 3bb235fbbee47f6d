//! `kubectl get` in its forms, `describe`, `events`.

use crate::support::Stage;

#[test]
fn get_prints_in_every_form() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    k.ok("create configmap b -n demo --from-literal=x=1 --from-literal=y=2");
    k.ok("create configmap a -n demo --from-literal=x=1");
    k.ok("label configmap a b -n demo mine=yes");
    k.ok("create deployment web -n demo --image=nginx:1 --replicas=2");
    k.prints("get configmap -n demo -l mine", "NAME DATA AGE\na 1 …\nb 2 …");
    k.prints("get cm b -n demo --no-headers", "b 2 …");
    k.prints("get cm -n demo -l mine -o name", "configmap/a\nconfigmap/b");
    k.prints("get cm b -n demo -o jsonpath={.data.y}", "2");
    k.prints(
        "get cm -n demo -l mine -o custom-columns=N:.metadata.name,X:.data.x,Y:.data.y",
        "N X Y\na 1 <none>\nb 1 2",
    );
    k.prints("get cm -n demo -l mine --sort-by=.data.x -o name", "configmap/a\nconfigmap/b");
    k.prints("get cm -n demo -l mine --sort-by=.data.y", "NAME DATA AGE\na 1 …\nb 2 …");
    k.prints("get cm -n demo -l mine --field-selector=metadata.name=a -o name", "configmap/a");
    k.prints("get cm -n demo -l mine --field-selector=metadata.name!=a -o name", "configmap/b");
    k.fails("get cm -n demo -l mine --field-selector=data.x=1", &["field label not supported: data.x"]);
    k.ok("label deployment web -n demo mine=yes");
    k.prints(
        "get cm,deploy -n demo -l mine",
        "
        NAME DATA AGE
        configmap/a 1 …
        configmap/b 2 …
        NAME READY UP-TO-DATE AVAILABLE AGE
        deployment.apps/web 0/2 0 0 …",
    );
    k.prints("get deploy/web cm/a -n demo -o name", "deployment.apps/web\nconfigmap/a");
    k.prints(
        "get deploy web -n demo -o wide",
        "
        NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR
        web 0/2 0 0 … nginx nginx:1 app=web",
    );
    k.prints(
        "get deploy -A --show-labels",
        "NAMESPACE NAME READY UP-TO-DATE AVAILABLE AGE LABELS\ndemo web 0/2 0 0 … app=web,mine=yes",
    );
    k.prints("get deployments.v1.apps -n demo -o name", "deployment.apps/web");
    let json: serde_json::Value =
        serde_json::from_str(&k.ok("get cm -n demo -l mine -o json")).expect("JSON");
    assert_eq!(json["kind"], "List");
    assert_eq!(json["items"][0]["kind"], "ConfigMap");
    let yaml = k.ok("get cm a -n demo -o yaml");
    assert!(yaml.starts_with("apiVersion: v1\ndata:\n  x: \"1\"\nkind: ConfigMap\nmetadata:\n"), "{yaml}");
    let raw = k.ok("get --raw /api/v1/namespaces/demo/configmaps/a");
    assert!(raw.contains("\"kind\":\"ConfigMap\""), "{raw}");
    k.prints(
        "get namespaces",
        "
        NAME STATUS AGE
        default Active …
        demo Active …
        kube-node-lease Active …
        kube-public Active …
        kube-system Active …",
    );
    k.prints("get cm a -n demo --ignore-not-found", "NAME DATA AGE\na 1 …");
    k.prints("get cm zzz -n demo --ignore-not-found", "");
}

/// Every kind has a table, with rows or without.
#[test]
fn everything_can_be_listed() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.member();
    let names: Vec<String> = k.ok("api-resources --verbs=list -o name").lines().map(str::to_owned).collect();
    assert!(names.len() > 40, "{names:?}");
    let all = k.ok(&format!("get {} -A", names.join(",")));
    for row in [
        "node/node-0",
        "configmap/kube-root-ca.crt",
        "ingressclass.networking.k8s.io/nginx",
        "namespace/default",
    ] {
        assert!(all.contains(row), "{row} isn't in {all}");
    }
}

#[test]
fn get_says_what_isnt_there() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    k.fails("get nonsense", &["error: the server doesn't have a resource type \"nonsense\""]);
    k.fails("get cm zzz -n demo", &["Error from server (NotFound): configmaps \"zzz\" not found"]);
    k.fails("get ns nowhere", &["Error from server (NotFound): namespaces \"nowhere\" not found"]);
    let none = k.run("get secret -n nowhere");
    assert!(none.code == 0 && none.err.contains("No resources found in nowhere namespace."), "{none:?}");
    let none = k.run("get pods -A");
    assert!(none.code == 0 && none.err.contains("No resources found"), "{none:?}");
    k.fails("get cm -n demo -l 'a=b=c'", &["unable to parse requirement"]);
}

/// A list that comes in pieces must be whole and in order.
#[test]
fn long_lists_come_in_pieces() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    let items: Vec<String> = (0..25)
        .map(|n| format!("{{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{{\"name\":\"c{n:02}\",\"namespace\":\"demo\"}}}}"))
        .collect();
    k.ok_with(
        "create -f -",
        &format!("{{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{}]}}", items.join(",")),
    );
    let whole = k.ok("get secret -n demo -o name");
    assert_eq!(whole.lines().count(), 25);
    assert_eq!(k.ok("get secret -n demo -o name --chunk-size=4"), whole);
    let table = k.ok("get secret -n demo --chunk-size=4");
    assert_eq!((table.lines().count(), table.matches("NAME").count()), (26, 1), "{table}");
    let seen = k.run("get secret -n demo --chunk-size=4 -o name -v=7");
    assert_eq!(seen.err.matches("limit=4").count(), 7, "{}", seen.err);
}

#[test]
fn describe_tells_of_builtin_kinds() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.member();
    let says = |line: &str, words: &[&str]| {
        let out = k.ok(line);
        let plain = out.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(plain.contains(word), "kubectl {line} doesn't say {word:?}:\n{out}");
        }
    };
    k.ok("create namespace demo");
    k.ok("create deployment web -n demo --image=nginx:1 --replicas=2 --port=80");
    k.ok("expose deployment web -n demo --port=80");
    k.ok("create ingress web -n demo --rule='a.example/*=web:80'");
    k.ok("create configmap c -n demo --from-literal=k=v");
    k.ok("create secret generic s -n demo --from-literal=k=value");
    k.ok("create quota q -n demo --hard=pods=9");
    k.ok("rollout status deployment/web -n demo --timeout=20s");
    k.ok("wait --for=jsonpath={.status.loadBalancer.ingress[0].ip} ingress/web -n demo --timeout=20s");
    says(
        "describe deployment web -n demo",
        &[
            "Replicas: 2 desired | 2 updated | 2 total | 2 available | 0 unavailable",
            "StrategyType: RollingUpdate",
            "Available True MinimumReplicasAvailable",
            "NewReplicaSet: web-",
        ],
    );
    says(
        "describe rs -n demo",
        &["Controlled By: Deployment/web", "Pods Status: 2 Running / 0 Waiting / 0 Succeeded / 0 Failed"],
    );
    says(
        "describe pods -n demo -l app=web",
        &[
            "Status: Running",
            "Node: node-0/",
            "Controlled By: ReplicaSet/web-",
            "Image: nginx:1",
            "QoS Class: BestEffort",
            "Ready True",
        ],
    );
    says("describe service web -n demo", &["Type: ClusterIP", "Port: <unset> 80/TCP", "Endpoints: 10."]);
    says("describe ingress web -n demo", &["Ingress Class: nginx", "a.example", "web:80 (10."]);
    says("describe namespace demo", &["Status: Active", "Resource Quotas"]);
    says(
        "describe node node-0",
        &["Ready True", "Non-terminated Pods: (2 in total)", "kubernetes.io/hostname=node-0"],
    );
    says("describe configmap c -n demo", &["Data ==== k: ---- v"]);
    says("describe secret s -n demo", &["Type: Opaque", "k: 5 bytes"]);
    k.fails("describe pod zzz -n demo", &["Error from server (NotFound): pods \"zzz\" not found"]);
    says(
        "describe managedclusters --context hub mc-bj1",
        &["Kind: ManagedCluster", "Hub Accepts Client: true"],
    );
}

#[test]
fn events_are_shown() {
    let Some(stage) = Stage::start() else { return };
    let k = stage.hub();
    k.ok("create configmap c -n demo");
    let uid = k.ok("get cm c -n demo -o jsonpath={.metadata.uid}");
    k.ok_with("create -f -", &format!("{{apiVersion: v1, kind: Event, metadata: {{name: e1, namespace: demo}}, reason: Tested, message: it works, \
        type: Normal, count: 2, lastTimestamp: '2026-01-01T00:00:00Z', firstTimestamp: '2026-01-01T00:00:00Z', source: {{component: test}}, \
        involvedObject: {{apiVersion: v1, kind: ConfigMap, name: c, namespace: demo, uid: {uid}}}}}"));
    k.prints(
        "get events -n demo",
        "LAST SEEN TYPE REASON OBJECT MESSAGE\n… Normal Tested configmap/c it works",
    );
    k.prints(
        "events -n demo --for configmap/c",
        "LAST SEEN TYPE REASON OBJECT MESSAGE\n… (x2 over …) Normal Tested ConfigMap/c it works",
    );
    k.prints("get events -n demo --field-selector involvedObject.name=c,reason=Tested -o name", "event/e1");
    let out = k.ok("describe cm c -n demo");
    assert!(out.contains("it works"), "{out}");
}
