//! Names of images.

use std::fmt;

use thiserror::Error;

/// The longest repository, host included (distribution reference: `RepositoryNameTotalLengthMax`).
const LONGEST_NAME: usize = 255;

/// Longer than any name with a tag and a digest.
pub(super) const LONGEST: usize = 600;

/// An image's name by the grammar of the distribution reference
/// (<https://github.com/distribution/reference/blob/main/reference.go>): `[registry/]repository[:tag][@digest]`.
///
/// The text before the first slash is a registry if it has a `.`, a `:` or an uppercase letter, or is `localhost`. Nothing
/// is added to a short name: `nginx` has no registry. It is written as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageReference {
    /// The host and port; none where it isn't said.
    pub registry: Option<String>,
    /// The path.
    pub repository: String,
    /// The tag, without the colon.
    pub tag: Option<String>,
    /// The digest with its algorithm: `sha256:…`.
    pub digest: Option<String>,
}

/// Why a text is no image's name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is no image: {problem}")]
pub struct ReferenceError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub problem: String,
}

impl ImageReference {
    /// Reads an image's name.
    ///
    /// # Errors
    /// Where the text doesn't keep to the grammar: which part, and what it may hold.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        parts(text).map_err(|problem| ReferenceError { text: text.chars().take(300).collect(), problem })
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(registry) = &self.registry {
            write!(f, "{registry}/")?;
        }
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

fn parts(text: &str) -> Result<ImageReference, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.len() > LONGEST {
        return Err(format!("it has more than {LONGEST} characters"));
    }
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    if let Some(digest) = digest {
        check_digest(digest)?;
    }
    let (registry, rest) = match name.split_once('/') {
        Some((host, rest)) if is_registry(host) => (Some(host), rest),
        _ => (None, name),
    };
    if let Some(registry) = registry {
        check_registry(registry)?;
    }
    let (repository, tag) = match rest.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (rest, None),
    };
    check_repository(repository)?;
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    if registry.map_or(0, |host| host.len() + 1) + repository.len() > LONGEST_NAME {
        return Err(format!("registry and repository have more than {LONGEST_NAME} characters"));
    }
    Ok(ImageReference {
        registry: registry.map(str::to_owned),
        repository: repository.to_owned(),
        tag: tag.map(str::to_owned),
        digest: digest.map(str::to_owned),
    })
}

fn is_registry(host: &str) -> bool {
    host.contains(['.', ':']) || host == "localhost" || host.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// A host name or address, with or without a port.
fn check_registry(text: &str) -> Result<(), String> {
    let wrong = || format!("{text:?} is no registry: expected a host, or host:port");
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let valid = !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
            if !valid {
                return Err(wrong());
            }
            (None, rest)
        }
        None => match text.find(':') {
            Some(at) => text.split_at_checked(at).map_or((Some(text), ""), |(host, port)| (Some(host), port)),
            None => (Some(text), ""),
        },
    };
    let part = |part: &str| {
        let alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        alphanumeric(part.as_bytes().first())
            && alphanumeric(part.as_bytes().last())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let valid_host = host.is_none_or(|host| host.split('.').all(part));
    let valid_port = match port.strip_prefix(':') {
        Some(digits) => !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => port.is_empty(),
    };
    if valid_host && valid_port { Ok(()) } else { Err(wrong()) }
}

/// Path parts of lowercase letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn check_repository(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("it has no repository".to_owned());
    }
    for part in text.split('/') {
        if !is_path_part(part) {
            return Err(format!(
                "the part {part:?} of its repository isn't lowercase letters and digits, joined by one \".\", \"_\" or \
                 \"__\", or by \"-\""
            ));
        }
    }
    Ok(())
}

fn is_path_part(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = part.split(plain).filter(|run| !run.is_empty());
    let joined =
        separators.into_iter().all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|b| b == b'-'));
    part.starts_with(plain) && part.ends_with(plain) && joined
}

fn check_tag(text: &str) -> Result<(), String> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = text.bytes().next().is_some_and(word);
    if first && text.len() <= 128 && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-') {
        Ok(())
    } else {
        Err(format!(
            "its tag {text:?} isn't 1 to 128 letters, digits, \"_\", \".\" and \"-\", beginning with none of the last two"
        ))
    }
}

/// `algorithm:hex`; the lengths of the registered algorithms are known.
pub(super) fn check_digest(text: &str) -> Result<(), String> {
    let Some((algorithm, hex)) = text.split_once(':') else {
        return Err(format!("its digest {text:?} has no algorithm: expected sha256:…"));
    };
    let part = |part: &str| {
        part.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let length = match algorithm {
        "sha256" => hex.len() == 64,
        "sha384" => hex.len() == 96,
        "sha512" => hex.len() == 128,
        _ => hex.len() >= 32,
    };
    let registered = matches!(algorithm, "sha256" | "sha384" | "sha512");
    let digits =
        hex.bytes().all(|byte| byte.is_ascii_hexdigit() && !(registered && byte.is_ascii_uppercase()));
    if algorithm.split(['-', '_', '+', '.']).all(part) && length && digits {
        Ok(())
    } else {
        Err(format!(
            "its digest {text:?} isn't an algorithm and its hexadecimal digits: sha256: and 64 digits"
        ))
    }
}
