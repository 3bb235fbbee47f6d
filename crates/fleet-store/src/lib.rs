//! A revisioned object store: bytes in, bytes out.
//!
//! One counter numbers every change of the whole store, over all clusters and resources. A revision is given out inside
//! the commit, so revisions are in commit order, and a watch from any revision still in the history sees every later
//! change once and in order (design invariant 9).
//!
//! ```text
//!            ┌─ Store ─────────────────────────────────────────────┐
//!  get, list │  State   current: resource ► cluster ► (ns, name)   │
//!  ─────────►│          history: ring bounded by bytes             │──► Watcher (bounded queue, ends Lagged)
//!            │          watchers: by resource, by (cluster, res.)  │
//!   commit   │            ▲ publish, once durable                  │
//!  ─────────►│  memory ───┤                                        │
//!            │  sqlite ───┘ one writer thread, group commit        │
//!            └─────────────────────────────────────────────────────┘
//! ```
//!
//! The state in memory is the read path of both backends. SQLite adds durability: what was answered survives kill -9 and
//! power loss, and nothing is seen by readers or watchers before it is durable.
//!
//! - `key`: [`Key`], [`Range`]
//! - `object`: [`Entry`], [`Event`], [`Expect`], [`Write`], [`Page`], [`Listing`]
//! - `error`: [`ReadError`], [`CommitError`], [`OpenError`], [`WatchEnd`]
//! - `state`, `history`, `watchers`: the state in memory and what hangs on it
//! - `watch`: [`Watcher`]
//! - `sqlite`: files, schema, the writer thread
//! - `store`: [`Store`]

mod change;
mod error;
mod history;
mod key;
mod object;
mod sqlite;
mod state;
mod store;
mod watch;
mod watchers;

pub use error::{CommitError, OpenError, ReadError, WatchEnd};
pub use key::{Key, Range};
pub use object::{Encode, Entry, Event, EventKind, Expect, Listing, Page, Write};
pub use store::{Options, Store};
pub use watch::Watcher;
