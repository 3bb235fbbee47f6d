//! JSONPath templates as kubectl's `-o jsonpath=` takes them: text, `{.path}`, `{"text"}`, `{range .path}…{end}`.
//!
//! See <https://kubernetes.io/docs/reference/kubectl/jsonpath/>.

use fleet_schema::JsonPath;
use serde_json::Value;

use crate::exit::{Failure, Outcome};

/// How deep ranges may stand inside each other.
const DEEPEST: usize = 16;

/// A compiled template.
#[derive(Debug, Clone)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Values(JsonPath),
    Range(JsonPath, Vec<Part>),
}

impl Template {
    pub(super) fn read(source: &str) -> Outcome<Self> {
        let refuse = |why: String| {
            Failure::usage(format!(
                "-o jsonpath={source:?}: {why}; write it as in jsonpath='{{.status.readyReplicas}}'"
            ))
        };
        if source.trim().is_empty() {
            return Err(refuse("the template is empty".to_owned()));
        }
        // A path without braces is taken as one.
        let braced = if source.contains('{') { source.to_owned() } else { format!("{{{source}}}") };
        let mut rest = braced.as_str();
        let parts = parts(&mut rest, 0).map_err(refuse)?;
        if rest.is_empty() { Ok(Self(parts)) } else { Err(refuse("{end} without {range}".to_owned())) }
    }

    /// The text for a value. Several values of one path stand with blanks between.
    pub(super) fn fill(&self, value: &Value) -> String {
        let mut out = String::new();
        fill(&self.0, value, &mut out);
        out
    }
}

/// Reads up to the end, or to the `{end}` of the range it is in, which stays in `rest`.
fn parts(rest: &mut &str, depth: usize) -> Result<Vec<Part>, String> {
    if depth > DEEPEST {
        return Err(format!("ranges nest deeper than {DEEPEST}"));
    }
    let mut all = Vec::new();
    while !rest.is_empty() {
        let Some(open) = rest.find('{') else {
            all.push(Part::Text((*rest).to_owned()));
            *rest = "";
            break;
        };
        let (text, from) = rest.split_at(open);
        if !text.is_empty() {
            all.push(Part::Text(text.to_owned()));
        }
        let close = closing(from).ok_or("a '{' without its '}'")?;
        let (inner, after) =
            (from.get(1..close).unwrap_or_default().trim(), from.get(close + 1..).unwrap_or_default());
        if inner == "end" {
            *rest = from;
            return Ok(all);
        }
        *rest = after;
        if let Some(path) = inner.strip_prefix("range ") {
            let path = compile(path)?;
            let body = parts(rest, depth + 1)?;
            let Some(end) = rest.find('}').filter(|_| !rest.is_empty()) else {
                return Err("{range} without {end}".to_owned());
            };
            *rest = rest.get(end + 1..).unwrap_or_default();
            all.push(Part::Range(path, body));
        } else if let Some(text) = quoted(inner) {
            all.push(Part::Text(text));
        } else {
            all.push(Part::Values(compile(inner)?));
        }
    }
    Ok(all)
}

/// The place of the `}` that closes the first `{`, past those in quotes.
fn closing(text: &str) -> Option<usize> {
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match (character, quote) {
            _ if escaped => escaped = false,
            ('\\', Some(_)) => escaped = true,
            ('"' | '\'', None) => quote = Some(character),
            (_, Some(open)) if open == character => quote = None,
            ('}', None) => return Some(at),
            _ => {}
        }
    }
    None
}

fn quoted(inner: &str) -> Option<String> {
    let mark = inner.chars().next().filter(|mark| matches!(mark, '"' | '\''))?;
    let text = inner.strip_prefix(mark)?.strip_suffix(mark)?;
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let next = if character == '\\' { characters.next() } else { Some(character) };
        out.push(match (character, next) {
            ('\\', Some('n')) => '\n',
            ('\\', Some('t')) => '\t',
            ('\\', Some('r')) => '\r',
            (_, Some(other)) => other,
            (_, None) => '\\',
        });
    }
    Some(out)
}

fn compile(path: &str) -> Result<JsonPath, String> {
    let path = path.trim().trim_start_matches('@');
    let path = if path.is_empty() { "$" } else { path };
    JsonPath::compile(path).map_err(|error| error.to_string())
}

fn fill(parts: &[Part], value: &Value, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Values(path) => {
                let texts: Vec<String> = path.find(value).into_iter().map(shown).collect();
                out.push_str(&texts.join(" "));
            }
            Part::Range(path, body) => {
                for item in path.find(value) {
                    fill(body, item, out);
                }
            }
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The forms of kubectl's manual.
    #[test]
    fn templates() {
        let list = json!({ "items": [
            { "metadata": { "name": "a" }, "status": { "n": 1 } },
            { "metadata": { "name": "b" }, "status": { "n": 2 } },
        ]});
        for (template, expected) in [
            ("{.items[*].metadata.name}", "a b"),
            (".items[0].status.n", "1"),
            ("n: {.items[1].status.n}{\"\\n\"}", "n: 2\n"),
            ("{range .items[*]}{.metadata.name}={.status.n}{'\\t'}{end}.", "a=1\tb=2\t."),
            ("{.nothing}", ""),
        ] {
            assert_eq!(Template::read(template).unwrap().fill(&list), expected, "{template}");
        }
    }

    #[test]
    fn mistakes_are_usage_errors() {
        for template in ["", "{.a", "{range .a}x", "{end}", "{.a[}"] {
            assert_eq!(Template::read(template).err().unwrap().exit.code(), 2, "{template}");
        }
    }
}
