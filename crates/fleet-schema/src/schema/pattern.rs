//! A regular expression of a schema, compiled when first needed.

use std::sync::OnceLock;

use regex::Regex;

/// `pattern`: compiled once, at its first use.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: Box<str>,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// Keeps the expression; it may turn out not to compile, see [`Pattern::is_valid`].
    pub fn new(source: &str) -> Pattern {
        Pattern { source: source.into(), compiled: OnceLock::new() }
    }

    /// The expression as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    fn regex(&self) -> Option<&Regex> {
        let compile = || {
            // A schema comes from users: the limit bounds what a counted repetition may cost.
            regex::RegexBuilder::new(&self.source).size_limit(1 << 20).build().ok()
        };
        self.compiled.get_or_init(compile).as_ref()
    }

    /// Whether the expression compiles.
    pub fn is_valid(&self) -> bool {
        self.regex().is_some()
    }

    /// Whether it matches somewhere in the text; an expression that doesn't compile matches nothing.
    pub fn matches(&self, text: &str) -> bool {
        self.regex().is_some_and(|regex| regex.is_match(text))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}
