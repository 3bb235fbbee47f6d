//! Built-in objects in Kubernetes' protobuf form, read into JSON.
//!
//! Go clients send their typed requests so since 1.32 (`kubectl create namespace`, `kubectl auth can-i`, event
//! recorders) and don't fall back; answers they take in JSON. Field numbers and Go's notion of "empty" aren't in
//! OpenAPI, so they are a table of their own: a line per message, `number[-]:json name:type`, where `-` says that Go
//! leaves the field's zero value out of JSON, an empty name that the field's fields stand in its place.

mod table;
mod wire;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value, json};

use table::{Field, Special, Table, Type};
use wire::{Malformed, Reader, Wire};

/// The media type.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// Stands before the envelope.
const MAGIC: &[u8] = b"k8s\0";

/// How deep messages may nest.
const DEPTH: usize = 64;

/// Reads an enveloped object.
///
/// # Errors
/// What is wrong: no envelope, an unknown kind, or bytes that aren't protobuf.
pub(crate) fn decode(bytes: &[u8]) -> Result<Value, String> {
    let envelope = bytes.strip_prefix(MAGIC).ok_or("it doesn't begin with \"k8s\\0\"")?;
    let (mut api_version, mut kind, mut encoding) = (String::new(), String::new(), "");
    let mut raw: &[u8] = &[];
    let mut reader = Reader::new(envelope);
    while let Some((number, wire)) = reader.next().map_err(words)? {
        match (number, wire) {
            (1, Wire::Bytes(meta)) => {
                let mut meta = Reader::new(meta);
                while let Some((number, wire)) = meta.next().map_err(words)? {
                    match (number, wire) {
                        (1, Wire::Bytes(text)) => api_version = lossy(text),
                        (2, Wire::Bytes(text)) => kind = lossy(text),
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(content)) => raw = content,
            (3, Wire::Bytes(text)) => encoding = std::str::from_utf8(text).unwrap_or("?"),
            _ => {}
        }
    }
    if !encoding.is_empty() {
        return Err(format!("its content is encoded as {encoding:?}"));
    }
    let table = table::table();
    let message = table
        .root(&api_version, &kind)
        .ok_or_else(|| format!("{kind} in version {api_version:?} isn't known in this form"))?;
    let mut object = Map::new();
    fill(table, message, raw, &mut object, DEPTH).map_err(words)?;
    object.insert("apiVersion".into(), json!(api_version));
    object.insert("kind".into(), json!(kind));
    Ok(Value::Object(object))
}

fn words(error: Malformed) -> String {
    error.0.to_owned()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads a message's fields into a map.
fn fill(
    table: &Table,
    message: usize,
    bytes: &[u8],
    out: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), Malformed> {
    let depth = depth.checked_sub(1).ok_or(Malformed("it is nested too deeply"))?;
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next()? {
        // Fields of a newer version are skipped, as Go does.
        let Some(field) = table.field(message, number) else { continue };
        match (&field.ty, wire) {
            (Type::Message(inner), Wire::Bytes(content)) if field.name.is_empty() => {
                fill(table, *inner, content, out, depth)?;
            }
            (Type::List(item), wire) => {
                let list = out.entry(field.name.clone()).or_insert_with(|| json!([]));
                if let Some(list) = list.as_array_mut() {
                    match (&**item, wire) {
                        (Type::Integer | Type::Bool, Wire::Bytes(packed)) => {
                            let mut packed = Reader::new(packed);
                            while !packed.is_empty() {
                                list.push(scalar(item, packed.varint()?));
                            }
                        }
                        (item, wire) => list.push(value(table, item, wire, depth)?),
                    }
                }
            }
            (Type::Map(item), Wire::Bytes(entry)) => {
                let (key, value) = map_entry(table, item, entry, depth)?;
                let map = out.entry(field.name.clone()).or_insert_with(|| json!({}));
                if let Some(map) = map.as_object_mut() {
                    map.insert(key, value);
                }
            }
            (ty, wire) => {
                let value = value(table, ty, wire, depth)?;
                if !(value.is_null() || (field.omits_zero && is_zero(&value))) {
                    out.insert(field.name.clone(), value);
                }
            }
        }
    }
    Ok(())
}

fn map_entry(table: &Table, item: &Type, entry: &[u8], depth: usize) -> Result<(String, Value), Malformed> {
    let (mut key, mut found) = (String::new(), None);
    let mut reader = Reader::new(entry);
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Bytes(text)) => key = lossy(text),
            (2, wire) => found = Some(value(table, item, wire, depth)?),
            _ => {}
        }
    }
    let found = match found {
        Some(found) => found,
        None => value(table, item, Wire::Bytes(&[]), depth)?,
    };
    Ok((key, found))
}

fn value(table: &Table, ty: &Type, wire: Wire<'_>, depth: usize) -> Result<Value, Malformed> {
    Ok(match (ty, wire) {
        (Type::Text, Wire::Bytes(text)) => {
            Value::String(String::from_utf8(text.to_vec()).map_err(|_| Malformed("a string isn't UTF-8"))?)
        }
        (Type::Binary, Wire::Bytes(bytes)) => Value::String(STANDARD.encode(bytes)),
        (Type::Integer | Type::Bool, Wire::Varint(number)) => scalar(ty, number),
        (Type::Float, Wire::Fixed64(bits)) => {
            Number::from_f64(f64::from_bits(bits)).map_or(Value::Null, Value::Number)
        }
        (Type::Message(message), Wire::Bytes(content)) => {
            let mut map = Map::new();
            fill(table, *message, content, &mut map, depth)?;
            Value::Object(map)
        }
        (Type::Wrapped(item), Wire::Bytes(content)) => {
            let mut list = Vec::new();
            let mut reader = Reader::new(content);
            while let Some((number, wire)) = reader.next()? {
                if number == 1 {
                    list.push(value(table, item, wire, depth.saturating_sub(1))?);
                }
            }
            Value::Array(list)
        }
        (Type::Special(special), Wire::Bytes(content)) => special_value(table, *special, content, depth)?,
        _ => return Err(Malformed("a field has another type than expected")),
    })
}

fn scalar(ty: &Type, number: u64) -> Value {
    match ty {
        Type::Bool => Value::Bool(number != 0),
        // Negative numbers come as their two's complement.
        _ => json!(number.cast_signed()),
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(flag) => !flag,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Null => true,
    }
}

/// Types whose JSON isn't that of their fields.
fn special_value(table: &Table, special: Special, content: &[u8], depth: usize) -> Result<Value, Malformed> {
    let mut numbers = [0_i64; 3];
    let mut bytes: [Option<&[u8]>; 4] = [None; 4];
    let mut lists: Vec<&[u8]> = Vec::new();
    let mut reader = Reader::new(content);
    while let Some((number, wire)) = reader.next()? {
        let at = number as usize;
        match wire {
            Wire::Varint(found) => {
                if let Some(slot) = numbers.get_mut(at.wrapping_sub(1)) {
                    *slot = found.cast_signed();
                }
            }
            Wire::Bytes(found) => {
                if at == 2 {
                    lists.push(found);
                }
                if let Some(slot) = bytes.get_mut(at) {
                    *slot = Some(found);
                }
            }
            _ => {}
        }
    }
    let [first, second, _] = numbers;
    let [_, one, two, three] = bytes;
    let schema = |content: &[u8]| -> Result<Value, Malformed> {
        let message = table.schema().ok_or(Malformed("schemas aren't known in this form"))?;
        let mut map = Map::new();
        fill(table, message, content, &mut map, depth)?;
        Ok(Value::Object(map))
    };
    Ok(match special {
        Special::Time | Special::MicroTime if content.is_empty() => Value::Null,
        Special::Time | Special::MicroTime => {
            let nanos = if special == Special::Time { 0 } else { i32::try_from(second).unwrap_or(0) };
            match jiff::Timestamp::new(first, nanos) {
                Ok(time) if special == Special::Time => json!(time.to_string()),
                Ok(time) => json!(format!("{time:.6}")),
                Err(_) => return Err(Malformed("a time is out of range")),
            }
        }
        Special::Duration => json!(format!("{}s", first as f64 / 1e9)),
        Special::Quantity => match one {
            Some(text) => json!(lossy(text)),
            None => json!("0"),
        },
        Special::IntOrString => match (first, three) {
            (0, _) => json!(second),
            (_, text) => json!(lossy(text.unwrap_or_default())),
        },
        Special::Raw => match one {
            Some(raw) if !raw.is_empty() => fleet_json::parse_json(raw, fleet_json::MAX_DEPTH)
                .map(|parsed| parsed.value)
                .map_err(|_| Malformed("an embedded object isn't JSON"))?,
            _ => Value::Null,
        },
        Special::SchemaOrList => match one {
            Some(content) => schema(content)?,
            None => Value::Array(lists.into_iter().map(schema).collect::<Result<_, _>>()?),
        },
        Special::SchemaOrBool => match two {
            Some(content) => schema(content)?,
            None => json!(first != 0),
        },
        Special::SchemaOrNames => match one {
            Some(content) => schema(content)?,
            None => Value::Array(lists.into_iter().map(|name| json!(lossy(name))).collect()),
        },
    })
}

impl Field {
    /// A field's zero value doesn't show in JSON.
    fn new(name: &str, ty: Type, omits_zero: bool) -> Self {
        Self { name: name.to_owned(), ty, omits_zero }
    }
}

#[cfg(test)]
mod tests;
