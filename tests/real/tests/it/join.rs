//! Joining, looking after and detaching members as an administrator does it.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleet_api::{ManagedCluster, names};
use fleet_real::kubeconfig::{self, User};
use fleet_real::pki::Pki;
use fleet_real::{Cluster, ClusterSpec, Fleet, Life, eventually, until};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, Role};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, PostParams};
use serde_json::{Value, json};

/// A hub with our kinds, and clusters that aren't members yet.
async fn strangers(count: usize) -> Result<Fleet> {
    let members = (1..=count).map(|number| ClusterSpec::new(&format!("m{number}"), Life::Inert));
    let fleet = Fleet::clusters(ClusterSpec::new("hub", Life::Inert), members).await?;
    fleet.install_kinds().await?;
    // A new kind is established before its storage answers.
    let kinds =
        "managedclusters,applications,policies.core.oam.dev,runs,resourcetrackers,applicationrevisions";
    eventually("the kinds answer", || async { fleet.kubectl(&format!("get {kinds} -A")).map(drop) }).await?;
    Ok(fleet)
}

/// Runs a line that must end with a code; answers what it said.
fn ends(fleet: &Fleet, line: &str, code: i32) -> Result<String> {
    let output = fleet.try_shell(&format!("fleetctl {line}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let out = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.code() == Some(code), "$ fleetctl {line}: {}\n{out}{said}", output.status);
    Ok(said)
}

fn join(member: &Cluster, more: &str) -> String {
    format!("cluster join {} {more}", member.kubeconfig_path().display())
}

/// A kubeconfig beside the others.
fn written(fleet: &Fleet, name: &str, kubeconfig: &Value) -> Result<String> {
    let path = fleet.room().path().join(name);
    kubeconfig::write(&path, kubeconfig)?;
    Ok(path.display().to_string())
}

/// As the hub comes to a member: with what its Secret holds.
async fn as_hub(fleet: &Fleet, member: &Cluster, act_as: Option<&str>) -> Result<kube::Client> {
    let secrets: Api<Secret> = Api::namespaced(fleet.hub.client().await?, names::SYSTEM_NAMESPACE);
    let secret = secrets.get(member.name()).await?;
    let token = secret.data.as_ref().and_then(|data| data.get("token")).context("no token")?;
    let mut config = member.kubeconfig_as(&User::Token(String::from_utf8(token.0.clone())?));
    if let (Some(who), Some(user)) =
        (act_as, config.pointer_mut("/users/0/user").and_then(Value::as_object_mut))
    {
        user.insert("as".to_owned(), json!(who));
    }
    kubeconfig::client(&config).await
}

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap()
}

fn is_forbidden<T: std::fmt::Debug>(outcome: Result<T, kube::Error>) -> bool {
    matches!(&outcome, Err(kube::Error::Api(status)) if status.code == 403)
}

/// Each profile's account can do what it is for, and nothing beyond.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_profile_joins() -> Result<()> {
    let fleet = strangers(3).await?;
    let (m1, m2, m3) = (fleet.member("m1")?, fleet.member("m2")?, fleet.member("m3")?);
    for member in [m2, m3] {
        fleet.namespace(member, "web").await?;
    }
    fleet.apply(m3, DEPLOYER).await?;

    let dry = fleet.fleetctl(&join(m1, "--alias first --labels tier=gold --dry-run"))?;
    ensure!(dry.contains("would join") && dry.contains("deliver Roles and bindings only"), "{dry}");
    let namespaces: Api<Namespace> = Api::all(m1.client().await?);
    ensure!(namespaces.get_opt(names::SYSTEM_NAMESPACE).await?.is_none(), "a dry run has written");

    let joined: Value =
        serde_json::from_str(&fleet.fleetctl(&join(m1, "--alias first --labels tier=gold -o json"))?)?;
    ensure!(joined["missing"] == json!([]) && joined["profile"] == "cluster", "{joined}");
    fleet.fleetctl(&join(m2, "--profile namespaced --namespaces web"))?;
    fleet.fleetctl(&join(m3, "--profile impersonating --impersonate web/deployer"))?;
    let listed = fleet.fleetctl("cluster list -o wide")?;
    for word in ["first", "tier=gold", "namespaced", "impersonating"] {
        ensure!(listed.contains(word), "{listed}");
    }
    for name in ["first", "m2", "m3"] {
        let probed = fleet.fleetctl(&format!("cluster probe {name}"))?;
        ensure!(probed.contains("the one that joined") && probed.contains("that are needed"), "{probed}");
    }

    let (create, all) = (PostParams::default(), ListParams::default());
    let maps =
        |client: kube::Client, namespace: &str| -> Api<ConfigMap> { Api::namespaced(client, namespace) };
    let wide = as_hub(&fleet, m1, None).await?;
    maps(wide.clone(), "default").create(&create, &map("a")).await?;
    // What it hasn't got itself it can't hand on.
    let role = |verb: &str| -> Role {
        serde_json::from_value(json!({
            "metadata": { "name": format!("may-{verb}") },
            "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": [verb] }],
        }))
        .unwrap()
    };
    let roles: Api<Role> = Api::namespaced(wide, "default");
    roles.create(&create, &role("list")).await?;
    ensure!(is_forbidden(roles.create(&create, &role("bind")).await), "it hands on what it hasn't got");
    let narrow = as_hub(&fleet, m2, None).await?;
    maps(narrow.clone(), "web").create(&create, &map("a")).await?;
    ensure!(
        is_forbidden(maps(narrow.clone(), "default").create(&create, &map("a")).await),
        "it reaches default"
    );
    ensure!(is_forbidden(Api::<Secret>::all(narrow).list(&all).await), "it lists all Secrets");
    let acting = as_hub(&fleet, m3, None).await?;
    ensure!(
        is_forbidden(maps(acting.clone(), "web").create(&create, &map("a")).await),
        "it writes as itself"
    );
    maps(acting, "web").list(&all).await?;
    let deployer = as_hub(&fleet, m3, Some("system:serviceaccount:web:deployer")).await?;
    maps(deployer, "web").create(&create, &map("a")).await?;
    let other = as_hub(&fleet, m3, Some("system:serviceaccount:web:default")).await?;
    ensure!(is_forbidden(maps(other, "web").list(&all).await), "it acts as somebody else");

    // New credentials: the old ones end.
    let old = as_hub(&fleet, m1, None).await?;
    let rotated = fleet.fleetctl("cluster rotate first")?;
    ensure!(rotated.contains("1 old token revoked"), "{rotated}");
    fleet.fleetctl("cluster probe first")?;
    eventually("the old token refused", || async {
        match Api::<Namespace>::all(old.clone()).get("default").await {
            Err(kube::Error::Api(status)) if status.code == 401 => Ok(()),
            other => anyhow::bail!("{other:?}"),
        }
    })
    .await?;
    // Joined again with another profile it loses what that one hasn't.
    fleet.namespace(m2, "shop").await?;
    fleet.fleetctl(&join(m2, "--profile namespaced --namespaces shop"))?;
    let roles: Api<Role> = Api::all(m2.client().await?);
    let ours = roles.list(&ListParams::default().labels(names::HUB)).await?;
    let places: Vec<String> = ours.items.iter().filter_map(|role| role.namespace()).collect();
    ensure!(places == ["shop"], "{places:?}");

    // What was made for the hub goes with it, whatever the profile.
    for (name, member) in [("first", m1), ("m2", m2), ("m3", m3)] {
        // Without contexts of its own, so that it is the hub's account that takes itself away.
        let hub = fleet.hub.kubeconfig_path().display();
        fleet.fleetctl(&format!("--kubeconfig {hub} cluster detach {name} --keep-objects"))?;
        let client = member.client().await?;
        ensure!(
            Api::<ClusterRole>::all(client.clone())
                .list(&ListParams::default().labels(names::HUB))
                .await?
                .items
                .is_empty()
        );
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), names::SYSTEM_NAMESPACE);
        let account = format!("hub-{}", names::hub_hash(&fleet_real::fleet::uid(&fleet.hub).await?));
        until(accounts, &account, "gone", |account| account.is_none()).await?;
        let secrets: Api<Secret> = Api::namespaced(client, names::SYSTEM_NAMESPACE);
        until(secrets, &format!("{account}-token"), "gone", |secret| secret.is_none()).await?;
    }
    ensure!(Api::<ManagedCluster>::all(fleet.hub.client().await?).list(&all).await?.items.is_empty());
    fleet.end();
    Ok(())
}

const DEPLOYER: &str = r"
apiVersion: v1
kind: ServiceAccount
metadata: {name: deployer, namespace: web}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: deployer, namespace: web}
rules: [{apiGroups: ['', apps], resources: ['*'], verbs: [get, list, watch, create, patch, delete]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: deployer, namespace: web}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: deployer}
subjects: [{kind: ServiceAccount, name: deployer, namespace: web}]
";

/// Each bad input is told apart from the others, and nothing was written by any of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_before_anything_is_written() -> Result<()> {
    let fleet = strangers(2).await?;
    let (m1, m2) = (fleet.member("m1")?, fleet.member("m2")?);
    let good = m1.kubeconfig();
    let several = written(&fleet, "several", &kubeconfig::merge(&[good.clone(), m2.kubeconfig().clone()]))?;
    let mut dead = good.clone();
    dead["clusters"][0]["cluster"]["server"] = json!("https://127.0.0.1:1");
    let other = Pki::new(&fleet.room().path().join("other-pki"))?;
    let wrong = kubeconfig::render(
        "m1",
        m1.server(),
        &other.authority(),
        &User::Certificate(m1.pki()?.admin.clone()),
    );
    let claims = URL_SAFE_NO_PAD.encode(json!({ "exp": 60 }).to_string());
    let expired_token = m1.kubeconfig_as(&User::Token(format!("e30.{claims}.c2ln")));
    let revoked = m1.kubeconfig_as(&User::Token("nobodys".to_owned()));
    let expired =
        m1.kubeconfig_as(&User::Certificate(m1.pki()?.expired_client("admin", &["system:masters"])?));
    let weak = m1.kubeconfig_as(&User::Certificate(m1.pki()?.client("weak", &[])?));
    fleet.apply(m1, WEAK).await?;
    let [dead, wrong, expired_token, revoked, expired, weak] = [
        ("dead", &dead),
        ("wrong", &wrong),
        ("expired-token", &expired_token),
        ("revoked", &revoked),
        ("expired", &expired),
        ("weak", &weak),
    ]
    .map(|(name, kubeconfig)| written(&fleet, name, kubeconfig));
    fleet.fleetctl(&join(m2, "--name taken --alias also-taken"))?;
    for (line, code, said) in [
        (format!("cluster join {several} --name x"), 2, "has several contexts: m1, m2; current is m1"),
        (format!("cluster join {} --name x", dead?), 6, "https://127.0.0.1:1 doesn't answer"),
        (format!("cluster join {} --name x", wrong?), 1, "isn't signed by certificate-authority of"),
        (format!("cluster join {} --name x", expired_token?), 4, "expired at 1970-01-01T00:01:00Z"),
        (format!("cluster join {} --name x", revoked?), 4, "doesn't accept the credentials"),
        (format!("cluster join {} --name x", expired?), 4, "expired at"),
        (
            format!("cluster join {} --name x", weak?),
            4,
            "escalate clusterroles.rbac.authorization.k8s.io (or hold everything that is granted)",
        ),
        (join(m1, "--name taken"), 4, "the name taken is taken by another cluster"),
        (join(m1, "--name also-taken"), 4, "the name \"also-taken\" is taken"),
        (join(m1, "--name x --alias taken"), 4, "the alias \"taken\" is taken"),
        (join(m2, "--name x"), 4, "is a member already: taken (also-taken)"),
        (join(&fleet.hub, "--name x"), 4, "this cluster is the hub itself"),
        (
            join(m1, "--name x --profile namespaced --namespaces nowhere"),
            3,
            "kubectl create namespace nowhere",
        ),
        (join(m1, "--name x --service-account default/nobody"), 3, "no service account default/nobody"),
    ] {
        let told = ends(&fleet, &line, code)?;
        ensure!(told.contains(said), "$ fleetctl {line}\n{told}");
        ensure!(told.trim_end().lines().count() == 1, "{told}");
    }
    let there: Api<Namespace> = Api::all(m1.client().await?);
    ensure!(there.get_opt(names::SYSTEM_NAMESPACE).await?.is_none(), "something was written to the member");
    let members: Api<ManagedCluster> = Api::all(fleet.hub.client().await?);
    ensure!(members.list(&ListParams::default()).await?.items.len() == 1, "something was written to the hub");

    // An account that is given is used, and what it may not is said.
    fleet.apply(m1, GIVEN).await?;
    let joined = fleet.fleetctl(&join(m1, "--name given --service-account ops/deployer"))?;
    ensure!(
        joined.contains("ops/deployer, with the rights that it has") && joined.contains("delete everything"),
        "{joined}"
    );
    fleet.fleetctl("cluster probe given")?;
    fleet.end();
    Ok(())
}

/// May look, and make namespaces; not give rights.
const WEAK: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: weak}
rules:
  - {apiGroups: [''], resources: [namespaces, serviceaccounts, secrets], verbs: ['*']}
  - {apiGroups: [rbac.authorization.k8s.io], resources: ['*'], verbs: [get, list, watch, create, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: weak}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: weak}
subjects: [{kind: User, name: weak, apiGroup: rbac.authorization.k8s.io}]
";

const GIVEN: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: ops}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: deployer, namespace: ops}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: deployer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: deployer, namespace: ops}]
";

const APPLICATION: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: demo}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: demo}
data: {colour: blue}
---
apiVersion: core.oam.dev/v1beta1
kind: Application
metadata: {name: settings, namespace: demo}
spec:
  components:
    - name: settings
      type: ref-objects
      properties: {objects: [{apiVersion: v1, kind: ConfigMap, name: settings}]}
  policies:
    - {name: where, type: topology, properties: {clusters: [m1, m2]}}
";

async fn maps(member: &Cluster) -> Result<Api<ConfigMap>> {
    Ok(Api::namespaced(member.client().await?, "demo"))
}

/// A member that leaves keeps or loses its objects as was said; one that was rebuilt gets them again once accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_leave_and_come_back() -> Result<()> {
    let fleet = strangers(2).await?;
    let (m1, m2) = (fleet.member("m1")?, fleet.member("m2")?);
    for member in [m1, m2] {
        fleet.fleetctl(&join(member, ""))?;
    }
    let mut controller = fleet.controller()?;
    fleet.apply(&fleet.hub, APPLICATION).await?;
    for member in [m1, m2] {
        until(maps(member).await?, "settings", "delivered", |object| object.is_some()).await?;
    }
    eventually("the revision on m1", || async {
        let status = fleet.fleetctl("cluster status m1")?;
        ensure!(status.contains(" settings-"), "{status}");
        Ok(())
    })
    .await?;
    let told = ends(&fleet, "cluster detach m1", 7)?;
    ensure!(told.contains("demo/settings") && told.contains("--keep-objects"), "{told}");
    let told = ends(&fleet, "cluster rename m1 x", 4)?;
    ensure!(told.contains("demo/settings"), "{told}");

    fleet.fleetctl("cluster detach m1 --delete-objects")?;
    ensure!(maps(m1).await?.get_opt("settings").await?.is_none(), "the object is still there");
    ensure!(fleet.fleetctl("cluster list -o name")?.lines().count() == 1);
    // One that doesn't answer can only be let go.
    m2.pause()?;
    let told = ends(&fleet, "--request-timeout 3s cluster detach m2 --delete-objects", 6)?;
    ensure!(told.contains("nothing was changed"), "{told}");
    m2.resume()?;
    fleet.fleetctl("cluster detach m2 --keep-objects")?;
    let kept = maps(m2).await?.get("settings").await?;
    ensure!(!kept.labels().contains_key(names::OWNER), "{:?}", kept.labels());
    controller.stop().await?;
    fleet.end();
    Ok(())
}
