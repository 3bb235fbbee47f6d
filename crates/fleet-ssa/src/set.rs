//! Sets of fields, as a trie of path elements.

mod fields_v1;

pub use fields_v1::FieldsV1Error;

use std::cmp::Ordering;
use std::fmt;

use crate::element::{Path, PathElement};

/// A set of fields of an object.
///
/// A field may be in the set with or without the fields below it: the item of a list may be owned by one
/// manager and a field inside it by another.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// Sorted by element; no entry is empty (neither a member nor with children).
    entries: Vec<Entry>,
}

/// What a set says of one element and of what lies below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) element: PathElement,
    /// The element itself is in the set (`.` in FieldsV1 when there are children).
    pub(crate) member: bool,
    pub(crate) children: FieldSet,
}

impl Entry {
    fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }
}

impl FieldSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// The set of these paths through maps, for sets that are written down in code (`[["status"]]`).
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        paths.iter().map(|names| Path::of_fields(names)).collect()
    }

    /// Whether no field is in the set.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of fields in the set.
    pub fn len(&self) -> usize {
        self.entries.iter().map(|entry| usize::from(entry.member) + entry.children.len()).sum()
    }

    /// Puts one field into the set. The empty path (the object itself) is never owned.
    pub fn insert(&mut self, path: &[PathElement]) {
        let Some((first, rest)) = path.split_first() else { return };
        let entry = self.entry_mut(first);
        if rest.is_empty() {
            entry.member = true;
        } else {
            entry.children.insert(rest);
        }
    }

    fn entry_mut(&mut self, element: &PathElement) -> &mut Entry {
        let at = match self.position(element) {
            Ok(at) => at,
            Err(at) => {
                self.entries
                    .insert(at, Entry { element: element.clone(), member: false, children: Self::new() });
                at
            }
        };
        // `at` is in bounds: it was found, or just inserted.
        #[allow(clippy::indexing_slicing)]
        &mut self.entries[at]
    }

    fn position(&self, element: &PathElement) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.element.cmp(element))
    }

    /// Whether this very field is in the set (being above or below one that is doesn't count).
    pub fn contains(&self, path: &[PathElement]) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        self.get(first)
            .is_some_and(|entry| if rest.is_empty() { entry.member } else { entry.children.contains(rest) })
    }

    pub(crate) fn get(&self, element: &PathElement) -> Option<&Entry> {
        self.position(element).ok().and_then(|at| self.entries.get(at))
    }

    /// As [`FieldSet::get`] for a field of a map, without making an element.
    pub(crate) fn get_field(&self, name: &str) -> Option<&Entry> {
        let at = self.entries.binary_search_by(|entry| match &entry.element {
            PathElement::Field(own) => own.as_ref().cmp(name),
            _ => Ordering::Greater,
        });
        at.ok().and_then(|at| self.entries.get(at))
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds what is known of an element. Cheap when elements come in order.
    pub(crate) fn push(&mut self, element: PathElement, member: bool, children: Self) {
        let entry = Entry { element, member, children };
        if entry.is_empty() {
            return;
        }
        match self.entries.last().map(|last| last.element.cmp(&entry.element)) {
            None | Some(Ordering::Less) => self.entries.push(entry),
            Some(_) => match self.position(&entry.element) {
                Err(at) => self.entries.insert(at, entry),
                Ok(at) => {
                    if let Some(own) = self.entries.get_mut(at) {
                        own.member |= entry.member;
                        own.children = own.children.union(&entry.children);
                    }
                }
            },
        }
    }

    /// Drops what lies below an element, if it is known.
    pub(crate) fn forget_below(&mut self, element: &PathElement) {
        if let Some(entry) = self.position(element).ok().and_then(|at| self.entries.get_mut(at)) {
            entry.children = Self::new();
        }
    }

    /// What is in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        if self.is_empty() {
            return other.clone();
        }
        if other.is_empty() {
            return self.clone();
        }
        let mut entries = Vec::with_capacity(self.entries.len().max(other.entries.len()));
        let (mut ours, mut theirs) = (self.entries.iter().peekable(), other.entries.iter().peekable());
        loop {
            let order = match (ours.peek(), theirs.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.element.cmp(&b.element),
            };
            match order {
                Ordering::Less => entries.extend(ours.next().cloned()),
                Ordering::Greater => entries.extend(theirs.next().cloned()),
                Ordering::Equal => {
                    if let (Some(a), Some(b)) = (ours.next(), theirs.next()) {
                        entries.push(Entry {
                            element: a.element.clone(),
                            member: a.member || b.member,
                            children: a.children.union(&b.children),
                        });
                    }
                }
            }
        }
        Self { entries }
    }

    /// What is in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.zip(other, |a, b| {
            let b = b?;
            Some((a.member && b.member, a.children.intersection(&b.children)))
        })
    }

    /// What is in this set and not in the other, field by field.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.zip(other, |a, b| {
            Some(match b {
                None => (a.member, a.children.clone()),
                Some(b) => (a.member && !b.member, a.children.difference(&b.children)),
            })
        })
    }

    /// What is in this set, and neither in the other nor below one of its fields.
    #[must_use]
    pub fn recursive_difference(&self, other: &Self) -> Self {
        self.zip(other, |a, b| match b {
            None => Some((a.member, a.children.clone())),
            Some(b) if b.member => None,
            Some(b) => Some((a.member, a.children.recursive_difference(&b.children))),
        })
    }

    /// This set's entries, each seen with the other's entry for the same element.
    fn zip(&self, other: &Self, keep: impl Fn(&Entry, Option<&Entry>) -> Option<(bool, Self)>) -> Self {
        let mut entries = Vec::new();
        let mut theirs = other.entries.iter().peekable();
        for ours in &self.entries {
            while theirs.next_if(|entry| entry.element < ours.element).is_some() {}
            let partner = theirs.next_if(|entry| entry.element == ours.element);
            if let Some((member, children)) = keep(ours, partner)
                && (member || !children.is_empty())
            {
                entries.push(Entry { element: ours.element.clone(), member, children });
            }
        }
        Self { entries }
    }

    /// Whether every field of this set is in the other.
    pub fn is_subset(&self, other: &Self) -> bool {
        let mut theirs = other.entries.iter().peekable();
        self.entries.iter().all(|ours| {
            while theirs.next_if(|entry| entry.element < ours.element).is_some() {}
            theirs.next_if(|entry| entry.element == ours.element).is_some_and(|entry| {
                (!ours.member || entry.member) && ours.children.is_subset(&entry.children)
            })
        })
    }

    /// The fields below which nothing else is in the set.
    #[must_use]
    pub fn leaves(&self) -> Self {
        let entries = self.entries.iter().map(|entry| Entry {
            element: entry.element.clone(),
            member: entry.member && entry.children.is_empty(),
            children: entry.children.leaves(),
        });
        Self { entries: entries.collect() }
    }

    /// The fields in the set, in order.
    pub fn paths(&self) -> Vec<Path> {
        fn walk(set: &FieldSet, prefix: &mut Vec<PathElement>, out: &mut Vec<Path>) {
            for entry in &set.entries {
                prefix.push(entry.element.clone());
                if entry.member {
                    out.push(Path(prefix.clone()));
                }
                walk(&entry.children, prefix, out);
                prefix.pop();
            }
        }
        let mut out = Vec::new();
        walk(self, &mut Vec::new(), &mut out);
        out
    }
}

impl FromIterator<Path> for FieldSet {
    fn from_iter<I: IntoIterator<Item = Path>>(paths: I) -> Self {
        let mut set = Self::new();
        for path in paths {
            set.insert(&path.0);
        }
        set
    }
}

impl fmt::Debug for FieldSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.paths().iter().map(ToString::to_string)).finish()
    }
}

impl fmt::Display for FieldSet {
    /// The paths, separated by commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, path) in self.paths().iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{path}")?;
        }
        Ok(())
    }
}
