//! Which names objects may have.

use crate::registry::Kind;

/// Lower-case letters, digits and `-`, 63 at most, a letter or digit at both ends (RFC 1123).
pub(crate) fn is_dns_label(name: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let ends = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let bytes = name.as_bytes();
    bytes.len() <= 63 && ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|c| inner(*c))
}

/// Labels joined by dots, 253 characters at most.
pub(crate) fn is_dns_subdomain(name: &str) -> bool {
    let part = |part: &str| {
        let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let ends = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let bytes = part.as_bytes();
        ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|c| inner(*c))
    };
    name.len() <= 253 && name.split('.').all(part)
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SERVICE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

/// What is wrong with an object's name; `None` where it is fine.
pub(crate) fn problem(kind: &Kind, name: &str) -> Option<String> {
    let rule = match (kind.gvk.group.as_str(), kind.plural.as_str()) {
        ("rbac.authorization.k8s.io", _) => {
            return match name {
                "." | ".." => Some(format!("may not be '{name}'")),
                name if name.contains('/') => Some("may not contain '/'".into()),
                name if name.contains('%') => Some("may not contain '%'".into()),
                _ => None,
            };
        }
        ("", "namespaces") => (is_dns_label(name), LABEL, 63),
        ("", "services") => {
            let starts = name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
            (is_dns_label(name) && starts, SERVICE, 63)
        }
        // Its name is the address or the request it stands for.
        ("networking.k8s.io", "ipaddresses")
        | ("certificates.k8s.io", _)
        | ("flowcontrol.apiserver.k8s.io", _) => {
            return name.contains('/').then(|| "may not contain '/'".to_owned());
        }
        _ => (is_dns_subdomain(name), SUBDOMAIN, 253),
    };
    match rule {
        (true, _, _) => None,
        (false, _, most) if name.len() > most => Some(format!("must be no more than {most} characters")),
        (false, text, _) => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_subdomains_follow_rfc_1123() {
        for good in ["a", "a-b", "0", "a1-2b"] {
            assert!(is_dns_label(good) && is_dns_subdomain(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a b", &"x".repeat(64)] {
            assert!(!is_dns_label(bad), "{bad}");
        }
        assert!(is_dns_subdomain("a.b-c.d") && !is_dns_subdomain("a..b") && !is_dns_subdomain(".a"));
    }
}
