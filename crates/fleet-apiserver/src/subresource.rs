//! What stands behind an object's name: status, scale, and the rest.

pub(crate) mod pod;
pub(crate) mod review;
mod scale;

use http::Response;

use crate::authentication::token;
use crate::dispatch::Call;
use crate::encode::Body;
use crate::status::ApiError;
use crate::verbs;

/// Answers a request for a subresource.
pub(crate) async fn answer(call: &mut Call<'_>, verb: &str) -> Result<Response<Body>, ApiError> {
    let name = call.path.subresource.clone();
    let kind = call.kind.clone();
    let may_run = ["pods", "nodes", "services"].iter().any(|plural| kind.is("", plural));
    if let Some(refusal) = may_run.then(|| pod::no_process(call, &name)).flatten() {
        return Err(refusal);
    }
    let Some(sub) = kind.subresource(&name) else { return Err(ApiError::no_such_path()) };
    if !sub.verbs.iter().any(|one| one == verb) {
        return Err(ApiError::method_not_allowed(kind.group(), &kind.plural));
    }
    match (name.as_str(), verb) {
        ("scale", _) => Box::pin(scale::answer(call, verb)).await,
        ("eviction", _) => Box::pin(pod::evict(call)).await,
        ("binding", _) => Box::pin(pod::bind(call)).await,
        ("token", _) => token::request(call),
        // The rest has the object's own form: status, finalize, approval, resize, ephemeralcontainers.
        (_, "get") => verbs::get::get(call),
        ("finalize", "update") => Box::pin(verbs::update::put(call, "finalize")).await,
        (_, "update") => Box::pin(verbs::update::put(call, door(&name))).await,
        (_, "patch") => Box::pin(verbs::patch::patch_through(call, door(&name))).await,
        _ => Err(ApiError::method_not_allowed(kind.group(), &kind.plural)),
    }
}

/// Which part of the object a subresource writes to: the status, or the object itself.
fn door(name: &str) -> &'static str {
    match name {
        "status" => "status",
        "finalize" => "finalize",
        "approval" => "status",
        "resize" => "resize",
        _ => "ephemeralcontainers",
    }
}
