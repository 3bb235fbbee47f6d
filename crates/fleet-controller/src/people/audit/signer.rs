//! The controller's key for the end of records: Ed25519 (RFC 8032).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fleet_api::{AuditHead, HeadSignature};
use fleet_json::ContentHash;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

/// What stands before the 32 bytes of an Ed25519 key in its SubjectPublicKeyInfo (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a key can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It isn't a PEM file of the kind that is asked for.
    #[error(
        "it holds no PEM block {0:?}; make a key with: openssl genpkey -algorithm ed25519 -out audit.key"
    )]
    NoPem(&'static str),
    /// It is another kind of key.
    #[error("it is no Ed25519 key; make one with: openssl genpkey -algorithm ed25519 -out audit.key")]
    NotEd25519,
}

/// Signs the end of records.
#[derive(Debug)]
pub struct Signer {
    pair: Ed25519KeyPair,
    id: String,
}

impl Signer {
    /// Reads a private key: PKCS#8 in PEM, as `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| KeyError::NoPem("PRIVATE KEY"))?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der())
            .map_err(|_| KeyError::NotEd25519)?;
        let id = key_id(pair.public_key().as_ref());
        Ok(Self { pair, id })
    }

    /// Puts a signature on the end of an Application's record.
    pub(crate) fn sign(&self, head: &mut AuditHead, namespace: &str, application: &str) {
        let signature = self.pair.sign(head.signed_text(namespace, application).as_bytes());
        head.signature = Some(HeadSignature { key: self.id.clone(), value: BASE64.encode(signature) });
    }
}

/// Whether this is a public key that records can be checked with, whatever they say.
///
/// # Errors
/// In words: what is wrong with it, and how it is written.
pub fn check_public_key(public_pem: &[u8]) -> Result<(), String> {
    public_key(public_pem).map(|_| ())
}

/// The raw key.
fn public_key(pem: &[u8]) -> Result<Vec<u8>, String> {
    let key = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| {
        "the key holds no PEM block \"PUBLIC KEY\"; write it with: openssl pkey -in audit.key -pubout"
            .to_owned()
    })?;
    let raw = key.strip_prefix(&SPKI_PREFIX[..]).filter(|raw| raw.len() == 32);
    raw.map(<[u8]>::to_vec).ok_or_else(|| KeyError::NotEd25519.to_string())
}

/// Checks the signature on the end of a record.
///
/// # Errors
/// In words: what is wrong with the key, that it is another one, or that the signature isn't of this end.
pub fn verify_head(
    public_pem: &[u8],
    head: &AuditHead,
    namespace: &str,
    application: &str,
) -> Result<(), String> {
    let raw = public_key(public_pem)?;
    let Some(signature) = &head.signature else {
        return Err(format!(
            "entry {} isn't signed: the controller had no key when it wrote it (--audit-key)",
            head.sequence
        ));
    };
    if signature.key != key_id(&raw) {
        return Err(format!(
            "entry {} is signed with key {}, and this key is {}",
            head.sequence,
            signature.key,
            key_id(&raw)
        ));
    }
    let value = BASE64.decode(&signature.value).unwrap_or_default();
    UnparsedPublicKey::new(&ED25519, &raw)
        .verify(head.signed_text(namespace, application).as_bytes(), &value)
        .map_err(|_| format!("the signature isn't of entry {} of {namespace}/{application}", head.sequence))
}

fn key_id(public: &[u8]) -> String {
    ContentHash::of_bytes(public).hex().chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key as `openssl genpkey` and `openssl pkey -pubout` write it.
    fn keys() -> (String, String) {
        let pem = |label: &str, der: &[u8]| {
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64.encode(der))
        };
        let private = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(private.as_ref()).unwrap();
        let public = [&SPKI_PREFIX[..], pair.public_key().as_ref()].concat();
        (pem("PRIVATE KEY", private.as_ref()), pem("PUBLIC KEY", &public))
    }

    /// Whoever can write the record can't write its end anew.
    #[test]
    fn only_the_key_signs_the_end() {
        let (private, public) = keys();
        let verify = |head: &AuditHead, name: &str| verify_head(public.as_bytes(), head, "demo", name);
        let signer = Signer::from_pem(private.as_bytes()).unwrap();
        let mut head = AuditHead { sequence: 7, hash: "ab".to_owned(), signature: None };
        assert!(verify(&head, "web").unwrap_err().contains("isn't signed"));
        signer.sign(&mut head, "demo", "web");
        assert_eq!(verify(&head, "web"), Ok(()));
        let forged = AuditHead { hash: "cd".to_owned(), ..head.clone() };
        assert!(verify(&forged, "web").is_err());
        assert!(verify(&head, "other").is_err());
        let (_, another) = keys();
        assert!(verify_head(another.as_bytes(), &head, "demo", "web").unwrap_err().contains("this key is"));
    }

    #[test]
    fn other_files_are_told() {
        assert!(matches!(Signer::from_pem(b"nothing").unwrap_err(), KeyError::NoPem(_)));
        assert!(matches!(Signer::from_pem(keys().1.as_bytes()).unwrap_err(), KeyError::NoPem(_)));
    }
}
