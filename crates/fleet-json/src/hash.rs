//! Content hashes: SHA-256 over canonical JSON.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::path::sorted_entries;

/// The hash of a JSON value's content: SHA-256 of its canonical form, where keys are sorted by bytes and
/// no blanks stand between tokens. The same content has the same hash on every machine, however the map
/// that held it was ordered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The hash of anything that serializes to JSON.
    ///
    /// # Errors
    /// When it doesn't: a map with keys that are no strings, or a failing `Serialize`.
    pub fn of(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        serde_json::to_value(value).map(|value| Self::of_value(&value))
    }

    /// The hash of a JSON value.
    #[must_use]
    pub fn of_value(value: &Value) -> Self {
        let mut bytes = Vec::new();
        write_canonical(value, &mut bytes);
        Self::of_bytes(&bytes)
    }

    /// The hash of bytes as they are.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// All 64 hexadecimal digits, lower case.
    #[must_use]
    pub fn hex(&self) -> String {
        self.to_string()
    }

    /// The first 10 hexadecimal digits, for names and for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.0.iter().take(5).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The first 32 hexadecimal digits: what a person's decision is tied to, so that nobody can make two contents
    /// of one hash.
    #[must_use]
    pub fn long(&self) -> String {
        self.0.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({self})")
    }
}

/// A text that is no content hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no content hash: expected 64 hexadecimal digits")]
pub struct HashParseError {
    /// The text, cut short.
    pub text: String,
}

impl FromStr for ContentHash {
    type Err = HashParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || HashParseError { text: text.chars().take(80).collect() };
        if text.len() != 64 {
            return Err(fail());
        }
        let mut bytes = [0; 32];
        let digits: Option<Vec<u8>> =
            text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
        for (byte, pair) in bytes.iter_mut().zip(digits.ok_or_else(fail)?.chunks(2)) {
            *byte = pair.iter().fold(0, |sum, digit| sum << 4 | digit);
        }
        Ok(Self(bytes))
    }
}

impl Serialize for ContentHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A value's canonical JSON: keys sorted by bytes, no blanks.
#[must_use]
pub fn canonical_json(value: &Value) -> String {
    let mut bytes = Vec::new();
    write_canonical(value, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn write_canonical(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            bytes.push(b'[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    bytes.push(b',');
                }
                write_canonical(item, bytes);
            }
            bytes.push(b']');
        }
        Value::Object(map) => {
            bytes.push(b'{');
            for (position, (key, value)) in sorted_entries(map).into_iter().enumerate() {
                if position > 0 {
                    bytes.push(b',');
                }
                write_scalar(key, bytes);
                bytes.push(b':');
                write_canonical(value, bytes);
            }
            bytes.push(b'}');
        }
        scalar => write_scalar(scalar, bytes),
    }
}

/// Strings and scalars serialize to a buffer without fail.
fn write_scalar(value: &impl Serialize, bytes: &mut Vec<u8>) {
    let written = serde_json::to_writer(bytes, value);
    debug_assert!(written.is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A changed hash starts a run for every application, so the form is pinned.
    #[test]
    fn canonical_form_is_sorted_and_tight() {
        let value = json!({"b": [1, 2.5, null], "a": {"z": "é\n", "y": true}});
        assert_eq!(canonical_json(&value), r#"{"a":{"y":true,"z":"é\n"},"b":[1,2.5,null]}"#);
        assert_eq!(
            ContentHash::of_value(&json!({})).hex(),
            "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        );
        assert_eq!(ContentHash::of_value(&json!({})).short(), "44136fa355");
    }

    /// Stored hashes must be found again after reading them back.
    #[test]
    fn hash_is_read_back() {
        let hash = ContentHash::of(&json!([1])).unwrap();
        assert_eq!(hash.hex().parse::<ContentHash>().unwrap(), hash);
        assert_eq!(serde_json::from_value::<ContentHash>(json!(hash)).unwrap(), hash);
        assert!("abc".parse::<ContentHash>().is_err());
        assert!("é".repeat(32).parse::<ContentHash>().is_err());
        assert!("g".repeat(64).parse::<ContentHash>().is_err());
    }
}
