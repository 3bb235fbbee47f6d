//! `fleetctl cluster join`: everything is checked before anything is written anywhere.

use std::time::Duration;

use fleet_api::names;
use fleet_members::Identity as Shown;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::ResourceExt as _;
use kube::api::Api;
use serde_json::{Value, json};

use super::Hub;
use super::account::{self, Account};
use super::kubeconfig::Way;
use super::member::{self, Identity};
use super::naming::{self, Claim};
use super::profile::{DELIVER, Profile};
use super::record::{self, Registration};
use super::rights::{self, Need, Right};
use super::trouble::Door;
use crate::access::Cluster;
use crate::args::JoinArgs;
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};
use crate::roster::Roster;
use crate::version::write;

/// What will be done, once everything was checked.
struct Plan {
    name: String,
    alias: Option<String>,
    endpoint: String,
    identity: Identity,
    /// The hub, by [`names::hub_hash`].
    hub: String,
    access: How,
    /// What is made on the member.
    make: Vec<Value>,
}

/// As whom the hub comes to the member.
enum How {
    /// As an account there.
    Account(Account, Profile),
    /// As the kubeconfig does.
    Own(Shown),
}

pub(super) async fn run(environment: &Environment, hub: &Hub, arguments: &JoinArgs) -> Outcome {
    let profile = Profile::wanted(arguments)?;
    let context = arguments.member_context.as_deref();
    let way = Way::read(&arguments.kubeconfig, context, hub.cluster.deadline).await?;
    let plan = check(environment, hub, arguments, &way, profile).await?;
    if arguments.dry_run {
        return tell(environment, arguments, &plan, &[]);
    }
    let shown = match &plan.access {
        How::Own(shown) => shown.clone(),
        How::Account(account, _) => {
            if !plan.make.is_empty() {
                let text = format!("making account {} on {}", account.shown(), plan.endpoint);
                environment.streams.note(&text);
            }
            let made = async {
                if !plan.make.is_empty() {
                    member::make(&way.cluster, &plan.hub, &plan.make).await?;
                }
                member::issue(&way.cluster, &plan.hub, account, &account.token_name(&plan.hub)).await
            };
            Shown::Token(made.await.map_err(|failure| plan.stays(failure))?.into())
        }
    };
    let missing = admit(environment, hub, arguments, &way, &plan, shown);
    let missing = missing.await.map_err(|failure| plan.stays(failure))?;
    if let How::Account(account, _) = &plan.access {
        let keep = account.token_name(&plan.hub);
        member::revoke(&way.cluster, &plan.hub, account, Some(&keep)).await?;
    }
    tell(environment, arguments, &plan, &missing)
}

/// Tries the credentials and registers the member with them; answers which rights they lack.
async fn admit(
    environment: &Environment,
    hub: &Hub,
    arguments: &JoinArgs,
    way: &Way,
    plan: &Plan,
    shown: Shown,
) -> Outcome<Vec<Right>> {
    let note = |text: String| environment.streams.note(&text);
    let now = environment.now();
    let plugin = matches!(shown, Shown::Plugin(_));
    let credentials = way.credentials(&plan.endpoint, shown)?;
    let (needs, patient) = plan.access.expected(&plan.hub);
    if !plugin {
        note(format!("trying the credentials at {}", plan.endpoint));
    }
    let (uid, deadline) = (&plan.identity.uid, hub.cluster.deadline);
    let missing = if plugin {
        // It may be at home where the controller runs only, and was used a moment ago to get here.
        note("its credential plugin runs where the controller runs, which must allow it: see fleetctl controller --help".to_owned());
        Vec::new()
    } else {
        member::verify(&credentials, uid, &needs, patient, deadline, now).await?
    };
    if patient && !missing.is_empty() {
        return Err(Failure::refused(format!(
            "the account was made, and still may not: {}; does something on the member refuse it?",
            list(&missing)
        )));
    }
    note(format!("registering {} on the hub", plan.name));
    let registration = Registration {
        name: plan.name.clone(),
        alias: plan.alias.clone(),
        labels: arguments.labels.clone(),
        access: plan.access.annotations(),
        identity: plan.identity.clone(),
        credentials,
    };
    // Read again: somebody may have joined meanwhile.
    let roster = Roster::load(&hub.cluster).await?;
    record::register(&hub.cluster, &roster, &registration, now).await?;
    Ok(missing)
}

impl Plan {
    /// What is left on the member by a join that was cut short, said with why it was.
    fn stays(&self, failure: Failure) -> Failure {
        let How::Account(account, _) = &self.access else { return failure };
        let made = if account.given { "a token of" } else { "the account" };
        Failure::new(
            failure.exit,
            format!(
                "{}; {made} {} stays on the member: the same command again goes on from here, or take it away there: {}",
                failure.message,
                account.shown(),
                account::removal(account, &self.hub)
            ),
        )
    }
}

/// Whether the cluster answers at the address that the controller will use, before anything is made on it. Whether it
/// lets the kubeconfig's own credentials in there is another matter.
async fn answers(
    way: &Way,
    endpoint: &str,
    identity: &Identity,
    deadline: Duration,
    now: Timestamp,
) -> Outcome {
    if endpoint == way.server {
        return Ok(());
    }
    let shown = match member::own_identity(way) {
        Ok(Shown::Plugin(_)) | Err(_) => Shown::Token(String::new().into()),
        Ok(shown) => shown,
    };
    let client = way.credentials(endpoint, shown)?.client();
    let client = client.map_err(|error| Failure::usage(format!("--endpoint {endpoint}: {error}")))?;
    let cluster = Cluster::of_member(client, "the member", endpoint, deadline);
    let door = Door { server: endpoint, ..way.door() };
    match member::identify(&cluster, &door, now).await {
        Ok(found) if found.uid != identity.uid => Err(Failure::refused(format!(
            "{endpoint} is another cluster (UID {}) than the one that was checked (UID {}); check --endpoint; nothing was made",
            found.uid, identity.uid
        ))),
        Err(failure) if failure.exit != Exit::Refused => {
            Err(Failure::new(failure.exit, format!("--endpoint {failure}; nothing was made")))
        }
        _ => Ok(()),
    }
}

async fn check(
    environment: &Environment,
    hub: &Hub,
    arguments: &JoinArgs,
    way: &Way,
    profile: Profile,
) -> Outcome<Plan> {
    let name = arguments.name.clone().unwrap_or_else(|| way.context.clone());
    naming::name(&name).map_err(|why| match arguments.name {
        Some(_) => Failure::usage(format!("--name: {why}")),
        None => Failure::usage(format!("the context's name: {why}; or name the member with --name")),
    })?;
    if let Some(alias) = &arguments.alias {
        naming::alias(alias).map_err(|why| Failure::usage(format!("--alias: {why}")))?;
    }
    let endpoint = arguments.endpoint.clone().unwrap_or_else(|| way.server.clone());
    way.credentials(&endpoint, Shown::Token(String::new().into()))?;
    let identity = member::identify(&way.cluster, &way.door(), environment.now()).await?;
    let warning = member::supported(&identity.version)?;
    answers(way, &endpoint, &identity, hub.cluster.deadline, environment.now()).await?;
    let roster = Roster::load(&hub.cluster).await?;
    let hub_uid = record::hub_uid(&hub.cluster).await?;
    let claim = Claim {
        name: &name,
        alias: arguments.alias.as_deref(),
        uid: &identity.uid,
        hub_uid: &hub_uid,
        called: hub.called,
    };
    let known = claim.judge(&roster)?;
    if known.is_some_and(|member| member.annotations().contains_key(names::DETACHING)) {
        return Err(Failure::refused(format!(
            "member {name} is being detached; complete that first: {} cluster detach {name}; then join it anew",
            hub.called
        )));
    }
    record::secret_is_free(&hub.cluster, &name).await?;
    let lacking = rights::missing(&hub.cluster, &record::needs()).await?;
    if !lacking.is_empty() {
        return Err(Failure::refused(format!(
            "on the hub you may not: {}; ask its administrator for these rights",
            list(&lacking)
        )));
    }
    let hub_hash = names::hub_hash(&hub_uid);
    let access = how(arguments, way, &hub_hash, profile)?;
    let make = match &access {
        How::Account(account, profile) => prepare(way, &hub_hash, account, profile).await?,
        How::Own(_) => Vec::new(),
    };
    // Said once nothing can be refused any more.
    if let Some(warning) = warning {
        environment.streams.note(&format!("warning: {warning}"));
    }
    if is_loopback(&endpoint) {
        environment.streams.note(&format!(
            "warning: {endpoint} is an address of this machine: the controller must run here, too, or give its address with --endpoint"
        ));
    }
    Ok(Plan { name, alias: arguments.alias.clone(), endpoint, identity, hub: hub_hash, access, make })
}

/// `kubectl create namespace` takes one name.
fn creating(namespaces: &[String]) -> String {
    let each: Vec<String> =
        namespaces.iter().map(|name| format!("kubectl create namespace {name}")).collect();
    each.join("; ")
}

fn how(arguments: &JoinArgs, way: &Way, hub: &str, profile: Profile) -> Outcome<How> {
    if arguments.keep_credentials {
        return Ok(How::Own(member::own_identity(way)?));
    }
    let account = match &arguments.service_account {
        Some((namespace, name)) => Account { namespace: namespace.clone(), name: name.clone(), given: true },
        None => Account::of_hub(hub),
    };
    Ok(How::Account(account, profile))
}

/// What has to be made on the member, and whether it can be.
pub(super) async fn prepare(
    way: &Way,
    hub: &str,
    account: &Account,
    profile: &Profile,
) -> Outcome<Vec<Value>> {
    let namespaces: Api<Namespace> = Api::all(way.cluster.client.clone());
    let mut absent = Vec::new();
    for namespace in profile.namespaces() {
        let found = namespaces.get_metadata_opt(&namespace);
        if way.cluster.ask("the member's namespaces", found).await?.is_none() {
            absent.push(namespace);
        }
    }
    if !absent.is_empty() {
        return Err(Failure::not_found(format!(
            "the member has no namespace {}; an account for a few namespaces can't make them: {}",
            absent.join(", "),
            creating(&absent)
        )));
    }
    if account.given {
        let accounts: Api<ServiceAccount> = Api::namespaced(way.cluster.client.clone(), &account.namespace);
        let found = way
            .cluster
            .ask("the member's service accounts", accounts.get_metadata_opt(&account.name))
            .await?;
        if found.is_none() {
            return Err(Failure::not_found(format!(
                "the member has no service account {}; leave --service-account out, and one is made",
                account.shown()
            )));
        }
    }
    let there = namespaces.get_metadata_opt(&account.namespace);
    let there = way.cluster.ask("the member's namespaces", there).await?.is_some();
    let plan = account::manifests(hub, account, profile, !there);
    let unmet = rights::unmet(&way.cluster, &account::needs(hub, account, profile, &plan)).await?;
    if !unmet.is_empty() {
        return Err(Failure::refused(format!(
            "on the member, {} may not: {}; nothing was made; ask its administrator for these rights, or give a kubeconfig that has them",
            way.door().who,
            unmet_list(&unmet)
        )));
    }
    Ok(plan)
}

impl How {
    /// The rights that are looked for, and whether they were granted a moment ago.
    fn expected(&self, hub: &str) -> (Vec<Right>, bool) {
        match self {
            Self::Account(account, profile) => (account::expected(hub, account, profile), !account.given),
            Self::Own(_) => (DELIVER.iter().map(|verb| Right::new(verb, "*", "*")).collect(), false),
        }
    }

    fn annotations(&self) -> serde_json::Map<String, Value> {
        let mut all = Profile::Cluster { rbac: false }.annotations();
        all.insert(names::MEMBER_ACCOUNT.to_owned(), Value::Null);
        match self {
            Self::Account(account, profile) => {
                all = profile.annotations();
                all.insert(names::MEMBER_ACCOUNT.to_owned(), json!(account.shown()));
            }
            Self::Own(_) => {
                all.insert(names::MEMBER_PROFILE.to_owned(), Value::Null);
            }
        }
        all
    }
}

fn tell(environment: &Environment, arguments: &JoinArgs, plan: &Plan, missing: &[Right]) -> Outcome {
    let (account, profile, grants) = match &plan.access {
        How::Own(_) => (None, None, Vec::new()),
        How::Account(account, _) if account.given => (Some(account.shown()), None, Vec::new()),
        How::Account(account, profile) => {
            (Some(account.shown()), Some(profile.name()), account::granted(profile))
        }
    };
    if let Some(format) = arguments.output.output {
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        let facts = json!({
            "name": plan.name, "alias": plan.alias, "endpoint": plan.endpoint, "uid": plan.identity.uid,
            "version": plan.identity.version, "account": account, "profile": profile, "grants": grants,
            "made": plan.make.iter().map(brief).collect::<Vec<_>>(), "missing": missing, "dryRun": arguments.dry_run,
        });
        return environment.streams.print(&write(format, &facts)?);
    }
    let (verb, end) =
        if arguments.dry_run { ("would join", "; nothing was written") } else { ("joined", "") };
    let alias = plan.alias.as_ref().map(|alias| format!(" ({alias})")).unwrap_or_default();
    let mut lines = vec![format!(
        "managedcluster {}{alias} {verb}: {}, Kubernetes {}{end}",
        plan.name, plan.endpoint, plan.identity.version
    )];
    match (&account, grants.is_empty()) {
        (None, _) => lines.push("the hub keeps the kubeconfig's own credentials".to_owned()),
        (Some(account), true) => {
            lines.push(format!("the hub comes as {account}, with the rights that it has"))
        }
        (Some(account), false) => {
            lines.push(format!("the hub comes as {account}, which may"));
            lines.extend(grants.into_iter().map(|grant| format!("  - {grant}")));
        }
    }
    if !missing.is_empty() {
        lines.push(format!("it may not, and what needs it will fail there: {}", list(missing)));
    }
    environment.streams.print(&(lines.join("\n") + "\n"))
}

fn brief(object: &Value) -> Value {
    let at = |path: &str| object.pointer(path).cloned().unwrap_or_default();
    json!({ "kind": at("/kind"), "namespace": at("/metadata/namespace"), "name": at("/metadata/name") })
}

fn list(rights: &[Right]) -> String {
    rights.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn unmet_list(needs: &[Need]) -> String {
    let one = |need: &Need| match need.or_all.is_empty() {
        true => need.right.to_string(),
        false => format!("{} (or hold everything that is granted)", need.right),
    };
    needs.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn is_loopback(endpoint: &str) -> bool {
    let host = endpoint.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    let Some(host) = host else { return false };
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
