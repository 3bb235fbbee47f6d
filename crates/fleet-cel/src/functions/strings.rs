//! Text: CEL's string functions, the strings extension, Kubernetes' regex library.

use std::collections::HashMap;

use regex::{Regex, RegexBuilder};

use crate::functions::{format, int, text};
use crate::meter::{Fault, Meter, Outcome};
use crate::value::{Text, Val};

/// `None`: no such function for text. Positions count characters, not bytes.
pub(super) fn call<'a>(
    name: &str,
    subject: &Text<'a>,
    rest: &[Val<'a>],
    meter: &mut Meter,
    patterns: &mut HashMap<String, Regex>,
) -> Option<Outcome<Val<'a>>> {
    Some(match (name, rest) {
        ("size", []) => meter.charge_text(subject.len()).map(|()| count(subject)),
        ("contains", [part]) => {
            searched(subject, meter).and_then(|s| Ok(Val::Bool(s.contains(text(part, name)?))))
        }
        ("startsWith", [part]) => {
            searched(subject, meter).and_then(|s| Ok(Val::Bool(s.starts_with(text(part, name)?))))
        }
        ("endsWith", [part]) => {
            searched(subject, meter).and_then(|s| Ok(Val::Bool(s.ends_with(text(part, name)?))))
        }
        ("matches", [p]) => {
            with_pattern(p, subject, name, meter, patterns, |regex, s| Ok(Val::Bool(regex.is_match(s))))
        }
        ("find", [p]) => with_pattern(p, subject, name, meter, patterns, |regex, s| {
            Ok(Val::text(regex.find(s).map_or("", |found| found.as_str())))
        }),
        ("findAll", [p, more @ ..]) => find_all(p, subject, more, meter, patterns),
        ("charAt", [at]) => searched(subject, meter).and_then(|s| {
            let position = int(at, name)?;
            let index = usize::try_from(position).ok().filter(|index| *index <= s.chars().count());
            let index = index.ok_or_else(|| out_of_range(position))?;
            Ok(Val::text(s.chars().nth(index).map(String::from).unwrap_or_default()))
        }),
        ("indexOf" | "lastIndexOf", [part, more @ ..]) => index_of(name, subject, part, more.first(), meter),
        ("lowerAscii", []) => searched(subject, meter).map(|s| Val::text(s.to_ascii_lowercase())),
        ("upperAscii", []) => searched(subject, meter).map(|s| Val::text(s.to_ascii_uppercase())),
        ("trim", []) => searched(subject, meter).map(|s| Val::text(s.trim())),
        ("reverse", []) => searched(subject, meter).map(|s| Val::text(s.chars().rev().collect::<String>())),
        ("replace", [from, to, more @ ..]) => replace(subject, from, to, more.first(), meter),
        ("split", [separator, more @ ..]) => split(subject, separator, more.first(), meter),
        ("substring", [from, more @ ..]) => substring(subject, from, more.first(), meter),
        ("format", [Val::List(arguments)]) => format::format(subject, arguments, meter),
        ("strings.quote", []) => searched(subject, meter).map(|s| Val::text(format!("{s:?}"))),
        _ => return None,
    })
}

fn count<'a>(subject: &str) -> Val<'a> {
    Val::Int(i64::try_from(subject.chars().count()).unwrap_or(i64::MAX))
}

fn searched<'s>(subject: &'s str, meter: &mut Meter) -> Outcome<&'s str> {
    meter.charge_text(subject.len())?;
    Ok(subject)
}

fn out_of_range(position: i64) -> Fault {
    Fault::new(format!("the text has no position {position}"))
}

/// The byte position of a character position; the end counts.
fn byte_position(subject: &str, position: i64) -> Outcome<usize> {
    let index = usize::try_from(position).map_err(|_| out_of_range(position))?;
    subject
        .char_indices()
        .map(|(at, _)| at)
        .chain([subject.len()])
        .nth(index)
        .ok_or_else(|| out_of_range(position))
}

fn index_of<'a>(
    name: &str,
    subject: &str,
    part: &Val<'a>,
    from: Option<&Val<'a>>,
    meter: &mut Meter,
) -> Outcome<Val<'a>> {
    meter.charge_text(subject.len())?;
    let part = text(part, name)?;
    let found = match (name, from) {
        ("indexOf", None) => subject.find(part),
        ("indexOf", Some(from)) => {
            let start = byte_position(subject, int(from, name)?)?;
            subject.get(start..).and_then(|tail| tail.find(part)).map(|at| at + start)
        }
        (_, None) => subject.rfind(part),
        (_, Some(from)) => {
            let last = byte_position(subject, int(from, name)?)?;
            let end = last.saturating_add(part.len()).min(subject.len());
            subject.get(..end).and_then(|head| head.rfind(part))
        }
    };
    let characters = found.and_then(|at| subject.get(..at)).map(|head| head.chars().count());
    Ok(Val::Int(characters.and_then(|count| i64::try_from(count).ok()).unwrap_or(-1)))
}

/// The result's size is charged before it is made: chained replacements grow fast.
fn replace<'a>(
    subject: &str,
    from: &Val<'a>,
    to: &Val<'a>,
    limit: Option<&Val<'a>>,
    meter: &mut Meter,
) -> Outcome<Val<'a>> {
    meter.charge_text(subject.len())?;
    let (from, to) = (text(from, "replace")?, text(to, "replace")?);
    let limit = match limit {
        None => usize::MAX,
        Some(limit) => usize::try_from(int(limit, "replace")?).unwrap_or(usize::MAX),
    };
    let hits = subject.matches(from).take(limit).count();
    meter.charge_text(subject.len().saturating_add(hits.saturating_mul(to.len())))?;
    Ok(Val::text(subject.replacen(from, to, limit)))
}

fn split<'a>(
    subject: &Text<'a>,
    separator: &Val<'a>,
    limit: Option<&Val<'a>>,
    meter: &mut Meter,
) -> Outcome<Val<'a>> {
    meter.charge_text(subject.len())?;
    let separator = text(separator, "split")?;
    let limit = match limit {
        None => usize::MAX,
        Some(limit) => usize::try_from(int(limit, "split")?).unwrap_or(usize::MAX),
    };
    let parts: Vec<&str> = match (limit, separator) {
        (0, _) => Vec::new(),
        // Rust would put an empty part before the first and after the last character.
        (usize::MAX, "") => {
            subject.char_indices().filter_map(|(at, c)| subject.get(at..at + c.len_utf8())).collect()
        }
        (limit, separator) => subject.splitn(limit, separator).collect(),
    };
    meter.charge(parts.len())?;
    Ok(Val::list(parts.into_iter().map(Val::text).collect()))
}

fn substring<'a>(subject: &str, from: &Val<'a>, to: Option<&Val<'a>>, meter: &mut Meter) -> Outcome<Val<'a>> {
    meter.charge_text(subject.len())?;
    let start = byte_position(subject, int(from, "substring")?)?;
    let end = match to {
        None => subject.len(),
        Some(to) => byte_position(subject, int(to, "substring")?)?,
    };
    subject
        .get(start..end)
        .map(Val::text)
        .ok_or_else(|| Fault::new("the substring's end lies before its start"))
}

/// Finds the compiled pattern, or compiles it once for this evaluation. The engine's time is linear in the
/// text; the compiled size is bounded here.
fn with_pattern<'a>(
    pattern: &Val<'a>,
    subject: &str,
    name: &str,
    meter: &mut Meter,
    patterns: &mut HashMap<String, Regex>,
    then: impl FnOnce(&Regex, &str) -> Outcome<Val<'a>>,
) -> Outcome<Val<'a>> {
    const COMPILE_COST: usize = 5_000;
    const MAX_PROGRAM: usize = 256 * 1024;
    let pattern = text(pattern, name)?;
    // A pattern of many states reads slower, at worst by its own length.
    meter.charge((subject.len() / 16 + 1).saturating_mul(pattern.len() / 16 + 1))?;
    if let Some(known) = patterns.get(pattern) {
        return then(known, subject);
    }
    meter.charge(COMPILE_COST)?;
    let regex = RegexBuilder::new(pattern)
        .size_limit(MAX_PROGRAM)
        .dfa_size_limit(MAX_PROGRAM)
        .nest_limit(50)
        .build()
        .map_err(|error| {
            let cause = error.to_string();
            let cause = cause.lines().last().unwrap_or_default().trim_start_matches("error: ");
            Fault::new(format!("{:?} is no pattern: {cause}", pattern.chars().take(60).collect::<String>()))
        })?;
    let result = then(&regex, subject);
    patterns.insert(pattern.to_owned(), regex);
    result
}

fn find_all<'a>(
    pattern: &Val<'a>,
    subject: &str,
    more: &[Val<'a>],
    meter: &mut Meter,
    patterns: &mut HashMap<String, Regex>,
) -> Outcome<Val<'a>> {
    let limit = match more.first() {
        None => usize::MAX,
        Some(limit) => usize::try_from(int(limit, "findAll")?).unwrap_or(usize::MAX),
    };
    let mut found = Vec::new();
    with_pattern(pattern, subject, "findAll", meter, patterns, |regex, subject| {
        found = regex.find_iter(subject).take(limit).map(|hit| Val::text(hit.as_str())).collect();
        Ok(Val::Null)
    })?;
    meter.charge(found.len())?;
    Ok(Val::list(found))
}
