//! The API server through the eyes of its clients, in one process.
#![allow(missing_docs)]

mod apply;
mod basics;
mod custom;
mod documents;
mod paging;
mod runtime;
mod support;
mod watching;
mod writing;
