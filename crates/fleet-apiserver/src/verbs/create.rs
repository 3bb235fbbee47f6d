//! New objects.

use std::sync::Arc;

use fleet_store::Expect;
use http::Response;
use serde_json::Value;

use super::get::key;
use super::write::{self, check_place, own, prepare_new, read_object, stored_kind};
use crate::admission;
use crate::advice;
use crate::author;
use crate::dispatch::Call;
use crate::encode::{Body, json_bytes};
use crate::object::ObjectExt;
use crate::policy::{self, Review};
use crate::status::{ApiError, Cause};
use crate::subresource::{pod, review};
use crate::view::View;

/// How often a generated name is made anew when it is taken.
const TRIES: usize = 8;

pub(crate) async fn create(call: &mut Call<'_>) -> Result<Response<Body>, ApiError> {
    if review::is_review(&call.kind) {
        return review::answer(call);
    }
    if call.kind.is("", "bindings") {
        return pod::bind(call).await;
    }
    let object = read_object(call)?;
    if !object.meta_str("resourceVersion").is_empty() {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    create_object(call, object, false).await
}

/// Creates this object; `settled` where an apply has recorded its owners already.
pub(crate) async fn create_object(
    call: &mut Call<'_>,
    mut object: Value,
    settled: bool,
) -> Result<Response<Body>, ApiError> {
    check_place(call, &mut object)?;
    let kind = stored_kind(call);
    let generated = object.name().is_empty();
    if generated {
        generate_name(call, &mut object)?;
    }
    let owners = settled.then(|| object.take_meta("managedFields")).flatten();
    if !settled {
        object.take_meta("managedFields");
    }
    author::restore(call, None, &mut object);
    prepare_new(call, &kind, &mut object)?;
    match owners {
        Some(owners) => object.set_meta("managedFields", owners),
        None if settled => {}
        None => own(call, &kind, "", None, &mut object)?,
    }
    author::stamp(call, None, &mut object);
    policy::admit(call, &Review::create(&object))?;
    advice::advise(call, None, &object);
    let view = View::of(call);
    let cluster = Arc::clone(&call.one_cluster()?.name);
    if call.query.dry_run()? {
        let key = key(call, object.name())?;
        if call.server.store.get(&key).is_some() {
            return Err(ApiError::already_exists(call.kind.group(), &call.kind.plural, object.name()));
        }
        object.take_meta("resourceVersion");
        return Ok(json_bytes(201, view.single(&cluster, &crate::encode::to_bytes(&object))));
    }
    let mut tries = 0;
    let entry = loop {
        let key = key(call, object.name())?;
        match write::commit(call, key, Expect::Absent, &object).await {
            Err(error) if error.reason() == "AlreadyExists" && generated && tries < TRIES => {
                tries += 1;
                generate_name(call, &mut object)?;
            }
            other => break other?,
        }
    };
    let bytes = entry.value;
    let bytes = match admission::after_create(call, &kind, &object).await {
        // What follows from the object's being there may have changed it again.
        Some(changed) => changed,
        None => bytes,
    };
    Ok(json_bytes(201, view.single(&cluster, &bytes)))
}

fn generate_name(call: &Call<'_>, object: &mut Value) -> Result<(), ApiError> {
    let prefix = object.meta_str("generateName");
    if prefix.is_empty() {
        let why = "Required value: name or generateName is required";
        return Err(ApiError::invalid(
            call.kind.group(),
            call.kind.kind(),
            "",
            vec![Cause::field("FieldValueRequired", "metadata.name", why)],
        ));
    }
    // Five characters more must fit what a name may have.
    let prefix: String = prefix.chars().take(58).collect();
    let name = format!("{prefix}{}", call.server.random.suffix());
    object.set_meta("name", name);
    Ok(())
}
