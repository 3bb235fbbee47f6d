//! Values during an evaluation: JSON is borrowed, what is made is shared.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::rc::Rc;

use fleet_json::Quantity;
use serde_json::{Map, Number, Value};

use crate::authority::Asking;
use crate::meter::{Fault, Meter, Outcome};

/// Deeper values are refused rather than walked; serde_json itself stops at 128.
const MAX_VALUE_DEPTH: usize = 256;

/// Text, borrowed from the inputs or the expression, or made.
#[derive(Debug, Clone)]
pub(crate) enum Text<'a> {
    Borrowed(&'a str),
    Made(Rc<str>),
}

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Made(text) => text,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum List<'a> {
    Json(&'a [Value]),
    Made(Rc<Vec<Val<'a>>>),
}

impl<'a> List<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            List::Json(items) => items.len(),
            List::Made(items) => items.len(),
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<Val<'a>> {
        match self {
            List::Json(items) => items.get(index).map(Val::from_json),
            List::Made(items) => items.get(index).cloned(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Val<'a>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

/// A map's key. CEL allows numbers and booleans besides text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Bool(bool),
    Number(i128),
    Text(String),
}

impl Key {
    pub(crate) fn of(value: &Val<'_>) -> Outcome<Self> {
        match value {
            Val::Bool(b) => Ok(Key::Bool(*b)),
            Val::Int(i) => Ok(Key::Number(i128::from(*i))),
            Val::Uint(u) => Ok(Key::Number(i128::from(*u))),
            Val::String(text) => Ok(Key::Text(text.to_string())),
            other => Err(Fault::new(format!("{} can't be a map's key", other.type_name()))),
        }
    }

    pub(crate) fn to_val<'a>(&self) -> Val<'a> {
        match self {
            Key::Bool(b) => Val::Bool(*b),
            Key::Number(n) => {
                i64::try_from(*n).map_or_else(|_| Val::Uint(u64::try_from(*n).unwrap_or(u64::MAX)), Val::Int)
            }
            Key::Text(text) => Val::text(text.clone()),
        }
    }

    fn into_text(self) -> String {
        match self {
            Key::Bool(b) => b.to_string(),
            Key::Number(n) => n.to_string(),
            Key::Text(text) => text,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Dict<'a> {
    Json(&'a Map<String, Value>),
    Made(Rc<BTreeMap<Key, Val<'a>>>),
}

impl<'a> Dict<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Dict::Json(map) => map.len(),
            Dict::Made(map) => map.len(),
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Val<'a>> {
        match (self, key) {
            (Dict::Json(map), Key::Text(text)) => map.get(text).map(Val::from_json),
            (Dict::Json(_), _) => None,
            (Dict::Made(map), key) => map.get(key).cloned(),
        }
    }

    /// A field by its name in an expression, which may be escaped as Kubernetes escapes it.
    pub(crate) fn field(&self, name: &str) -> Option<Val<'a>> {
        let get = |name: &str| match self {
            Dict::Json(map) => map.get(name).map(Val::from_json),
            Dict::Made(map) => map.get(&Key::Text(name.to_owned())).cloned(),
        };
        get(name).or_else(|| if name.contains("__") { get(&unescaped(name)) } else { None })
    }

    /// Sorted, whatever order the JSON map keeps.
    pub(crate) fn keys(&self) -> Vec<Val<'a>> {
        match self {
            Dict::Json(map) => {
                let mut keys: Vec<&'a str> = map.keys().map(String::as_str).collect();
                keys.sort_unstable();
                keys.into_iter().map(|key| Val::String(Text::Borrowed(key))).collect()
            }
            Dict::Made(map) => map.keys().map(Key::to_val).collect(),
        }
    }

    pub(crate) fn entries(&self) -> Vec<(Key, Val<'a>)> {
        match self {
            Dict::Json(map) => {
                let mut entries: Vec<_> =
                    map.iter().map(|(k, v)| (Key::Text(k.clone()), Val::from_json(v))).collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                entries
            }
            Dict::Made(map) => map.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        }
    }
}

/// A CEL value.
#[derive(Debug, Clone)]
pub(crate) enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Rc<[u8]>),
    List(List<'a>),
    Map(Dict<'a>),
    Optional(Option<Rc<Val<'a>>>),
    Quantity(Quantity),
    Type(&'static str),
    /// A question to an authorizer, or its answer.
    Asking(Rc<Asking>),
}

impl<'a> Val<'a> {
    pub(crate) fn from_json(value: &'a Value) -> Self {
        match value {
            Value::Null => Val::Null,
            Value::Bool(b) => Val::Bool(*b),
            Value::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(int), _) => Val::Int(int),
                (None, Some(uint)) => Val::Uint(uint),
                (None, None) => Val::Double(n.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Val::String(Text::Borrowed(text)),
            Value::Array(items) => Val::List(List::Json(items)),
            Value::Object(map) => Val::Map(Dict::Json(map)),
        }
    }

    pub(crate) fn text(text: impl Into<Rc<str>>) -> Self {
        Val::String(Text::Made(text.into()))
    }

    pub(crate) fn list(items: Vec<Val<'a>>) -> Self {
        Val::List(List::Made(Rc::new(items)))
    }

    pub(crate) fn map(entries: BTreeMap<Key, Val<'a>>) -> Self {
        Val::Map(Dict::Made(Rc::new(entries)))
    }

    pub(crate) fn some(value: Val<'a>) -> Self {
        Val::Optional(Some(Rc::new(value)))
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Val::Null => "null_type",
            Val::Bool(_) => "bool",
            Val::Int(_) => "int",
            Val::Uint(_) => "uint",
            Val::Double(_) => "double",
            Val::String(_) => "string",
            Val::Bytes(_) => "bytes",
            Val::List(_) => "list",
            Val::Map(_) => "map",
            Val::Optional(_) => "optional_type",
            Val::Quantity(_) => "quantity",
            Val::Type(_) => "type",
            Val::Asking(asking) => asking.type_name(),
        }
    }

    /// What `optional.ofNonZeroValue` takes for nothing.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Val::Null => true,
            Val::Bool(b) => !b,
            Val::Int(i) => *i == 0,
            Val::Uint(u) => *u == 0,
            Val::Double(d) => *d == 0.0,
            Val::String(text) => text.is_empty(),
            Val::Bytes(bytes) => bytes.is_empty(),
            Val::List(list) => list.len() == 0,
            Val::Map(map) => map.len() == 0,
            Val::Optional(inner) => inner.is_none(),
            Val::Quantity(q) => q.is_zero(),
            Val::Type(_) | Val::Asking(_) => false,
        }
    }

    /// CEL equality: numbers compare across types, different types are unequal.
    pub(crate) fn equals(&self, other: &Val<'a>, meter: &mut Meter) -> Outcome<bool> {
        self.equals_within(other, meter, 0)
    }

    fn equals_within(&self, other: &Val<'a>, meter: &mut Meter, depth: usize) -> Outcome<bool> {
        meter.charge(1)?;
        if depth > MAX_VALUE_DEPTH {
            return Err(Fault::limit("the values compared are nested too deep"));
        }
        Ok(match (self, other) {
            (Val::Null, Val::Null) => true,
            (Val::Bool(a), Val::Bool(b)) => a == b,
            (Val::String(a), Val::String(b)) => {
                meter.charge_text(a.len().min(b.len()))?;
                **a == **b
            }
            (Val::Bytes(a), Val::Bytes(b)) => {
                meter.charge_text(a.len().min(b.len()))?;
                a == b
            }
            (Val::List(a), Val::List(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (left, right) in a.iter().zip(b.iter()) {
                    if !left.equals_within(&right, meter, depth + 1)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Val::Map(a), Val::Map(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                meter.charge(a.len())?;
                for (key, left) in a.entries() {
                    match b.get(&key) {
                        Some(right) if left.equals_within(&right, meter, depth + 1)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (Val::Optional(a), Val::Optional(b)) => match (a, b) {
                (Some(a), Some(b)) => a.equals_within(b, meter, depth + 1)?,
                (None, None) => true,
                _ => false,
            },
            (Val::Quantity(a), Val::Quantity(b)) => a == b,
            (Val::Type(a), Val::Type(b)) => a == b,
            _ => compare_numbers(self, other) == Some(Ordering::Equal),
        })
    }

    /// The order of `<`; `None` where CEL knows none.
    pub(crate) fn compare(&self, other: &Val<'a>, meter: &mut Meter) -> Outcome<Option<Ordering>> {
        Ok(match (self, other) {
            (Val::Bool(a), Val::Bool(b)) => Some(a.cmp(b)),
            (Val::String(a), Val::String(b)) => {
                meter.charge_text(a.len().min(b.len()))?;
                Some((**a).cmp(&**b))
            }
            (Val::Bytes(a), Val::Bytes(b)) => {
                meter.charge_text(a.len().min(b.len()))?;
                Some(a.cmp(b))
            }
            (Val::Quantity(a), Val::Quantity(b)) => Some(a.cmp(b)),
            _ => compare_numbers(self, other),
        })
    }

    /// The JSON of a result of at most `budget` bytes.
    pub(crate) fn into_json(self, budget: usize) -> Outcome<Value> {
        let mut left = budget;
        self.json_within(&mut left, 0).map_err(|fault| match fault.message.as_str() {
            "" => Fault::limit(format!("the result is larger than {budget} bytes")),
            _ => fault,
        })
    }

    fn json_within(self, left: &mut usize, depth: usize) -> Outcome<Value> {
        spend(left, 4)?;
        if depth > MAX_VALUE_DEPTH {
            return Err(Fault::limit("the result is nested too deep"));
        }
        Ok(match self {
            Val::Null | Val::Optional(None) => Value::Null,
            Val::Bool(b) => Value::Bool(b),
            Val::Int(i) => Value::from(i),
            Val::Uint(u) => Value::from(u),
            Val::Double(d) => Value::Number(
                Number::from_f64(d).ok_or_else(|| Fault::new(format!("{d} is no number in JSON")))?,
            ),
            Val::String(text) => {
                spend(left, text.len())?;
                Value::String(text.to_string())
            }
            Val::Bytes(bytes) => {
                spend(left, bytes.len().saturating_mul(2))?;
                Value::String(crate::functions::base64::encode(&bytes))
            }
            Val::Optional(Some(inner)) => inner.as_ref().clone().json_within(left, depth + 1)?,
            Val::Quantity(_) | Val::Type(_) | Val::Asking(_) => {
                return Err(Fault::new(format!(
                    "the result is a {}, which JSON doesn't have; wrap it in string()",
                    self.type_name()
                )));
            }
            Val::List(list) => {
                let mut made = Vec::with_capacity(list.len());
                for item in list.iter() {
                    made.push(item.json_within(left, depth + 1)?);
                }
                Value::Array(made)
            }
            Val::Map(map) => {
                let mut made = Map::new();
                for (key, value) in map.entries() {
                    let key = key.into_text();
                    spend(left, key.len())?;
                    let value = value.json_within(left, depth + 1)?;
                    if let Some(_twice) = made.insert(key.clone(), value) {
                        return Err(Fault::new(format!("the result has the key {key:?} twice")));
                    }
                }
                Value::Object(made)
            }
        })
    }
}

/// `a__dash__b` is `a-b`, `__if__` is `if`: names that CEL can't write, as rules in CRDs write them.
pub(crate) fn unescaped(name: &str) -> String {
    const ESCAPES: [(&str, &str); 4] =
        [("__dot__", "."), ("__dash__", "-"), ("__slash__", "/"), ("__underscores__", "__")];
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(next) = rest.chars().next() {
        match ESCAPES.iter().find_map(|(from, to)| Some((rest.strip_prefix(from)?, to))) {
            Some((behind, to)) => {
                text.push_str(to);
                rest = behind;
            }
            None => {
                text.push(next);
                rest = rest.get(next.len_utf8()..).unwrap_or_default();
            }
        }
    }
    match text.strip_prefix("__").and_then(|text| text.strip_suffix("__")) {
        Some(keyword) if name.len() == text.len() => keyword.to_owned(),
        _ => text,
    }
}

/// An empty message stands for "too large": the budget is known one level up only.
fn spend(left: &mut usize, bytes: usize) -> Outcome<()> {
    *left = left.checked_sub(bytes).ok_or_else(|| Fault::limit(""))?;
    Ok(())
}

/// Exact comparison of numbers of different types.
pub(crate) fn compare_numbers(a: &Val<'_>, b: &Val<'_>) -> Option<Ordering> {
    enum Num {
        Whole(i128),
        Fraction(f64),
    }
    let number = |value: &Val<'_>| match value {
        Val::Int(i) => Some(Num::Whole(i128::from(*i))),
        Val::Uint(u) => Some(Num::Whole(i128::from(*u))),
        Val::Double(d) => Some(Num::Fraction(*d)),
        _ => None,
    };
    match (number(a)?, number(b)?) {
        (Num::Whole(a), Num::Whole(b)) => Some(a.cmp(&b)),
        (Num::Fraction(a), Num::Fraction(b)) => a.partial_cmp(&b),
        (Num::Whole(a), Num::Fraction(b)) => compare_mixed(a, b),
        (Num::Fraction(a), Num::Whole(b)) => compare_mixed(b, a).map(Ordering::reverse),
    }
}

fn compare_mixed(whole: i128, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    // Saturates, which is right: every i64 and u64 lies far within i128.
    let floor = double.floor() as i128;
    Some(whole.cmp(&floor).then(if double > double.floor() { Ordering::Less } else { Ordering::Equal }))
}
