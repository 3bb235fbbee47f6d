//! Values as whoever approves must see them: what differs differs on the screen too, and nothing in a value steers the
//! terminal or hides.

use serde_json::Value;

/// Longer values are cut.
const LONGEST: usize = 160;
/// So much is shown before the first difference of values that are cut.
const BEFORE: usize = 40;
/// Letters and symbols that are drawn as nothing or as a blank, though Unicode doesn't count them as such.
const BLANKS: [char; 5] = ['\u{115f}', '\u{1160}', '\u{2800}', '\u{3164}', '\u{ffa0}'];

/// A value in one line.
pub(crate) fn short(value: &Value) -> String {
    cut(&pieces(Some(value), needs_quotes(value)), 0, usize::MAX)
}

/// A change in one line; where the values are long, the place that differs.
pub(crate) fn change(from: Option<&Value>, to: Option<&Value>) -> String {
    // Both in one manner, else the quotes would be what differs.
    let quoted = [from, to].into_iter().flatten().any(needs_quotes);
    let (from, to) = (pieces(from, quoted), pieces(to, quoted));
    let same = |(a, b): &(&String, &String)| a == b;
    let prefix = from.iter().zip(&to).take_while(same).count();
    let most = from.len().min(to.len()).saturating_sub(prefix);
    let suffix = from.iter().rev().zip(to.iter().rev()).take_while(same).count().min(most);
    let side = |pieces: &[String]| cut(pieces, prefix, pieces.len().saturating_sub(suffix));
    format!("{} → {}", side(&from), side(&to))
}

/// Text that isn't a value, such as a path, without what can't be seen.
pub(crate) fn visible(text: &str) -> String {
    text.chars().map(|c| piece(c, false)).collect()
}

/// Whether a text could be taken for something else without quotes.
fn needs_quotes(value: &Value) -> bool {
    let Value::String(text) = value else { return false };
    let edges = text.trim() != text || text.is_empty() || text == "nothing";
    let steers =
        text.chars().any(|c| matches!(c, '"' | '\\' | '→' | '…') || piece(c, false).len() > c.len_utf8());
    edges || steers || serde_json::from_str::<Value>(text).is_ok()
}

/// What is drawn, a character of the value each.
fn pieces(value: Option<&Value>, quoted: bool) -> Vec<String> {
    match value {
        None => vec!["nothing".to_owned()],
        Some(Value::String(text)) if quoted => {
            let inner = text.chars().map(|c| piece(c, true));
            std::iter::once("\"".to_owned()).chain(inner).chain(["\"".to_owned()]).collect()
        }
        Some(Value::String(text)) => text.chars().map(|c| piece(c, false)).collect(),
        Some(other) => other.to_string().chars().map(|c| piece(c, false)).collect(),
    }
}

/// A character as it is where it can be seen, else its escape.
fn piece(c: char, quoted: bool) -> String {
    match c {
        '"' | '\\' if quoted => format!("\\{c}"),
        '"' | '\\' | '\'' => c.to_string(),
        c if BLANKS.contains(&c) => c.escape_unicode().to_string(),
        // Control, bidi, zero-width and combining characters, and blanks that are no space.
        c => c.escape_debug().to_string(),
    }
}

/// Everything where it is short, else a part that begins a little before `first`; `last` is where nothing differs any
/// more.
fn cut(pieces: &[String], first: usize, last: usize) -> String {
    if pieces.len() <= LONGEST {
        return pieces.concat();
    }
    // At the same place on both sides of a change.
    let begin = first.saturating_sub(BEFORE);
    let end = begin.saturating_add(LONGEST).min(pieces.len());
    let middle = pieces.get(begin..end).unwrap_or_default().concat();
    let head = if begin > 0 { "…" } else { "" };
    let unseen = last.min(pieces.len()).saturating_sub(end);
    let tail = match unseen {
        0 if end == pieces.len() => String::new(),
        0 => "…".to_owned(),
        _ if last == usize::MAX => format!("… ({unseen} more characters)"),
        _ => format!("… (differs in {unseen} more characters)"),
    };
    format!("{head}{middle}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(from: &str, to: &str) -> String {
        change(Some(&json!(from)), Some(&json!(to)))
    }

    /// Broken: somebody approves a change that they couldn't see.
    #[test]
    fn what_differs_differs_on_the_screen() {
        assert_eq!(told("x:\n  y: 1\n", "x:\ny: 1\n"), r#""x:\n  y: 1\n" → "x:\ny: 1\n""#);
        assert_eq!(told("nginx:1", "nginx:2"), "nginx:1 → nginx:2");
        assert_eq!(told("a", "a "), r#""a" → "a ""#);
        assert_eq!(told("a\\nb", "a\nb"), r#""a\\nb" → "a\nb""#);
        assert_eq!(change(Some(&json!("5")), Some(&json!(5))), r#""5" → 5"#);
        assert_eq!(change(None, Some(&json!("nothing"))), r#"nothing → "nothing""#);
        let (long, other) = ("k".repeat(1000), format!("{}z{}", "k".repeat(600), "k".repeat(399)));
        let said = told(&long, &other);
        let (from, to) = said.split_once(" → ").unwrap();
        assert!(from.starts_with("…k") && !from.contains('z'), "{said}");
        assert_eq!(to.find('z'), Some('…'.len_utf8() + 40), "{said}");
        // More than is shown.
        let said = told(&"a".repeat(1000), &"b".repeat(1000));
        assert!(said.ends_with("… (differs in 840 more characters)"), "{said}");
        let longer = told(&"a".repeat(300), &"a".repeat(301));
        let (from, to) = longer.split_once(" → ").unwrap();
        assert_ne!(from.len(), to.len(), "{longer}");
    }

    /// Broken: a value turns the line around, or hides a part of itself.
    #[test]
    fn nothing_hides_or_steers() {
        for c in [
            '\u{202e}',
            '\u{200b}',
            '\u{2066}',
            '\u{feff}',
            '\u{ad}',
            '\u{1b}',
            '\u{a0}',
            '\u{3164}',
            '\u{e0041}',
            '\u{fe0f}',
        ] {
            for said in
                [told("a", &format!("a{c}b")), visible(&format!("a{c}b")), short(&json!([format!("a{c}b")]))]
            {
                assert!(!said.contains(c) && said.contains("\\u"), "{c:?}: {said}");
            }
        }
        assert_eq!(short(&json!("北京 café's")), "北京 café's");
        assert_eq!(short(&json!("{\n  x\n}\n")), r#""{\n  x\n}\n""#);
        assert!(short(&json!("k".repeat(200))).ends_with("k… (40 more characters)"));
    }
}
