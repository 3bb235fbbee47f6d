//! The messages of built-in kinds.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Taken from the struct tags of `k8s.io/api`, `k8s.io/apimachinery`, `k8s.io/apiextensions-apiserver` and
/// `k8s.io/kube-aggregator` 0.35.0. Sorted by name; `m7` means the message on line 7, from 0.
const DATA: &str = include_str!("../../data/protobuf-1.35.txt");

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Binary,
    Integer,
    Bool,
    Float,
    Message(usize),
    List(Box<Type>),
    Map(Box<Type>),
    /// A message that is nothing but a list.
    Wrapped(Box<Type>),
    Special(Special),
}

/// Types with a JSON form of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    Time,
    MicroTime,
    Duration,
    Quantity,
    IntOrString,
    Raw,
    SchemaOrList,
    SchemaOrBool,
    SchemaOrNames,
}

/// A field of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// In JSON; empty where the fields of this one stand in its place.
    pub(super) name: String,
    pub(super) ty: Type,
    pub(super) omits_zero: bool,
}

#[derive(Debug)]
pub(super) struct Table {
    by_name: HashMap<&'static str, usize>,
    messages: Vec<HashMap<u32, Field>>,
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::read);

pub(super) fn table() -> &'static Table {
    &TABLE
}

impl Table {
    fn read() -> Self {
        let mut table = Self { by_name: HashMap::new(), messages: Vec::new() };
        for line in DATA.lines() {
            let mut words = line.split(' ');
            table.by_name.insert(words.next().unwrap_or_default(), table.messages.len());
            table.messages.push(words.filter_map(field).collect());
        }
        table
    }

    /// The message of a kind.
    pub(super) fn root(&self, api_version: &str, kind: &str) -> Option<usize> {
        if kind == "DeleteOptions" {
            return self.by_name.get("meta/v1.DeleteOptions").copied();
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
        let package = group.split('.').next().unwrap_or_default();
        self.by_name.get(format!("{package}/{version}.{kind}").as_str()).copied()
    }

    /// The message of a custom kind's schema.
    pub(super) fn schema(&self) -> Option<usize> {
        self.by_name.get("apiextensions/v1.JSONSchemaProps").copied()
    }

    pub(super) fn field(&self, message: usize, number: u32) -> Option<&Field> {
        self.messages.get(message)?.get(&number)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    #[cfg(test)]
    pub(super) fn fields(&self) -> usize {
        self.messages.iter().map(HashMap::len).sum()
    }
}

/// `4-:strategy:m57`
fn field(word: &'static str) -> Option<(u32, Field)> {
    let mut parts = word.splitn(3, ':');
    let (number, name, ty) = (parts.next()?, parts.next()?, parts.next()?);
    let omits_zero = number.ends_with('-');
    Some((number.trim_end_matches('-').parse().ok()?, Field::new(name, type_of(ty)?, omits_zero)))
}

fn type_of(text: &str) -> Option<Type> {
    let (first, rest) = text.split_at_checked(1)?;
    Some(match first {
        "s" => Type::Text,
        "y" => Type::Binary,
        "i" => Type::Integer,
        "b" => Type::Bool,
        "f" => Type::Float,
        "m" => Type::Message(rest.parse().ok()?),
        "[" => Type::List(Box::new(type_of(rest)?)),
        "{" => Type::Map(Box::new(type_of(rest)?)),
        "l" => Type::Wrapped(Box::new(type_of(rest)?)),
        "!" => Type::Special(match rest {
            "time" => Special::Time,
            "microtime" => Special::MicroTime,
            "duration" => Special::Duration,
            "quantity" => Special::Quantity,
            "intstr" => Special::IntOrString,
            "raw" => Special::Raw,
            "or1" => Special::SchemaOrList,
            "or2" => Special::SchemaOrBool,
            "or3" => Special::SchemaOrNames,
            _ => return None,
        }),
        _ => return None,
    })
}
