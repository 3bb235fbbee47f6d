//! Name formats (`k8s.io/apimachinery/pkg/util/validation`): each gives the complaints about a text.

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

fn too_long(text: &str, limit: usize) -> Option<String> {
    (text.len() > limit).then(|| format!("must be no more than {limit} bytes"))
}

fn lower_alphanumeric(char: char) -> bool {
    char.is_ascii_lowercase() || char.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    text.chars().all(|char| lower_alphanumeric(char) || char == '-')
        && text.starts_with(lower_alphanumeric)
        && text.ends_with(lower_alphanumeric)
}

/// DNS-1123 subdomain.
pub(super) fn subdomain(text: &str) -> Vec<String> {
    let bad = (!text.split('.').all(is_label)).then(|| SUBDOMAIN.to_owned());
    too_long(text, 253).into_iter().chain(bad).collect()
}

/// DNS-1123 label.
pub(super) fn label(text: &str) -> Vec<String> {
    too_long(text, 63).into_iter().chain((!is_label(text)).then(|| LABEL.to_owned())).collect()
}

/// DNS-1035 label: doesn't start with a digit.
pub(super) fn label_1035(text: &str) -> Vec<String> {
    let good = is_label(text) && text.starts_with(|char: char| char.is_ascii_lowercase());
    too_long(text, 63).into_iter().chain((!good).then(|| LABEL_1035.to_owned())).collect()
}

/// A name that stands in a URL path (RBAC kinds).
pub(super) fn path_segment(text: &str) -> Vec<String> {
    match text {
        "." | ".." => vec![format!("may not be '{text}'")],
        _ => ["/", "%"]
            .into_iter()
            .filter(|bad| text.contains(bad))
            .map(|bad| format!("may not contain '{bad}'"))
            .collect(),
    }
}

fn is_name_part(text: &str) -> bool {
    let inner = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
    text.chars().all(inner)
        && text.starts_with(|char: char| char.is_ascii_alphanumeric())
        && text.ends_with(|char: char| char.is_ascii_alphanumeric())
}

/// A label or annotation key: an optional DNS prefix and a name.
pub(super) fn qualified(text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let name = match text.split_once('/') {
        None => text,
        Some((_, name)) if name.contains('/') => {
            return vec![
                "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')".to_owned(),
            ];
        }
        Some(("", name)) => {
            complaints.push("prefix part must be non-empty".to_owned());
            name
        }
        Some((prefix, name)) => {
            complaints
                .extend(subdomain(prefix).into_iter().map(|complaint| format!("prefix part {complaint}")));
            name
        }
    };
    if name.is_empty() {
        complaints.push("name part must be non-empty".to_owned());
    }
    complaints.extend(too_long(name, 63).map(|complaint| format!("name part {complaint}")));
    if !is_name_part(name) {
        complaints.push(QUALIFIED.to_owned());
    }
    complaints
}

/// A label's value.
pub(super) fn label_value(text: &str) -> Vec<String> {
    let good = text.is_empty() || is_name_part(text);
    too_long(text, 63).into_iter().chain((!good).then(|| LABEL_VALUE.to_owned())).collect()
}

/// A key of a ConfigMap or Secret.
pub(super) fn config_key(text: &str) -> Vec<String> {
    let good = !text.is_empty()
        && text.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.'));
    let mut complaints: Vec<String> =
        too_long(text, 253).into_iter().chain((!good).then(|| CONFIG_KEY.to_owned())).collect();
    match text {
        "." => complaints.push("must not be '.'".to_owned()),
        ".." => complaints.push("must not be '..'".to_owned()),
        _ if text.starts_with("..") => complaints.push("must not start with '..'".to_owned()),
        _ => {}
    }
    complaints
}

/// The name of an environment variable.
pub(super) fn env_name(text: &str) -> Vec<String> {
    let good = !text.is_empty() && text.chars().all(|char| (' '..='~').contains(&char) && char != '=');
    (!good)
        .then(|| {
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
                .to_owned()
        })
        .into_iter()
        .collect()
}

/// The name of a port (`IANA_SVC_NAME`).
pub(super) fn port_name(text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if text.len() > 15 {
        complaints.push("must be no more than 15 characters".to_owned());
    }
    if !text.chars().all(|char| lower_alphanumeric(char) || char == '-') || text.is_empty() {
        complaints.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.chars().any(|char| char.is_ascii_lowercase()) {
        complaints.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        complaints.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        complaints.push("must not begin or end with a hyphen".to_owned());
    }
    complaints
}
