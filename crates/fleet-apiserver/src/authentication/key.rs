//! The key that signs tokens: ECDSA P-256, as `ES256` in RFC 7518.

use std::sync::Arc;

use rcgen::KeyPair as Generated;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};

/// Why there is no key.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no key to sign tokens with: {0}")]
pub struct KeyError(String);

/// Signs the tokens of ServiceAccounts, and knows its own signatures. Clones share the key.
#[derive(Clone)]
pub struct TokenKey {
    pair: Arc<EcdsaKeyPair>,
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKey").finish_non_exhaustive()
    }
}

impl TokenKey {
    /// A new key; tokens signed with it are good as long as it is kept.
    ///
    /// # Errors
    /// [`KeyError`] where there is no randomness to be had.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = Generated::generate().map_err(|error| KeyError(error.to_string()))?;
        Self::of(&pair)
    }

    /// The key in a PEM text (PKCS#8), as [`crate::pki::Authority`] keeps it.
    pub(crate) fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let pair = Generated::from_pem(pem).map_err(|error| KeyError(error.to_string()))?;
        Self::of(&pair)
    }

    pub(crate) fn of(pair: &Generated) -> Result<Self, KeyError> {
        let der = pair.serialize_der();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &SystemRandom::new());
        Ok(Self { pair: Arc::new(pair.map_err(|error| KeyError(error.to_string()))?) })
    }

    pub(super) fn sign(&self, text: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.pair.sign(&SystemRandom::new(), text);
        Ok(signature.map_err(|_| KeyError("signing failed".to_owned()))?.as_ref().to_vec())
    }

    pub(super) fn has_signed(&self, text: &[u8], signature: &[u8]) -> bool {
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key());
        public.verify(text, signature).is_ok()
    }
}
