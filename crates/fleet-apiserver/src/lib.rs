//! The Kubernetes API over a store: many logical clusters in one process.
//!
//! ```text
//!  request ─► dispatch ─► verbs ─────────────► Store (bytes in, bytes out)
//!               │           │  admission: defaults, rules, namespaces, addresses
//!               │           │  policy: rules of the cluster's own, in CEL
//!               │           │  ownership: managedFields, server-side apply; author: who changed it
//!               ├─► subresource: status, scale, eviction, reviews
//!               └─► discovery, openapi
//!                           ▲
//!                        Registry (group, version, kind, schema, columns, …) ◄── crd: kinds at run time
//! ```
//!
//! One generic handler answers for every kind: what it needs to know of one stands in a row of the registry.
//! Discovery, OpenAPI, tables, patch strategies and the shapes of server-side apply derive from the same row.
//! Registries are named by their content, so that a thousand clusters with equal definitions share one.
//!
//! An object is parsed once and written once: the stored bytes are what a get, a list and every watch sends.
//!
//! - [`ApiServer`]: the server; [`ClusterService`]: one of its clusters as a tower service
//! - [`Identity`]: who asks; `authentication` finds that out, and `authorization` decides whether they may
//! - [`listen`]: the TLS listener, [`pki`]: its certificates and the clients'
//! - [`upkeep`]: garbage collection and namespaces, behind the requests
//! - [`ApiError`]: refusals, as `kind: Status`

mod admission;
mod advice;
mod authentication;
mod author;
mod authorization;
mod bootstrap;
mod cluster;
mod convert;
mod crd;
mod discovery;
mod dispatch;
mod encode;
mod garbage;
mod identity;
pub mod listen;
mod namespaces;
mod object;
mod openapi;
mod ownership;
pub mod pki;
mod policy;
mod protobuf;
mod random;
mod registry;
mod request;
mod selection;
mod server;
mod service;
mod status;
mod subresource;
mod table;
pub mod upkeep;
mod verbs;
mod view;

pub use advice::{Advice, Advisor};
pub use authentication::{KeyError, TokenKey};
pub use author::{AuthorHistory, AuthorStamp, Authored, AuthoredKinds};
pub use cluster::ClusterProfile;
pub use encode::Body;
pub use identity::Identity;
pub use server::{ApiServer, Clock, ClusterError, Options};
pub use service::ClusterService;
pub use status::{ApiError, Cause};
pub use view::CLUSTER_ANNOTATION;
