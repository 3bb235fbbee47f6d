//! Collections, whole or page by page.

mod token;

use fleet_store::{Entry, Page, ReadError};
use http::Response;
use serde_json::{Map, Value, json};

use crate::dispatch::Call;
use crate::encode::{Body, json_bytes, to_bytes};
use crate::request::Form;
use crate::request::query::{VersionMatch, invalid_option};
use crate::selection::Selection;
use crate::status::ApiError;
use crate::view::View;
use token::Token;

/// Entries that a list shows, and how it can go on.
struct Found {
    entries: Vec<Entry>,
    revision: u64,
    next: Option<Token>,
    /// Unknown where a selector leaves objects out.
    remaining: Option<usize>,
}

pub(crate) fn list(call: &mut Call<'_>) -> Result<Response<Body>, ApiError> {
    let selection = Selection::of(call)?;
    let found = find(call, &selection)?;
    let view = View::of(call);
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".into(), json!(found.revision.to_string()));
    if let Some(next) = &found.next {
        metadata.insert("continue".into(), json!(next.encode()));
        if let Some(remaining) = found.remaining {
            metadata.insert("remainingItemCount".into(), json!(remaining));
        }
    }
    Ok(json_bytes(200, assemble(&view, &found.entries, Value::Object(metadata))))
}

fn assemble(view: &View, entries: &[Entry], metadata: Value) -> Vec<u8> {
    if view.accept.form == Form::Table {
        let objects: Vec<Value> =
            entries.iter().filter_map(|entry| view.value(&entry.key.cluster, &entry.value)).collect();
        return to_bytes(&view.table(&objects, metadata)).to_vec();
    }
    let (kind, api_version) = match view.accept.form {
        Form::Partial => {
            ("PartialObjectMetadataList".to_owned(), format!("meta.k8s.io/{}", view.accept.meta_version))
        }
        _ => (view.kind.list_kind.clone(), view.kind.api_version.clone()),
    };
    let size: usize = entries.iter().map(|entry| entry.value.len() + 1).sum();
    let mut bytes = Vec::with_capacity(size + 256);
    bytes.extend_from_slice(b"{\"kind\":");
    bytes.extend_from_slice(&to_bytes(&json!(kind)));
    bytes.extend_from_slice(b",\"apiVersion\":");
    bytes.extend_from_slice(&to_bytes(&json!(api_version)));
    bytes.extend_from_slice(b",\"metadata\":");
    bytes.extend_from_slice(&to_bytes(&metadata));
    bytes.extend_from_slice(b",\"items\":[");
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 {
            bytes.push(b',');
        }
        bytes.extend_from_slice(&view.object(&entry.key.cluster, &entry.value));
    }
    bytes.extend_from_slice(b"]}");
    bytes
}

/// Reads until the limit is filled with selected objects.
fn find(call: &Call<'_>, selection: &Selection) -> Result<Found, ApiError> {
    let limit = call.query.number("limit")?.filter(|limit| *limit > 0);
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let (mut page, inconsistent) = start(call, limit)?;
    let range = selection.range(call);
    let narrow = selection.is_everything();
    let mut found = Found { entries: Vec::new(), revision: 0, next: None, remaining: None };
    loop {
        let wanted = limit.map(|limit| limit - found.entries.len());
        page.limit = if narrow { wanted } else { wanted.map(|wanted| wanted.max(500)) };
        let listing =
            call.server.store.list(&range, page.clone()).map_err(|error| refuse(error, call, &page))?;
        if found.revision == 0 {
            found.revision = listing.revision;
        }
        // Later pages of this answer show the same moment as the first.
        page.at = Some(found.revision);
        let mut examined = 0;
        let total = listing.entries.len();
        for entry in listing.entries {
            examined += 1;
            page.after = Some((entry.key.namespace.clone(), entry.key.name.clone()));
            page.after_cluster = Some(entry.key.cluster.clone());
            if selection.matches(&entry.value) && visible(call, &entry) {
                found.entries.push(entry);
                if limit.is_some_and(|limit| found.entries.len() >= limit) {
                    break;
                }
            }
        }
        let full = limit.is_some_and(|limit| found.entries.len() >= limit);
        let left = total - examined + listing.remaining;
        if left == 0 && !listing.more {
            return Ok(found);
        }
        if full {
            found.remaining = narrow.then_some(left);
            found.next = Some(Token::after(&page, if inconsistent { 0 } else { found.revision }));
            return Ok(found);
        }
    }
}

fn visible(call: &Call<'_>, entry: &Entry) -> bool {
    call.cluster.is_some() || call.server.has_workloads(&entry.key.cluster)
}

/// Where the list starts and which moment it shows; and whether that was given up for a token grown old.
fn start(call: &Call<'_>, limit: Option<usize>) -> Result<(Page, bool), ApiError> {
    let version = call.query.resource_version()?;
    let matching = call.query.version_match()?;
    if call.query.flag("sendInitialEvents") {
        return Err(invalid_option(
            "sendInitialEvents",
            "Forbidden: sendInitialEvents is forbidden for list".into(),
        ));
    }
    if let Some(token) = call.query.get("continue") {
        if version.is_some_and(|version| version > 0) || matching.is_some() {
            let why = "specifying resource version is not allowed when using continue";
            return Err(ApiError::bad_request(why));
        }
        return Token::decode(token)?.page();
    }
    let current = call.server.store.revision();
    let at = match (version, matching) {
        (None, Some(_)) => {
            let why = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided";
            return Err(invalid_option("resourceVersionMatch", why.into()));
        }
        (Some(0), Some(VersionMatch::Exact)) => {
            let why = "Forbidden: resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"";
            return Err(invalid_option("resourceVersionMatch", why.into()));
        }
        (None | Some(0), _) => None,
        (Some(version), _) if version > current => {
            return Err(ApiError::too_large_resource_version(version, current));
        }
        (Some(version), Some(VersionMatch::Exact)) => Some(version),
        // Before there was a match, a limit asked for exactly that version.
        (Some(version), None) if limit.is_some() => Some(version),
        (Some(_), _) => None,
    };
    Ok((Page { at, ..Page::default() }, false))
}

fn refuse(error: ReadError, call: &Call<'_>, page: &Page) -> ApiError {
    match error {
        ReadError::Future { current } => {
            ApiError::too_large_resource_version(page.at.unwrap_or_default(), current)
        }
        ReadError::Expired { .. } if call.query.get("continue").is_some() => {
            ApiError::expired(TOO_OLD).with_continue(Token::after(page, 0).encode())
        }
        ReadError::Expired { oldest } => ApiError::expired(format!(
            "The resourceVersion for the provided list is too old: {} (the oldest is {oldest})",
            page.at.unwrap_or_default()
        )),
    }
}

const TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start a \
new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or \
deleted between the time the first chunk was returned and now may show up in the list.";
