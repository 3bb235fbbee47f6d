//! What a patch algorithm must know of a type.

use serde_json::Value;

/// How the items of a list are told apart (`x-kubernetes-list-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListType {
    /// The list is one value; a writer owns it whole.
    Atomic,
    /// Items are scalars, each owned on its own.
    Set,
    /// Items are maps, identified by the values of [`Shape::list_map_keys`].
    Map,
}

/// How strategic merge patch treats a field (`x-kubernetes-patch-strategy`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists are merged (by [`Shape::patch_merge_key`], or as a set of scalars) instead of replaced.
    pub merge: bool,
    /// Keys that the patch's `$retainKeys` doesn't name are cleared.
    pub retain_keys: bool,
}

/// The view of a type that merge, apply and field sets need, implemented by `fleet_schema::SchemaRef`
/// and, for data without a schema, by [`Untyped`].
///
/// A `Shape` stands at one node of a type; `field` and `items` walk down. `None` means that nothing is
/// known below: the value there is treated as [`Untyped`].
pub trait Shape<'a>: Copy {
    /// The type of a map's entry: a declared property, else the value type of an open map.
    fn field(self, name: &str) -> Option<Self>;
    /// The type of a list's items.
    fn items(self) -> Option<Self>;
    /// How this list's items are identified.
    fn list_type(self) -> ListType;
    /// The keys that identify an item of a [`ListType::Map`], in declared order.
    fn list_map_keys(self) -> &'a [String];
    /// The default of a field, here used for absent keys of list items (`protocol: TCP`).
    fn default_value(self) -> Option<&'a Value>;
    /// A map that is one value (`x-kubernetes-map-type: atomic`).
    fn is_atomic_map(self) -> bool;
    /// The key by which strategic merge patch merges this list (`x-kubernetes-patch-merge-key`).
    fn patch_merge_key(self) -> Option<&'a str>;
    /// The strategy of this field in strategic merge patch.
    fn patch_strategy(self) -> PatchStrategy;
}

/// The shape of data without a schema: maps are granular, lists atomic.
#[derive(Debug, Clone, Copy, Default)]
pub struct Untyped;

impl<'a> Shape<'a> for Untyped {
    fn field(self, _name: &str) -> Option<Self> {
        Some(self)
    }
    fn items(self) -> Option<Self> {
        Some(self)
    }
    fn list_type(self) -> ListType {
        ListType::Atomic
    }
    fn list_map_keys(self) -> &'a [String] {
        &[]
    }
    fn default_value(self) -> Option<&'a Value> {
        None
    }
    fn is_atomic_map(self) -> bool {
        false
    }
    fn patch_merge_key(self) -> Option<&'a str> {
        None
    }
    fn patch_strategy(self) -> PatchStrategy {
        PatchStrategy::default()
    }
}
