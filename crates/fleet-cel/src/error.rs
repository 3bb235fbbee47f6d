//! Errors with their place.

use std::fmt;
use std::ops::Range;

/// What kind of thing went wrong; a template's `${?…}` forgives [`CelErrorKind::Missing`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CelErrorKind {
    /// The text isn't an expression, or names a function that doesn't exist.
    Syntax,
    /// A field, key or item that isn't there was read.
    Missing,
    /// A limit was reached.
    Limit,
    /// Everything else: wrong types, division by zero, overflow.
    Evaluation,
}

/// An expression that can't be compiled or evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CelError {
    /// What is wrong, in one line.
    pub message: String,
    /// Where in [`CelError::source`], in bytes; always within it and on character boundaries.
    pub span: Range<usize>,
    /// The expression's text.
    pub source: String,
    /// What kind of error it is.
    pub kind: CelErrorKind,
}

impl CelError {
    pub(crate) fn new(
        kind: CelErrorKind,
        message: impl Into<String>,
        span: Range<usize>,
        source: &str,
    ) -> Self {
        let start = boundary(source, span.start);
        let end = boundary(source, span.end).max(start);
        Self { message: message.into(), span: start..end, source: excerpt_source(source), kind }
    }

    /// The text that [`CelError::span`] covers.
    #[must_use]
    pub fn excerpt(&self) -> &str {
        self.source.get(self.span.clone()).unwrap_or_default()
    }
}

impl fmt::Display for CelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let excerpt = self.excerpt().trim();
        let at_whole = excerpt.is_empty() || excerpt == self.source.trim();
        let shown: String = self.source.chars().take(80).collect();
        let dots = if shown.len() < self.source.len() { "…" } else { "" };
        if at_whole {
            write!(f, " (in `{}{dots}`)", shown.trim())
        } else {
            let column = self.source.get(..self.span.start).map_or(0, |s| s.chars().count()) + 1;
            write!(f, " (at character {column} of `{}{dots}`)", shown.trim())
        }
    }
}

impl std::error::Error for CelError {}

/// A template that can't be compiled or rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// The place in the template's tree, as `spec.containers[0].name`; empty for the root.
    pub path: String,
    /// What is wrong, with the expression's excerpt.
    pub message: String,
    /// Where in the string at [`TemplateError::path`], in bytes.
    pub span: Range<usize>,
    /// What kind of error it is.
    pub kind: CelErrorKind,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

impl std::error::Error for TemplateError {}

/// The largest character boundary of `text` that isn't behind `at`.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// An error must not carry a megabyte of refused text around.
fn excerpt_source(source: &str) -> String {
    const KEPT: usize = 8192;
    source.get(..boundary(source, KEPT)).unwrap_or_default().to_owned()
}

/// The span check of an error whose source was cut.
impl CelError {
    pub(crate) fn clamp(mut self) -> Self {
        let len = self.source.len();
        self.span = self.span.start.min(len)..self.span.end.min(len);
        self
    }
}
