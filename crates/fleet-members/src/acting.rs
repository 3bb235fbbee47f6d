//! Writing to a member as somebody else: requests under a ServiceAccount's name and rights.
//!
//! The member's own account asks to impersonate (`Impersonate-User`); the API server there adds the groups of
//! ServiceAccounts by itself and judges the request by that account's rights. What is watched and compared stays with
//! the member's own account. <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation>

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use fleet_api::ObjectId;
use http::header::HeaderValue;
use kube::Resource as _;
use kube::api::{Api, DeleteParams, DynamicObject, PartialObjectMeta, Patch, PatchParams, Preconditions};
use kube::core::params::GetParams;
use kube::core::{ObjectMeta, Request};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::observe::{Sight, had};
use crate::{Conflict, Live, Member, MemberError};

/// A ServiceAccount by namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Account {
    /// The namespace, the same on every cluster.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Account {
    /// The user that it is to an API server.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }

    /// The groups that it is in, without those that everybody is in.
    pub fn groups(&self) -> [String; 2] {
        ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{}", self.namespace)]
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceAccount {}/{}", self.namespace, self.name)
    }
}

/// A member, with the account as which it is written to. Everything else is the member's.
#[derive(Clone)]
pub struct Acting {
    member: Arc<Member>,
    account: Option<Account>,
}

impl Deref for Acting {
    type Target = Arc<Member>;

    fn deref(&self) -> &Arc<Member> {
        &self.member
    }
}

type Written = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

impl Acting {
    /// Acts on a member as an account; as the member's own where none is given.
    pub fn new(member: Arc<Member>, account: Option<Account>) -> Self {
        Self { member, account }
    }

    /// The account, where it isn't the member's own.
    pub fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// As [`Member::apply`].
    ///
    /// # Errors
    /// As there; a refusal names the account and the right that it lacks.
    pub async fn apply(
        &self,
        id: &ObjectId,
        object: &Value,
        manager: &str,
        force: bool,
    ) -> Result<Live, MemberError> {
        let Some(account) = &self.account else {
            return self.member.apply(id, object, manager, force).await;
        };
        self.member.may_write()?;
        let mut params = PatchParams::apply(manager);
        params.force = force;
        let request = self.at(id).await?.patch(&id.name, &params, &Patch::Apply(object));
        let applied = self.patch("apply", id, account, request).await;
        applied.map_err(|error| error.without_values(object))
    }

    /// As there, the answer is what a watch would bring.
    async fn patch(
        &self,
        what: &'static str,
        id: &ObjectId,
        account: &Account,
        request: Written,
    ) -> Result<Live, MemberError> {
        if self.member.by_metadata(&(id.api_version.clone(), id.kind.clone())) {
            self.patch_as::<PartialObjectMeta<DynamicObject>>(what, id, account, request).await
        } else {
            self.patch_as::<DynamicObject>(what, id, account, request).await
        }
    }

    async fn patch_as<K: Sight>(
        &self,
        what: &'static str,
        id: &ObjectId,
        account: &Account,
        request: Written,
    ) -> Result<Live, MemberError> {
        let era = self.member.observations.era(id);
        let answer: K = self.ask(what, id, account, request).await?;
        Ok(self.member.patched(id, era, answer))
    }

    /// As [`Member::metadata`].
    ///
    /// # Errors
    /// As there.
    pub async fn metadata(&self, id: &ObjectId) -> Result<Option<Live>, MemberError> {
        Ok(self.read_metadata(id).await?.as_ref().map(Live::of))
    }

    /// Whether a manager would own what it did when its fields hashed so ([`Live::managed`]), had others not taken those
    /// from it that are in conflict. Then no field is in conflict but such as it owned.
    ///
    /// # Errors
    /// Where the member doesn't answer or refuses.
    pub async fn has_lost(
        &self,
        id: &ObjectId,
        manager: &str,
        managed: u64,
        conflicts: &[Conflict],
    ) -> Result<bool, MemberError> {
        let fields: Vec<&str> = conflicts.iter().map(|conflict| conflict.field.as_str()).collect();
        let metadata = self.read_metadata(id).await?;
        Ok(metadata.is_some_and(|metadata| had(&metadata, manager, managed, &fields)))
    }

    async fn read_metadata(&self, id: &ObjectId) -> Result<Option<ObjectMeta>, MemberError> {
        let Some(account) = &self.account else { return self.member.read_metadata(id).await };
        let request = self.at(id).await?.get_metadata(&id.name, &GetParams::default());
        let found = self.ask::<PartialObjectMeta<DynamicObject>>("read", id, account, request).await;
        match found {
            Ok(object) => Ok(Some(object.metadata)),
            Err(MemberError::Refused { code: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// As [`Member::delete`].
    ///
    /// # Errors
    /// As there.
    pub async fn delete(&self, id: &ObjectId, seen: &Live) -> Result<(), MemberError> {
        let Some(account) = &self.account else { return self.member.delete(id, seen).await };
        self.member.may_write()?;
        let mut params = DeleteParams::background();
        params.preconditions = Some(Preconditions {
            uid: Some(seen.uid.clone()),
            resource_version: Some(seen.resource_version.clone()),
        });
        let request = self.at(id).await?.delete(&id.name, &params);
        match self.ask::<Value>("delete", id, account, request).await {
            Ok(_) | Err(MemberError::Refused { code: 404, .. }) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// As [`Member::give_up`].
    ///
    /// # Errors
    /// As there.
    pub async fn give_up(
        &self,
        id: &ObjectId,
        seen: &Live,
        manager: &str,
        labels: &Map<String, Value>,
    ) -> Result<(), MemberError> {
        let Some(account) = &self.account else {
            return self.member.give_up(id, seen, manager, labels).await;
        };
        self.member.may_write()?;
        let request = self.at(id).await?.get_metadata(&id.name, &GetParams::default());
        let found = self.ask::<PartialObjectMeta<DynamicObject>>("read", id, account, request).await;
        let object = match found {
            Ok(object) => object,
            Err(MemberError::Refused { code: 404, .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.member.still_as(id, Some(seen), &object.metadata)?;
        let patch = crate::member::without(object.metadata, manager, labels);
        let request = self.at(id).await?.patch(&id.name, &PatchParams::default(), &Patch::Merge(&patch));
        self.patch("release", id, account, request).await?;
        Ok(())
    }

    /// The API of an object's kind and namespace, for a watch of this one object: whoever watches begins anew by itself,
    /// so neither budget nor deadline is about it.
    ///
    /// # Errors
    /// Where the member doesn't have the kind, or can't be asked for it.
    pub async fn watched(&self, id: &ObjectId) -> Result<Api<DynamicObject>, MemberError> {
        let path = self.member.path(id).await?;
        let client = match &self.account {
            None => self.member.client(),
            Some(account) => impersonating(self.member.client(), account.user()),
        };
        Ok(if path.namespaced {
            Api::namespaced_with(client, &id.namespace, &path.resource)
        } else {
            Api::all_with(client, &path.resource)
        })
    }

    /// Requests for the kind and namespace of an object.
    async fn at(&self, id: &ObjectId) -> Result<Request, MemberError> {
        let path = self.member.path(id).await?;
        let namespace = path.namespaced.then_some(id.namespace.as_str());
        Ok(Request::new(DynamicObject::url_path(&path.resource, namespace)))
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        what: &'static str,
        id: &ObjectId,
        account: &Account,
        request: Written,
    ) -> Result<T, MemberError> {
        let refused = |message: String| MemberError::Refused {
            cluster: self.member.name().to_owned(),
            code: 400,
            reason: "BadRequest".to_owned(),
            message: format!("{what} {id} as {account}: {message}"),
        };
        let mut request = request.map_err(|error| refused(error.to_string()))?;
        let user = HeaderValue::from_str(&account.user()).map_err(|error| refused(error.to_string()))?;
        request.headers_mut().insert("Impersonate-User", user);
        let client = self.member.client();
        self.member.ask(what, id, async move { client.request(request).await }).await
    }
}

/// A client whose every request is somebody else's.
fn impersonating(client: kube::Client, user: String) -> kube::Client {
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |mut request: http::Request<kube::client::Body>| {
        let (client, user) = (client.clone(), HeaderValue::from_str(&user));
        async move {
            request.headers_mut().insert("Impersonate-User", user?);
            Ok::<_, tower::BoxError>(client.send(request).await?)
        }
    });
    kube::Client::new(service, namespace)
}
