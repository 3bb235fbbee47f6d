//! Whether accounts may read what an Application refers to on the hub.
//!
//! Referenced objects come from a cache that the controller's own account fills. Where an Application is bound to an
//! account, the hub's API server is asked whether that account may read each reference (`SubjectAccessReview`), before
//! anything is said about what was found.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use fleet_members::Account;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use tokio::time::Instant;

use crate::Problem;
use crate::context::{AppKey, Context, lock};
use crate::hub::Input;
use crate::hub::tenancy;

/// What is refused for want of a right on the hub.
pub(crate) const NOT_READABLE: &str = "NotReadable";
/// So long an answer is taken for true. Rights have no watch: what was refused is asked again after this time.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(15);
/// How many answers are kept.
const KEPT: usize = 4096;

/// Who asks for what: the account, the group and resource, the namespace, the name.
type Question = (Account, (String, String), String, String);

/// Answers of the hub's authorizer, for a short time.
#[derive(Default)]
pub(crate) struct Answers(Mutex<BTreeMap<Question, (bool, Instant)>>);

impl Answers {
    fn get(&self, question: &Question) -> Option<bool> {
        lock(&self.0).get(question).filter(|(_, at)| at.elapsed() < REMEMBERED).map(|(allowed, _)| *allowed)
    }

    fn put(&self, question: Question, allowed: bool) {
        let mut answers = lock(&self.0);
        if answers.len() >= KEPT {
            answers.retain(|_, (_, at)| at.elapsed() < REMEMBERED);
        }
        if answers.len() < KEPT {
            answers.insert(question, (allowed, Instant::now()));
        }
    }
}

/// Refuses references that the Application's accounts may not read. Without an account, everything that the controller
/// may read is open, or where members are closed to namespaces, the Application's own namespace.
///
/// # Errors
/// The first that is refused, by account and right.
pub(crate) async fn check<'a>(
    ctx: &Context,
    app: &AppKey,
    named: Option<&str>,
    used: impl Iterator<Item = &'a Input>,
) -> Result<(), Problem> {
    let accounts = tenancy::readers(ctx, app, named);
    let closed = accounts.is_empty() && tenancy::is_closed(ctx);
    if accounts.is_empty() && !closed {
        return Ok(());
    }
    for input in used {
        let Input::Object(api_version, kind, namespace, name) = input else { continue };
        // The definition of a kind is looked for where the kind isn't known; nothing of it is delivered.
        if namespace.is_empty() {
            continue;
        }
        let (resource, namespaced) = ctx.hub.referenced.resource_of(api_version, kind);
        if closed && (*namespace != app.0 || !namespaced) {
            let what =
                if namespaced { format!("{kind} {namespace}/{name}") } else { format!("{kind} {name}") };
            let message = format!(
                "namespace {} may refer to objects of its own only, as ClusterAccessPolicy default says Deny; {what} isn't one: copy it there, or name a ServiceAccount that may read it (annotation {})",
                app.0,
                fleet_api::names::SERVICE_ACCOUNT
            );
            return Err(Problem::awaited(NOT_READABLE, message));
        }
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let place = if namespaced { namespace.as_str() } else { "" };
        for account in &accounts {
            let question =
                (account.clone(), (group.to_owned(), resource.clone()), place.to_owned(), name.clone());
            if !allowed(ctx, question).await? {
                let (verb, what) = match name.as_str() {
                    "" => ("list", resource.clone()),
                    name => ("get", format!("{resource} {name:?}")),
                };
                let scope = if namespaced { format!(" in namespace {namespace}") } else { String::new() };
                let message = format!(
                    "{account} may not {verb} {what}{scope} on the hub, so the Application can't deliver it; grant it that right there (kubectl create rolebinding), or refer to something else"
                );
                return Err(Problem::awaited(NOT_READABLE, message));
            }
        }
    }
    Ok(())
}

async fn allowed(ctx: &Context, question: Question) -> Result<bool, Problem> {
    if let Some(known) = ctx.hub.answers.get(&question) {
        return Ok(known);
    }
    let (account, (group, resource), namespace, name) = &question;
    let mut groups = account.groups().to_vec();
    groups.push("system:authenticated".to_owned());
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(account.user()),
            groups: Some(groups),
            resource_attributes: Some(ResourceAttributes {
                verb: Some(if name.is_empty() { "list" } else { "get" }.to_owned()),
                group: Some(group.clone()),
                resource: Some(resource.clone()),
                namespace: Some(namespace.clone()).filter(|namespace| !namespace.is_empty()),
                name: Some(name.clone()).filter(|name| !name.is_empty()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let unknown = |why: String| {
        let message = format!(
            "whether {account} may read {resource} on the hub can't be found out: {why}; the controller needs the right to create subjectaccessreviews.authorization.k8s.io"
        );
        Problem::awaited(NOT_READABLE, message)
    };
    let api: Api<SubjectAccessReview> = Api::all(ctx.hub.client.clone());
    let params = PostParams::default();
    let asked = api.create(&params, &review).await;
    let answer = asked.map_err(|error| unknown(fleet_members::innermost(&error)))?;
    let allowed = answer.status.is_some_and(|status| status.allowed);
    ctx.hub.answers.put(question, allowed);
    Ok(allowed)
}
