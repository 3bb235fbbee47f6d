//! One object.

use fleet_store::{Entry, Key};
use http::Response;

use crate::dispatch::Call;
use crate::encode::{Body, json_bytes};
use crate::status::ApiError;
use crate::view::View;

/// The store's key of the object that the path names.
pub(crate) fn key(call: &Call<'_>, name: &str) -> Result<Key, ApiError> {
    let cluster = call.one_cluster()?;
    Ok(Key {
        cluster: cluster.name.clone(),
        resource: call.kind.store_name.clone(),
        namespace: call.path.namespace.as_str().into(),
        name: name.into(),
    })
}

/// The object that the path names, as it is stored.
pub(crate) fn stored(call: &Call<'_>) -> Result<Entry, ApiError> {
    let key = key(call, &call.path.name)?;
    call.server.store.get(&key).ok_or_else(|| call.not_found(&call.path.name))
}

pub(crate) fn get(call: &mut Call<'_>) -> Result<Response<Body>, ApiError> {
    if let Some(wanted) = call.query.resource_version()? {
        let current = call.server.store.revision();
        if wanted > current {
            return Err(ApiError::too_large_resource_version(wanted, current));
        }
    }
    let entry = stored(call)?;
    Ok(json_bytes(200, View::of(call).single(&entry.key.cluster, &entry.value)))
}
