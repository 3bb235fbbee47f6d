//! What a token says, and its form: a JSON Web Token (RFC 7519) signed by ES256.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{KeyError, TokenKey};

/// Tokens of ours are far shorter.
const LONGEST: usize = 16 * 1024;

/// The claims that Kubernetes puts into the tokens of ServiceAccounts. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) aud: Vec<String>,
    pub(super) exp: i64,
    pub(super) iat: i64,
    pub(super) iss: String,
    pub(super) jti: String,
    #[serde(rename = "kubernetes.io")]
    pub(super) kubernetes: Kubernetes,
    pub(super) nbf: i64,
    pub(super) sub: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kubernetes {
    pub(super) namespace: String,
    pub(super) serviceaccount: Account,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    typ: String,
}

impl Claims {
    /// The token that carries them.
    pub(super) fn sign(&self, key: &TokenKey) -> Result<String, KeyError> {
        let part = |json: serde_json::Result<Vec<u8>>| URL_SAFE_NO_PAD.encode(json.unwrap_or_default());
        let header = Header { alg: "ES256".to_owned(), typ: "JWT".to_owned() };
        let signed = format!("{}.{}", part(serde_json::to_vec(&header)), part(serde_json::to_vec(self)));
        let signature = key.sign(signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// What a token says, if the key has signed it.
    pub(super) fn read(token: &str, key: &TokenKey) -> Option<Self> {
        if token.len() > LONGEST {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        // The one way of signing that is known here, whatever the token would like.
        let header: Header = serde_json::from_slice(&bytes(header)?).ok()?;
        if header.alg != "ES256" || !key.has_signed(signed.as_bytes(), &bytes(signature)?) {
            return None;
        }
        serde_json::from_slice(&bytes(claims)?).ok()
    }
}
