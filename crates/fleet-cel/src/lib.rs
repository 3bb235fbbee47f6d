//! CEL behind limits: expressions over JSON, and JSON templates with `${…}` in their strings.
//!
//! The text is parsed by the `cel` crate's Pratt parser; evaluation is our own, because it must count
//! every step and every byte it makes, borrow the JSON it reads instead of copying it, and name the field
//! that is missing. An expression can't hang, exhaust memory or overflow the stack: it is refused with a
//! [`CelError`] that holds the place.
//!
//! ```text
//!  text ──Program::compile──► Program ──evaluate(variables)──► JSON
//!    ▲                           ▲
//!    │ `${…}`                    │ bounded, by text
//!  Template (a JSON tree)     ProgramCache                      Limits: length, depth, cost, output
//!                                                               Session: several programs, lazy variables, one budget
//! ```
//!
//! # The language
//!
//! Standard CEL: literals, `? :`, `&&`, `||` (errors are absorbed as the specification says), arithmetic
//! with overflow checks, comparison across number types, `in`, indexing, `has`, `all`, `exists`,
//! `exists_one`, `map`, `filter`, and optionals (`a.?b`, `a[?k]`, `{?k: v}`, `orValue`, `or`, `hasValue`,
//! `value`, `optional.of`, `optional.none`, `optional.ofNonZeroValue`). Maps are walked in key order.
//! Integers of the JSON stay `int`; only numbers with a fraction or exponent are `double`.
//!
//! A field whose name CEL can't write is written as Kubernetes' rules write it (`a__dash__b`, `__if__`), or
//! between backticks.
//!
//! | library | functions |
//! |---|---|
//! | standard | `size contains startsWith endsWith matches int uint double string bool bytes type dyn` |
//! | strings | `charAt indexOf lastIndexOf join lowerAscii upperAscii replace split substring trim reverse format strings.quote` |
//! | Kubernetes lists | `isSorted sum min max indexOf lastIndexOf`; also `flatten distinct sort slice reverse first last lists.range` |
//! | Kubernetes regex | `find findAll` |
//! | Kubernetes quantity | `quantity isQuantity sign asInteger asApproximateFloat isInteger isGreaterThan isLessThan compareTo add sub` |
//! | sets | `sets.contains sets.equivalent sets.intersects` |
//! | math | `math.least math.greatest math.abs math.ceil math.floor math.round math.sign` |
//! | base64 | `base64.encode base64.decode` |
//! | Kubernetes authorizer | `path group serviceAccount resource subresource namespace name fieldSelector labelSelector check allowed reason errored error`, in a [`Session`] that has one |
//! | ours | `keys values merge toMap(keyField, valueField)`: what templates need to make maps |
//!
//! Not there: timestamps and durations, protobuf messages, IP, CIDR and URL types.
//!
//! # Templates
//!
//! See [`Template`] for the rules of `${…}`, `${?…}` and `$${`.

mod authority;
mod cache;
mod error;
mod eval;
mod functions;
mod limits;
mod meter;
mod parse;
mod program;
mod session;
mod survey;
mod template;
mod value;

pub use authority::{Authorizer, CHECK_COST, Decision, Question};
pub use cache::ProgramCache;
pub use error::{CelError, CelErrorKind, TemplateError};
pub use limits::Limits;
pub use program::Program;
pub use session::Session;
pub use template::Template;
