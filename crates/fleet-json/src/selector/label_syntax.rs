//! What a label's key and value may look like.
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>

/// Checks a label key: an optional DNS prefix and `/`, then a name of at most 63 characters.
///
/// # Errors
/// The problem and what is expected.
pub fn check_label_key(key: &str) -> Result<(), String> {
    let name = match key.split_once('/') {
        Some((prefix, name)) => {
            if !is_dns_subdomain(prefix) {
                return Err(format!(
                    "{prefix:?} before the / of label key {key:?} must be a DNS name in lower case, \
                     such as example.com"
                ));
            }
            name
        }
        None => key,
    };
    if name.is_empty() {
        return Err("expected a label key".to_owned());
    }
    if !is_qualified(name) {
        return Err(format!(
            "label key {key:?} must have at most 63 characters of letters, digits, '-', '_' and '.', \
             and start and end with a letter or digit"
        ));
    }
    Ok(())
}

/// Checks a label value: empty, or at most 63 characters that start and end with a letter or digit.
///
/// # Errors
/// The problem and what is expected.
pub fn check_label_value(value: &str) -> Result<(), String> {
    if value.is_empty() || is_qualified(value) {
        return Ok(());
    }
    Err(format!(
        "label value {value:?} must have at most 63 characters of letters, digits, '-', '_' and '.', \
         and start and end with a letter or digit"
    ))
}

fn is_qualified(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let outer = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    name.len() <= 63
        && name.bytes().all(inner)
        && outer(name.bytes().next())
        && outer(name.bytes().next_back())
}

fn is_dns_subdomain(name: &str) -> bool {
    let part = |part: &str| {
        let outer =
            |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && outer(part.bytes().next())
            && outer(part.bytes().next_back())
    };
    name.len() <= 253 && name.split('.').all(part)
}
