//! Changes inside a document that a field holds as text.

use fleet_api::propagation::{FieldOverrider, SubFieldPatch};
use fleet_json::{MAX_DEPTH, parse_json};
use serde_json::Value;

use super::error::{Fault, is_secret};
use super::patch;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    Json,
    Yaml,
}

impl Language {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Yaml => "YAML",
        }
    }

    fn field(self) -> &'static str {
        match self {
            Self::Json => ".json",
            Self::Yaml => ".yaml",
        }
    }
}

fn said(own: &FieldOverrider) -> Result<(Language, &[SubFieldPatch]), Fault> {
    match (own.json.as_slice(), own.yaml.as_slice()) {
        ([], []) => Err(Fault::invalid("", "it changes nothing; give json or yaml")),
        (json, []) => Ok((Language::Json, json)),
        ([], yaml) => Ok((Language::Yaml, yaml)),
        _ => Err(Fault::invalid("", "the text is either JSON or YAML; give only one of json and yaml")),
    }
}

fn operations(language: Language, list: &[SubFieldPatch]) -> Result<Vec<Value>, Fault> {
    let one = |(at, own): (usize, &SubFieldPatch)| {
        patch::operation(&own.sub_path, own.operator, own.value.as_ref(), "subPath")
            .map_err(|fault| Fault { below: format!("{}[{at}]{}", language.field(), fault.below), ..fault })
    };
    list.iter().enumerate().map(one).collect()
}

pub(super) fn check(own: &FieldOverrider) -> Result<(), Fault> {
    patch::pointer(&own.field_path).map_err(|fault| fault.below(".fieldPath"))?;
    let (language, list) = said(own)?;
    operations(language, list).map(drop)
}

/// Reads the text, changes the document and writes it again: one line stays one line. Comments and the order of keys
/// are lost.
pub(super) fn apply(object: &mut Value, own: &FieldOverrider) -> Result<(), Fault> {
    check(own)?;
    let (language, list) = said(own)?;
    let at_path = |fault: Fault| fault.below(".fieldPath");
    let secret = is_secret(object);
    let text = match object.pointer(&own.field_path) {
        Some(Value::String(text)) => text.clone(),
        Some(_) => {
            let message = format!("{} holds no text; change it with plaintext", own.field_path);
            return Err(at_path(Fault::new("PathNotFound", message)));
        }
        None => return Err(at_path(patch::missing(object, &own.field_path))),
    };
    let mut document = read(language, &text).map_err(|problem| {
        // A parser quotes what it can't read.
        let problem = if secret { String::new() } else { format!(": {problem}") };
        let message = format!("the text at {} can't be read as {}{problem}", own.field_path, language.name());
        at_path(Fault::new("UnreadableText", message))
    })?;
    patch::patched(&mut document, operations(language, list)?, "subPath")
        .map_err(|fault| Fault { below: format!("{}{}", language.field(), fault.below), ..fault })?;
    let written = write(language, &document, &text).map_err(|problem| {
        at_path(Fault::new("UnreadableText", format!("the document can't be written again: {problem}")))
    })?;
    if let Some(field) = object.pointer_mut(&own.field_path) {
        *field = Value::String(written);
    }
    Ok(())
}

fn read(language: Language, text: &str) -> Result<Value, String> {
    match language {
        Language::Json => {
            let parsed = parse_json(text.as_bytes(), MAX_DEPTH).map_err(|error| error.to_string())?;
            match parsed.duplicates.first() {
                None => Ok(parsed.value),
                Some(twice) => Err(format!("{twice} is there twice")),
            }
        }
        Language::Yaml => {
            let mut documents: Vec<Value> =
                serde_saphyr::from_multiple(text).map_err(|error| first_line(&error.to_string()))?;
            match (documents.len(), documents.pop()) {
                (1, Some(document)) => {
                    fleet_json::check_depth(&document, MAX_DEPTH).map_err(|error| error.to_string())?;
                    Ok(document)
                }
                (0, _) => Err("it is empty".to_owned()),
                (count, _) => Err(format!("it holds {count} documents; a path can be about one only")),
            }
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Keeps what is easily kept of the form: one line or several, a line's end at the end.
fn write(language: Language, document: &Value, before: &str) -> Result<String, String> {
    let written = match language {
        Language::Json if before.trim().contains('\n') => {
            serde_json::to_string_pretty(document).map_err(|error| error.to_string())?
        }
        Language::Json => document.to_string(),
        Language::Yaml => serde_saphyr::to_string(document).map_err(|error| error.to_string())?,
    };
    let end = if before.ends_with('\n') { "\n" } else { "" };
    Ok(format!("{}{end}", written.trim_end_matches('\n')))
}
