//! Request bodies: JSON and YAML, read within limits.

use bytes::Bytes;
use fleet_json::FieldPath;
use http::HeaderMap;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use crate::protobuf;
use crate::status::ApiError;

/// The largest body that is read; the limit of a real API server.
pub(crate) const LIMIT: usize = 3 * 1024 * 1024;

/// The deepest nesting that is read.
const DEPTH: usize = fleet_json::MAX_DEPTH;

/// A body read into a tree.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) value: Value,
    /// Paths of keys that stood there twice; the last one counted.
    pub(crate) duplicates: Vec<FieldPath>,
}

/// The syntax of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodySyntax {
    Json,
    Yaml,
    /// Built-in kinds only.
    Protobuf,
}

/// Reads the body to its end.
///
/// # Errors
/// 413 beyond [`LIMIT`], 400 where the connection breaks.
pub(crate) async fn read<B>(body: B) -> Result<Bytes, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::too_large(LIMIT)),
        Err(error) => Err(ApiError::bad_request(format!("the body could not be read: {error}"))),
    }
}

/// The media type without parameters, lower-cased; empty where none is given.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(';').next())
        .map(|text| text.trim().to_ascii_lowercase())
        .unwrap_or_default()
}

/// How an object in a body is written.
///
/// # Errors
/// 415 for what is unknown.
pub(crate) fn syntax(headers: &HeaderMap) -> Result<BodySyntax, ApiError> {
    match media_type(headers).as_str() {
        "" | "application/json" | "*/*" => Ok(BodySyntax::Json),
        "application/yaml" | "application/x-yaml" => Ok(BodySyntax::Yaml),
        protobuf::MEDIA_TYPE => Ok(BodySyntax::Protobuf),
        other => Err(unsupported(other)),
    }
}

fn unsupported(media_type: &str) -> ApiError {
    let accepted = format!("application/json, application/yaml, {} (built-in kinds)", protobuf::MEDIA_TYPE);
    ApiError::unsupported_media_type(media_type, &accepted)
}

/// Reads a tree from a body.
///
/// # Errors
/// 400 with the line and column where it isn't JSON or YAML, or is nested too deeply.
pub(crate) fn decode(bytes: &[u8], syntax: BodySyntax) -> Result<Decoded, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ApiError::bad_request("EOF: the body is empty"));
    }
    match syntax {
        BodySyntax::Json => json(bytes),
        BodySyntax::Yaml => yaml(bytes),
        BodySyntax::Protobuf => protobuf::decode(bytes)
            .map(|value| Decoded { value, duplicates: Vec::new() })
            .map_err(|why| ApiError::bad_request(format!("the body isn't an object in protobuf: {why}"))),
    }
}

fn json(bytes: &[u8]) -> Result<Decoded, ApiError> {
    let decoded = fleet_json::parse_json(bytes, DEPTH).map_err(|error| {
        ApiError::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
    })?;
    Ok(Decoded { value: decoded.value, duplicates: decoded.duplicates })
}

fn yaml(bytes: &[u8]) -> Result<Decoded, ApiError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| ApiError::bad_request(format!("the body is not UTF-8: {error}")))?;
    // A JSON text is a YAML text, and clients send JSON under the YAML type: the strict parser is quicker.
    if text.trim_start().starts_with('{') {
        return json(bytes);
    }
    let options = serde_saphyr::options! {
        strict_booleans: true,
        budget: serde_saphyr::budget! { max_depth: DEPTH, max_nodes: 250_000, max_anchors: 1_000 },
    };
    serde_saphyr::from_str_with_options(text, options)
        .map(|value| Decoded { value, duplicates: Vec::new() })
        .map_err(|error| ApiError::bad_request(format!("yaml: {error}")))
}
