//! Tokens of ServiceAccounts: asked for by TokenRequest, shown with requests, looked up by TokenReview.
//!
//! See <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/> and
//! <https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/>. A token is good
//! for one cluster, until it expires or its ServiceAccount is deleted; nothing is kept of it.

use std::sync::Arc;

use fleet_store::Key;
use http::Response;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::claims::{Account, Claims, Kubernetes};
use crate::cluster::Cluster;
use crate::dispatch::Call;
use crate::encode::{self, Body};
use crate::identity::Identity;
use crate::object::time;
use crate::request::body;
use crate::server::Inner;
use crate::status::{ApiError, Cause};
use crate::subresource::review::user_info;

const KIND: &str = "TokenRequest";
const GROUP: &str = "authentication.k8s.io";
/// For how long a token is good where nothing is said, and the least that may be asked for (seconds).
const LASTS: i64 = 3600;
const SHORTEST: i64 = 600;
const LONGEST: i64 = 1 << 32;
/// How far the clocks of who signs and who reads may be apart.
const LEEWAY: i64 = 10;

/// Why a token isn't taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the token was not issued by this server for this cluster, or its signing key was replaced")]
    Foreign,
    #[error("the token expired at {0}: ask for a new one (kubectl create token)")]
    Expired(String),
    #[error("the token is not good before {0}: the clocks differ")]
    Early(String),
    #[error("the token is for the audiences {token:?}, not for {wanted:?}")]
    Audience { token: Vec<String>, wanted: Vec<String> },
    #[error("the ServiceAccount {0} of the token was deleted or made anew")]
    Gone(String),
}

/// Whom a token names.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) identity: Identity,
    /// The asked-for audiences that the token is for.
    pub(crate) audiences: Vec<String>,
}

/// Who issues a cluster's tokens; also the audience that its API server is.
pub(crate) fn issuer(cluster: &Cluster) -> String {
    format!("https://kubernetes.default.svc/clusters/{}", cluster.name)
}

/// Whom a token speaks for: signature, time, audience, and whether the account is still the same.
pub(crate) fn identify(
    server: &Inner,
    cluster: &Cluster,
    token: &str,
    audiences: &[String],
) -> Result<Known, Refused> {
    let key = server.token_key().map_err(|_| Refused::Foreign)?;
    let claims = Claims::read(token, key).ok_or(Refused::Foreign)?;
    if claims.iss != issuer(cluster) {
        return Err(Refused::Foreign);
    }
    let now = server.now().as_second();
    if claims.exp <= now {
        return Err(Refused::Expired(moment(claims.exp)));
    }
    if claims.nbf > now + LEEWAY {
        return Err(Refused::Early(moment(claims.nbf)));
    }
    let common: Vec<String> = audiences.iter().filter(|one| claims.aud.contains(one)).cloned().collect();
    if common.is_empty() {
        return Err(Refused::Audience { token: claims.aud, wanted: audiences.to_vec() });
    }
    let (namespace, account) = (&claims.kubernetes.namespace, &claims.kubernetes.serviceaccount);
    let there = account_of(server, cluster, namespace, &account.name);
    if !there.is_some_and(|there| there.uid == account.uid && there.deletion_timestamp.is_none()) {
        return Err(Refused::Gone(format!("{namespace}/{}", account.name)));
    }
    let mut identity = Identity::account(namespace, &account.name);
    identity.uid.clone_from(&account.uid);
    let credential = vec![format!("JTI={}", claims.jti)];
    identity.extra.insert("authentication.kubernetes.io/credential-id".to_owned(), credential);
    Ok(Known { identity, audiences: common })
}

fn moment(second: i64) -> String {
    Timestamp::from_second(second).map(time).unwrap_or_default()
}

#[derive(Deserialize)]
struct Stored {
    metadata: StoredMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredMeta {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    deletion_timestamp: Option<String>,
}

fn account_of(server: &Inner, cluster: &Cluster, namespace: &str, name: &str) -> Option<StoredMeta> {
    let key = Key {
        cluster: Arc::clone(&cluster.name),
        resource: "serviceaccounts".into(),
        namespace: namespace.into(),
        name: name.into(),
    };
    let entry = server.store.get(&key)?;
    serde_json::from_slice::<Stored>(&entry.value).ok().map(|stored| stored.metadata)
}

/// Answers a TokenRequest for the ServiceAccount that the path names.
///
/// # Errors
/// 404 without such an account, 422 for a request that can't be met.
pub(crate) fn request(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let cluster = call.one_cluster()?;
    let (namespace, name) = (call.path.namespace.as_str(), call.path.name.as_str());
    let asked = body::decode(&call.body, body::syntax(&call.headers)?)?.value;
    let kind = asked.get("kind").and_then(Value::as_str).unwrap_or(KIND);
    if kind != KIND {
        return Err(ApiError::bad_request(format!("{kind} can't be posted here: send a {KIND}")));
    }
    let invalid = |field: &str, why: String| {
        let cause = Cause::field("FieldValueInvalid", field, why);
        ApiError::invalid(GROUP, KIND, "", vec![cause])
    };
    if asked.pointer("/spec/boundObjectRef").is_some_and(|bound| !bound.is_null()) {
        let why = "Forbidden: tokens that end with a Pod, Node or Secret aren't issued here; leave it out";
        return Err(invalid("spec.boundObjectRef", why.to_owned()));
    }
    let seconds = match asked.pointer("/spec/expirationSeconds") {
        None | Some(Value::Null) => LASTS,
        Some(given) => match given.as_i64() {
            Some(seconds @ SHORTEST..=LONGEST) => seconds,
            Some(seconds) if seconds < SHORTEST => {
                let why =
                    format!("Invalid value: {seconds}: may not specify a duration less than 10 minutes");
                return Err(invalid("spec.expirationSeconds", why));
            }
            _ => {
                let why =
                    format!("Invalid value: {given}: may not specify a duration larger than 2^32 seconds");
                return Err(invalid("spec.expirationSeconds", why));
            }
        },
    };
    let audiences = audiences(&asked).unwrap_or_else(|| vec![issuer(cluster)]);
    let account = account_of(call.server, cluster, namespace, name).ok_or_else(|| call.not_found(name))?;
    let now = call.server.now().as_second();
    let expires = now.saturating_add(seconds);
    let claims = Claims {
        aud: audiences.clone(),
        exp: expires,
        iat: now,
        iss: issuer(cluster),
        jti: call.server.random.uid(),
        kubernetes: Kubernetes {
            namespace: namespace.to_owned(),
            serviceaccount: Account { name: name.to_owned(), uid: account.uid },
        },
        nbf: now,
        sub: format!("{}{namespace}:{name}", Identity::ACCOUNT_PREFIX),
    };
    let dry_run = call.query.dry_run()?;
    let token = match dry_run {
        true => String::new(),
        false => call.server.token_key().and_then(|key| claims.sign(key)).map_err(ApiError::internal)?,
    };
    let answer = json!({
        "kind": KIND,
        "apiVersion": format!("{GROUP}/v1"),
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": moment(now)},
        "spec": {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": null},
        "status": {"token": token, "expirationTimestamp": moment(expires)},
    });
    Ok(encode::json(201, &answer))
}

/// `spec.audiences`, where there are any.
fn audiences(object: &Value) -> Option<Vec<String>> {
    let list = object.pointer("/spec/audiences")?.as_array()?;
    let list: Vec<String> = list.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    (!list.is_empty()).then_some(list)
}

/// The status of a TokenReview.
///
/// # Errors
/// 400 where no token is shown.
pub(crate) fn review(call: &Call<'_>, cluster: &Cluster, object: &Value) -> Result<Value, ApiError> {
    let token = object.pointer("/spec/token").and_then(Value::as_str).unwrap_or_default();
    if token.is_empty() {
        return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
    }
    let wanted = audiences(object).unwrap_or_else(|| vec![issuer(cluster)]);
    Ok(match identify(call.server, cluster, token, &wanted) {
        Ok(known) => json!({
            "authenticated": true, "user": user_info(&known.identity), "audiences": known.audiences,
        }),
        Err(refused) => json!({"authenticated": false, "user": {}, "error": refused.to_string()}),
    })
}
