//! Data kept inside an object in compressed form, so that the object stays below what etcd takes.

use std::io::{Read as _, Write as _};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The most that unpacking may yield, in bytes: a bound against hostile input.
const UNPACKED_LIMIT: u64 = 256 * 1024 * 1024;

/// A compressor has tables of 300 KiB: made and thrown away for each object, they cost more than compressing it.
static ENCODER: Mutex<Option<DeflateEncoder<Vec<u8>>>> = Mutex::new(None);

/// JSON, deflated (RFC 1951) and written as base64 (RFC 4648).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Packed {
    /// How the data is compressed; always `deflate`.
    #[serde(rename = "type")]
    pub type_: String,
    /// The compressed data in base64.
    pub data: String,
}

/// Why data can't be packed or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum PackedError {
    /// The compression isn't one we know.
    #[error("compression type {0:?} isn't known; this object was written by a newer version, or by hand")]
    UnknownType(String),
    /// The text isn't base64.
    #[error("the packed data isn't base64")]
    Base64(#[from] base64::DecodeError),
    /// The bytes aren't a whole deflate stream, or unpack to too much.
    #[error("the packed data can't be decompressed")]
    Deflate(#[from] std::io::Error),
    /// The content isn't of the type that is asked for.
    #[error("the packed data isn't what it should be")]
    Json(#[from] serde_json::Error),
}

impl Packed {
    /// Packs a value. The same value always gives the same text.
    ///
    /// # Errors
    /// Where the value can't be written as JSON.
    pub fn pack<T: Serialize>(value: &T) -> Result<Self, PackedError> {
        let json = serde_json::to_vec(value)?;
        let mut kept = ENCODER.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out while it is in use: one that failed half-way isn't used again.
        let mut encoder =
            kept.take().unwrap_or_else(|| DeflateEncoder::new(Vec::new(), Compression::default()));
        encoder.write_all(&json)?;
        let bytes = encoder.reset(Vec::new())?;
        *kept = Some(encoder);
        drop(kept);
        Ok(Self { type_: "deflate".to_owned(), data: STANDARD.encode(bytes) })
    }

    /// Unpacks a value.
    ///
    /// # Errors
    /// Where the data isn't what [`Packed::pack`] writes.
    pub fn unpack<T: DeserializeOwned>(&self) -> Result<T, PackedError> {
        if self.type_ != "deflate" {
            return Err(PackedError::UnknownType(self.type_.clone()));
        }
        let bytes = STANDARD.decode(&self.data)?;
        let mut json = Vec::new();
        DeflateDecoder::new(bytes.as_slice()).take(UNPACKED_LIMIT).read_to_end(&mut json)?;
        Ok(serde_json::from_slice(&json)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back_and_shrinks() {
        let value: Vec<String> =
            (0..1000).map(|n| format!("apps/v1 Deployment demo/web-{}", n % 7)).collect();
        let packed = Packed::pack(&value).unwrap();
        assert!(packed.data.len() < 2_000, "{} bytes", packed.data.len());
        assert_eq!(packed.unpack::<Vec<String>>().unwrap(), value);
    }

    /// The compressor is shared: were anything left in it, the same content would have two texts, and an inventory
    /// that didn't change would be written again.
    #[test]
    fn what_was_packed_before_leaves_no_trace() {
        let value = vec!["apps/v1 Deployment demo/web"; 50];
        let first = Packed::pack(&value).unwrap();
        let other: Vec<u32> = (0..5000).collect();
        assert_eq!(Packed::pack(&other).unwrap().unpack::<Vec<u32>>().unwrap(), other);
        assert_eq!(Packed::pack(&value).unwrap(), first);
        assert_eq!(first.unpack::<Vec<String>>().unwrap(), value);
    }

    #[test]
    fn damaged_data_is_an_error_and_no_panic() {
        let mut packed = Packed::pack(&vec!["x"; 100]).unwrap();
        packed.data.truncate(8);
        assert!(packed.unpack::<Vec<String>>().is_err());
        packed.type_ = "lz77".into();
        assert!(matches!(packed.unpack::<Vec<String>>(), Err(PackedError::UnknownType(_))));
    }
}
