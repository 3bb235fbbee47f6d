//! A certificate with its key, and what is read out of or changed in a certificate's DER form.

use jiff::Timestamp;
use rcgen::{KeyPair, SigningKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::Certificate;
use x509_cert::der::asn1::{Any, BitString};
use x509_cert::der::pem::{LineEnding, encode_string};
use x509_cert::der::{Decode, Encode};

use super::{PkiError, subject};
use crate::identity::Identity;

/// A certificate and its private key, both in PEM form.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyedCertificate {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key (PKCS#8). Never log it.
    pub key_pem: String,
}

impl std::fmt::Debug for KeyedCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyedCertificate")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

/// What a client certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFacts {
    /// Whom it speaks for.
    pub identity: Identity,
    /// Its end.
    pub expires: Timestamp,
}

impl ClientFacts {
    /// Reads a certificate in PEM form; nothing where it is none, or names nobody.
    pub fn read(pem: &str) -> Option<Self> {
        let der = der_of(pem)?;
        let expires = i64::try_from(facts_of(&der)?.not_after).ok()?;
        Some(Self { identity: subject::identity_of(&der)?, expires: Timestamp::from_second(expires).ok()? })
    }
}

impl KeyedCertificate {
    /// Certificate chain and key as the TLS library wants them.
    ///
    /// # Errors
    /// [`PkiError::Tls`] if either isn't PEM.
    pub fn der(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), PkiError> {
        let refused =
            |error: rustls_pki_types::pem::Error| PkiError::Tls(rustls::Error::General(error.to_string()));
        let chain = CertificateDer::pem_slice_iter(self.certificate_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(refused)?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).map_err(refused)?;
        Ok((chain, key))
    }

    pub(super) fn belongs_together(&self) -> bool {
        let Ok(key) = KeyPair::from_pem(&self.key_pem) else { return false };
        der_of(&self.certificate_pem)
            .and_then(|der| facts_of(&der))
            .is_some_and(|facts| facts.public_key == key.public_key_raw())
    }
}

/// What the authority wants to know of its own certificate.
pub(super) struct Facts {
    pub(super) common_name: Option<String>,
    pub(super) public_key: Vec<u8>,
    /// Seconds since 1970.
    pub(super) not_after: u64,
}

pub(super) fn facts_of(certificate: &CertificateDer<'_>) -> Option<Facts> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let signed = certificate.tbs_certificate();
    let common_name = signed
        .subject()
        .iter()
        .find(|attribute| attribute.oid == subject::COMMON_NAME)
        .and_then(|attribute| subject::text_of(&attribute.value));
    Some(Facts {
        common_name,
        public_key: signed.subject_public_key_info().subject_public_key.raw_bytes().to_vec(),
        not_after: signed.validity().not_after.to_unix_duration().as_secs(),
    })
}

pub(super) fn der_of(pem: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok()
}

/// The same certificate for another subject, signed again by `authority`.
pub(super) fn with_subject(
    certificate: KeyedCertificate,
    user: &str,
    groups: &[String],
    authority: &KeyPair,
) -> Result<KeyedCertificate, String> {
    let der = der_of(&certificate.certificate_pem).ok_or("the certificate isn't PEM")?;
    let changed = replace_subject(&der, user, groups, authority)?;
    let certificate_pem =
        encode_string("CERTIFICATE", LineEnding::LF, &changed).map_err(|error| error.to_string())?;
    Ok(KeyedCertificate { certificate_pem, key_pem: certificate.key_pem })
}

/// RFC 5280 section 4.1: a certificate is (what is signed, algorithm, signature); in what is signed by a
/// version 3 certificate the subject is the sixth element.
fn replace_subject(
    der: &[u8],
    user: &str,
    groups: &[String],
    authority: &KeyPair,
) -> Result<Vec<u8>, String> {
    let text = |error: x509_cert::der::Error| error.to_string();
    let mut parts = Vec::<Any>::from_der(der).map_err(text)?;
    let [signed, _, signature] = parts.as_mut_slice() else {
        return Err("a certificate has three parts".into());
    };
    let mut fields = signed.decode_as::<Vec<Any>>().map_err(text)?;
    *fields.get_mut(5).ok_or("the certificate has no subject")? =
        subject::encode(user, groups).map_err(text)?;
    *signed = Any::encode_from(&fields).map_err(text)?;
    let bytes = authority.sign(&signed.to_der().map_err(text)?).map_err(|error| error.to_string())?;
    *signature = Any::encode_from(&BitString::from_bytes(&bytes).map_err(text)?).map_err(text)?;
    parts.to_der().map_err(text)
}
