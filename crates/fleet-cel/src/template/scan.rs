//! Finds the expressions in a string.

use std::ops::Range;

/// A string is a row of these.
pub(super) enum Piece<'s> {
    Text(String),
    Hole { source: &'s str, optional: bool, offset: usize },
}

/// The pieces of `text`, or where and how it is malformed.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, (Range<usize>, String)> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(dollar) = rest.find('$') else {
            plain.push_str(rest);
            break;
        };
        plain.push_str(rest.get(..dollar).unwrap_or_default());
        let here = rest.get(dollar..).unwrap_or_default();
        if here.starts_with("$${") {
            plain.push_str("${");
            at += dollar + 3;
        } else if here.starts_with("${") {
            let optional = here.starts_with("${?");
            let skip = if optional { 3 } else { 2 };
            let offset = at + dollar + skip;
            let body = text.get(offset..).unwrap_or_default();
            let Some(length) = expression_end(body) else {
                return Err((at + dollar..text.len(), "`${` has no closing `}`".to_owned()));
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Hole { source: body.get(..length).unwrap_or_default(), optional, offset });
            at = offset + length + 1;
        } else {
            plain.push('$');
            at += dollar + 1;
        }
    }
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

/// Where the `}` stands that ends an expression: not one inside a string, a comment or a pair of braces.
fn expression_end(body: &str) -> Option<usize> {
    let bytes = body.as_bytes();
    let mut open = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' => open += 1,
            b'}' if open == 0 => return Some(at),
            b'}' => open -= 1,
            b'"' | b'\'' => {
                at = string_end(bytes, at)?;
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at += bytes.get(at..)?.iter().position(|byte| *byte == b'\n')?;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The position behind a string that starts at `start`.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let quote = *bytes.get(start)?;
    let is_quote = |at: usize| bytes.get(at) == Some(&quote);
    let triple = is_quote(start + 1) && is_quote(start + 2);
    let raw = start > 0 && raw_prefix(bytes, start - 1);
    let width = if triple { 3 } else { 1 };
    let mut at = start + width;
    loop {
        match bytes.get(at)? {
            b'\\' if !raw => at += 2,
            byte if *byte == quote && (!triple || (is_quote(at + 1) && is_quote(at + 2))) => {
                return Some(at + width);
            }
            _ => at += 1,
        }
    }
}

/// `r"…"`, `br"…"` and `rb"…"`: an `r` that isn't the end of a longer name.
fn raw_prefix(bytes: &[u8], at: usize) -> bool {
    let letter = |at: usize| bytes.get(at).map(u8::to_ascii_lowercase);
    let name = |at: Option<usize>| {
        at.and_then(letter).is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    match (letter(at), at.checked_sub(1).and_then(letter)) {
        (Some(b'r'), Some(b'b')) | (Some(b'b'), Some(b'r')) => !name(at.checked_sub(2)),
        (Some(b'r'), _) => !name(at.checked_sub(1)),
        _ => false,
    }
}
