//! A place in a type and in an object, while walking down both.

use std::sync::Arc;

use fleet_json::{ListType, Shape};
use serde_json::Value;

use crate::element::{PathElement, Scalar};

/// How deep objects are walked; what lies deeper is one value. Parsers of JSON stop earlier.
pub(crate) const MAX_DEPTH: usize = 192;

/// A place in a type. `None` where nothing is known: maps are granular there, lists atomic.
#[derive(Clone, Copy)]
pub(crate) struct Node<S> {
    shape: Option<S>,
    depth: usize,
}

/// What a value is for ownership.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Owned as a whole: a scalar, null, an atomic list or map.
    Leaf,
    /// A map whose fields are owned one by one.
    Map,
    /// A list whose items are owned one by one.
    List,
}

/// Why an item of a list can't be told from others.
pub(crate) type ItemProblem = &'static str;

impl<'a, S: Shape<'a>> Node<S> {
    pub(crate) fn root(shape: S) -> Self {
        Self { shape: Some(shape), depth: 0 }
    }

    pub(crate) fn kind(self, value: &Value) -> Kind {
        if self.depth >= MAX_DEPTH {
            return Kind::Leaf;
        }
        match value {
            Value::Object(_) if !self.shape.is_some_and(Shape::is_atomic_map) => Kind::Map,
            Value::Array(_) if self.list_type() != ListType::Atomic => Kind::List,
            _ => Kind::Leaf,
        }
    }

    /// The fields of a map of this type.
    pub(crate) fn fields(self) -> Fields<S> {
        // No property has this name, so a type that answers takes any.
        let open = self.shape.is_none_or(|shape| shape.field("\u{0}").is_some());
        Fields { node: self, open }
    }

    /// The items of a list of this type.
    pub(crate) fn items(self) -> Self {
        Self { shape: self.shape.and_then(Shape::items), depth: self.depth + 1 }
    }

    fn list_type(self) -> ListType {
        self.shape.map_or(ListType::Atomic, Shape::list_type)
    }

    /// How an item of this list is called, with the defaults of absent keys filled in.
    pub(crate) fn element_of(self, item: &Value) -> Result<PathElement, ItemProblem> {
        match (self.list_type(), self.shape) {
            (ListType::Map, Some(shape)) => {
                let Value::Object(map) = item else {
                    return Err("expected a map with the key fields of the list");
                };
                let keys = shape.list_map_keys();
                let mut fields = Vec::with_capacity(keys.len());
                for key in keys {
                    let value = match map.get(key) {
                        Some(value) => Some(value),
                        None => {
                            shape.items().and_then(|items| items.field(key)).and_then(Shape::default_value)
                        }
                    };
                    // Items may leave out a key without a default: that is another identity, not an error.
                    if let Some(value) = value {
                        let scalar =
                            Scalar::from_value(value).ok_or("a key field of the list must be a scalar")?;
                        fields.push((Arc::from(key.as_str()), scalar));
                    }
                }
                if fields.is_empty() {
                    return Err("the item has none of the key fields of the list");
                }
                Ok(PathElement::key(fields))
            }
            _ => Scalar::from_value(item).map(PathElement::Value).ok_or("items of a set must be scalars"),
        }
    }
}

/// The fields of a map.
#[derive(Clone, Copy)]
pub(crate) struct Fields<S> {
    node: Node<S>,
    /// Any name goes, so that the presence of a field is itself a fact that is owned.
    open: bool,
}

impl<'a, S: Shape<'a>> Fields<S> {
    pub(crate) fn get(self, name: &str) -> Node<S> {
        Node { shape: self.node.shape.and_then(|shape| shape.field(name)), depth: self.node.depth + 1 }
    }

    /// Whether the type names this field. Such a field exists by having something below it; a key of an
    /// open map is owned by itself too.
    pub(crate) fn declares(self, name: &str) -> bool {
        !self.open && self.node.shape.is_some_and(|shape| shape.field(name).is_some())
    }
}

/// Where in an object a walk is, for the fields that the API server writes and nobody owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the object itself.
    Object,
    /// At its `metadata`.
    Metadata,
    /// Anywhere else, or in a tree that is no object.
    Inner,
}

impl Place {
    pub(crate) fn below(self, name: &str) -> Self {
        match self {
            Self::Object if name == "metadata" => Self::Metadata,
            _ => Self::Inner,
        }
    }

    /// Whether a manager can own this field or something below it.
    pub(crate) fn can_own(self, name: &str) -> bool {
        match self {
            Self::Inner => true,
            Self::Object => !matches!(name, "apiVersion" | "kind"),
            Self::Metadata => !(self.is_system(name) || matches!(name, "name" | "managedFields")),
        }
    }

    /// Whether the field itself can be owned, not only what is below.
    pub(crate) fn can_be_member(self, name: &str) -> bool {
        !(self == Self::Object && name == "metadata")
    }

    /// Whether a field is the API server's: an applied value doesn't replace it.
    pub(crate) fn is_system(self, name: &str) -> bool {
        self == Self::Metadata
            && matches!(
                name,
                "namespace"
                    | "uid"
                    | "resourceVersion"
                    | "generation"
                    | "creationTimestamp"
                    | "deletionTimestamp"
                    | "deletionGracePeriodSeconds"
                    | "selfLink"
            )
    }

    pub(crate) fn is_managed_fields(self, name: &str) -> bool {
        self == Self::Metadata && name == "managedFields"
    }
}
