//! A client certificate's subject as Kubernetes reads it: CN is the user, each O a group.

use rustls_pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{Any, SetOfVec};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{self, Decode, Encode, Tag, Tagged};

use crate::identity::Identity;

pub(super) const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");

/// Who a client certificate speaks for; nobody without a common name. Whether the certificate may be trusted
/// is the TLS handshake's business.
///
/// See <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates>.
pub fn identity_of(certificate: &CertificateDer<'_>) -> Option<Identity> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let (mut user, mut groups) = (None, Vec::new());
    for attribute in certificate.tbs_certificate().subject().iter() {
        match attribute.oid {
            COMMON_NAME => user = text_of(&attribute.value),
            ORGANIZATION => groups.extend(text_of(&attribute.value)),
            _ => {}
        }
    }
    user.filter(|user| !user.is_empty()).map(|user| Identity::new(user, groups))
}

pub(super) fn text_of(value: &Any) -> Option<String> {
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String => {
            String::from_utf8(value.value().to_vec()).ok()
        }
        _ => None,
    }
}

/// A subject in DER form.
pub(super) fn encode(user: &str, groups: &[String]) -> der::Result<Any> {
    let mut name = Vec::with_capacity(groups.len() + 1);
    for group in groups {
        name.push(attribute(ORGANIZATION, group)?);
    }
    name.push(attribute(COMMON_NAME, user)?);
    Any::from_der(&name.to_der()?)
}

fn attribute(oid: ObjectIdentifier, text: &str) -> der::Result<SetOfVec<AttributeTypeAndValue>> {
    let value = Any::new(Tag::Utf8String, text.as_bytes())?;
    SetOfVec::try_from(vec![AttributeTypeAndValue { oid, value }])
}
