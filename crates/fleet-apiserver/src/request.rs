//! A request taken apart: the route that its path names, its options, what it accepts and its body.

pub(crate) mod accept;
pub(crate) mod body;
pub(crate) mod query;
pub(crate) mod route;

pub(crate) use accept::{Accept, Form};
pub(crate) use query::Query;
pub(crate) use route::{ResourcePath, Route};
