//! `fleetctl cluster rotate` and `rejoin`: new credentials for a member, and a member that is another cluster now.

use std::path::Path;

use fleet_api::{ManagedCluster, names};
use fleet_members::{Credentials, CredentialsError, Identity as Shown};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;

use super::account::{self, Account};
use super::holdings::Holdings;
use super::kubeconfig::Way;
use super::look_after::plural;
use super::member::{self, Identity};
use super::naming::Claim;
use super::profile::{DELIVER, Profile};
use super::rights::Right;
use super::trouble::Door;
use super::{Hub, question, record};
use crate::access::Cluster;
use crate::args::{AdminArgs, RejoinArgs, RotateArgs};
use crate::environment::Environment;
use crate::exit::{Failure, Outcome};
use crate::roster::{Roster, label};

/// A way to a member with the rights of whoever asks, or else of the hub.
pub(crate) struct Admin {
    pub(crate) cluster: Cluster,
    pub(super) way: Option<Way>,
    shown: String,
}

impl Admin {
    /// The kubeconfig that was given, else the user's own context of the member's name, else the hub's credentials.
    ///
    /// # Errors
    /// Where none of them can be used.
    pub(crate) async fn find(
        hub: &Hub,
        member: &ManagedCluster,
        kubeconfig: Option<&Path>,
        context: Option<&str>,
    ) -> Outcome<Self> {
        let deadline = hub.cluster.deadline;
        if let Some(path) = kubeconfig {
            let way = Way::read(path, context, deadline).await?;
            return Ok(Self {
                cluster: way.cluster.clone(),
                shown: way.door().who.to_owned(),
                way: Some(way),
            });
        }
        let name = member.name_any();
        if hub.access.knows(&name, member.alias()) {
            let cluster = hub.access.member(&name, member.alias(), deadline).await?;
            let shown = format!("you, by your context {}", cluster.context);
            return Ok(Self { cluster, way: None, shown });
        }
        let (_, credentials) = record::stored(&hub.cluster, member, hub.called).await?;
        let client = credentials
            .client()
            .map_err(|error| Failure::failed(format!("the hub's credentials for {name}: {error}")))?;
        let cluster = Cluster::of_member(client, &name, &credentials.endpoint(), deadline);
        Ok(Self { cluster, way: None, shown: "the hub, by the credentials that it has".to_owned() })
    }

    /// Which cluster it leads to.
    pub(super) async fn identify(&self, environment: &Environment) -> Outcome<Identity> {
        let now = environment.now();
        if let Some(way) = &self.way {
            return member::identify(&self.cluster, &way.door(), now).await;
        }
        let door = Door {
            server: &self.cluster.server,
            who: &self.shown,
            authority: "the certificate authority on record",
            expires: None,
            renew: "give a kubeconfig of that cluster as KUBECONFIG",
        };
        member::identify(&self.cluster, &door, now).await
    }
}

pub(super) async fn rotate(environment: &Environment, hub: &Hub, arguments: &RotateArgs) -> Outcome {
    let roster = Roster::load(&hub.cluster).await?;
    let member = roster.find(&arguments.name)?;
    let name = member.name_any();
    let (secret, _) = record::stored(&hub.cluster, member, hub.called).await?;
    let hub_hash = names::hub_hash(&record::hub_uid(&hub.cluster).await?);
    let account = Account::recorded(member, &hub_hash);
    if account.is_none() && !arguments.keep_credentials {
        let (shown, called) = (label(member), hub.called);
        return Err(Failure::refused(format!(
            "member {shown} has no account that cluster join has made: give new credentials with {called} cluster rotate {name} KUBECONFIG --keep-credentials, or have an account made: {called} cluster join KUBECONFIG --name {name}"
        )));
    }
    let AdminArgs { kubeconfig, member_context } = &arguments.admin;
    let admin = Admin::find(hub, member, kubeconfig.as_deref(), member_context.as_deref()).await?;
    let identity = admin.identify(environment).await?;
    if let Some(recorded) = member.recorded_uid().filter(|recorded| *recorded != identity.uid) {
        return Err(Failure::refused(format!(
            "that is another cluster (UID {}) than member {} ({recorded}); where it was rebuilt: {} cluster rejoin {name} KUBECONFIG",
            identity.uid,
            label(member),
            hub.called
        )));
    }
    let renewed =
        Renewal { environment, hub, member, admin: &admin, secret, uid: &identity.uid, hub_hash: &hub_hash };
    match (arguments.keep_credentials, account) {
        (false, Some(account)) => {
            let token = format!("{}-{}", account.token_name(&hub_hash), environment.now().as_second());
            renewed.account(&account, &token).await?;
            let revoked = member::revoke(&admin.cluster, &hub_hash, &account, Some(&token)).await?;
            environment.streams.line(&format!(
                "managedcluster {} has new credentials; {} revoked",
                label(member),
                plural(revoked, "old token", "old tokens")
            ))
        }
        _ => {
            renewed.own().await?;
            environment.streams.line(&format!("managedcluster {} has new credentials", label(member)))
        }
    }
}

/// Credentials being replaced.
struct Renewal<'a> {
    environment: &'a Environment,
    hub: &'a Hub,
    member: &'a ManagedCluster,
    admin: &'a Admin,
    secret: Secret,
    uid: &'a str,
    hub_hash: &'a str,
}

impl Renewal<'_> {
    /// Issues a token, tries it, and puts it on the hub.
    async fn account(&self, account: &Account, token: &str) -> Outcome {
        let note = |text: &str| self.environment.streams.note(text);
        note(&format!("making a token for {}", account.shown()));
        let issued = member::issue(&self.admin.cluster, self.hub_hash, account, token).await?;
        let profile = Profile::recorded(self.member).unwrap_or(Profile::Cluster { rbac: false });
        let needs = account::expected(self.hub_hash, account, &profile);
        self.put(Shown::Token(issued.into()), &needs, !account.given).await
    }

    /// Puts the kubeconfig's own credentials on the hub.
    async fn own(&self) -> Outcome {
        let Some(way) = &self.admin.way else {
            return Err(Failure::usage(
                "--keep-credentials keeps those of a kubeconfig: give it as KUBECONFIG",
            ));
        };
        let needs: Vec<Right> = DELIVER.iter().map(|verb| Right::new(verb, "*", "*")).collect();
        self.put(member::own_identity(way)?, &needs, false).await
    }

    async fn put(&self, shown: Shown, needs: &[Right], patient: bool) -> Outcome {
        let note = |text: &str| self.environment.streams.note(text);
        let mut secret = self.secret.clone();
        let namespace = secret.namespace().unwrap_or_default();
        let old = secret.data.get_or_insert_default();
        let text = |key: &str| old.get(key).map(|value| String::from_utf8_lossy(&value.0).into_owned());
        // A kubeconfig at hand says what the authority is now; the address stays the one that the controller uses.
        let given = self.admin.way.as_ref().and_then(|way| way.authority.clone());
        let endpoint = text("endpoint").or_else(|| self.admin.way.as_ref().map(|way| way.server.clone()));
        let authority = given.or_else(|| text("ca.crt")).or_else(|| text("ca"));
        let wrong = |error: CredentialsError| Failure::failed(error.to_string());
        let made = Credentials::new(&endpoint.unwrap_or_default(), authority, shown).map_err(wrong)?;
        let made = made.named(text("tls-server-name"));
        let credentials = match text("proxy-url") {
            Some(proxy) => made.through_proxy(&proxy).map_err(wrong)?,
            None => made,
        };
        note(&format!("trying it at {}", credentials.endpoint()));
        let (deadline, now) = (self.hub.cluster.deadline, self.environment.now());
        let missing = member::verify(&credentials, self.uid, needs, patient, deadline, now).await?;
        if !missing.is_empty() {
            let all: Vec<String> = missing.iter().map(ToString::to_string).collect();
            note(&format!("warning: it may not, and what needs it will fail there: {}", all.join(", ")));
        }
        let new = credentials.secret(&namespace, &self.member.name_any());
        let data = new.data.unwrap_or_default();
        // Other people's keys stay, but none that would count instead of these.
        for key in ["token", "tls.crt", "tls.key", "exec", "ca", "ca.crt", "endpoint"] {
            old.remove(key);
        }
        old.extend(data.into_iter().map(|(key, value)| (key, ByteString(value.0))));
        secret.metadata.labels.get_or_insert_default().extend(new.metadata.labels.unwrap_or_default());
        record::put_secret(&self.hub.cluster, &secret).await
    }
}

pub(super) async fn rejoin(environment: &Environment, hub: &Hub, arguments: &RejoinArgs) -> Outcome {
    let roster = Roster::load(&hub.cluster).await?;
    let member = roster.find(&arguments.name)?;
    let name = member.name_any();
    let AdminArgs { kubeconfig, member_context } = &arguments.admin;
    let admin = match kubeconfig {
        Some(path) => Admin::find(hub, member, Some(path.as_path()), member_context.as_deref()).await?,
        // What counts is where the hub's credentials lead.
        None => {
            let (_, credentials) = record::stored(&hub.cluster, member, hub.called).await?;
            let client = credentials
                .client()
                .map_err(|error| Failure::failed(format!("the hub's credentials for {name}: {error}")))?;
            let cluster = Cluster::of_member(client, &name, &credentials.endpoint(), hub.cluster.deadline);
            Admin { cluster, way: None, shown: "the hub, by the credentials that it has".to_owned() }
        }
    };
    let identity = admin.identify(environment).await?;
    let warning = member::supported(&identity.version)?;
    let hub_uid = record::hub_uid(&hub.cluster).await?;
    let recorded = member.recorded_uid().unwrap_or_default().to_owned();
    if recorded == identity.uid && admin.way.is_none() {
        return environment.streams.line(&format!(
            "managedcluster {} is the cluster that joined; there is nothing to accept",
            label(member)
        ));
    }
    // Its own old identity is what is given up.
    let others: Vec<ManagedCluster> =
        roster.all().iter().filter(|other| other.name_any() != name).cloned().collect();
    let claim = Claim {
        name: &name,
        alias: member.alias(),
        uid: &identity.uid,
        hub_uid: &hub_uid,
        called: hub.called,
    };
    claim.judge(&Roster::new(others))?;
    let held = Holdings::load(&hub.cluster).await?.on(&name);
    let objects: usize = held.iter().map(super::holdings::Holding::objects).sum();
    let change = if recorded == identity.uid {
        "is the cluster that joined; its account will be made again.".to_owned()
    } else {
        format!("had the UID {recorded} and has {} now.", identity.uid)
    };
    let question = format!(
        "{} {change} {} of {} belong there and will be delivered again where they are missing. Go on?",
        label(member),
        plural(objects, "object", "objects"),
        plural(held.len(), "application", "applications"),
    );
    question::agree(environment, &question, arguments.yes).await?;
    if let Some(warning) = warning {
        environment.streams.note(&format!("warning: {warning}"));
    }
    if let Some(way) = &admin.way {
        let hub_hash = names::hub_hash(&hub_uid);
        let account = Account::recorded(member, &hub_hash);
        let secret = match record::stored(&hub.cluster, member, hub.called).await {
            Ok((secret, _)) => secret,
            Err(_) => {
                let mut secret = Secret::default();
                secret.metadata.name = Some(name.clone());
                secret.metadata.namespace = Some(names::SYSTEM_NAMESPACE.to_owned());
                secret
            }
        };
        let renewal = Renewal {
            environment,
            hub,
            member,
            admin: &admin,
            secret,
            uid: &identity.uid,
            hub_hash: &hub_hash,
        };
        match account {
            Some(account) => {
                let profile = Profile::recorded(member).unwrap_or(Profile::Cluster { rbac: false });
                let plan = super::join::prepare(way, &hub_hash, &account, &profile).await?;
                member::make(&way.cluster, &hub_hash, &plan).await?;
                renewal.account(&account, &account.token_name(&hub_hash)).await?;
            }
            None => renewal.own().await?,
        }
    }
    record::record_identity(&hub.cluster, member, &identity, environment.now()).await?;
    environment.streams.line(&format!("managedcluster {} rejoined (UID {})", label(member), identity.uid))
}
