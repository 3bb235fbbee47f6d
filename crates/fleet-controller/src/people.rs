//! Who does what on the hub, and how that is known: who changed something, whether an approval is proved, and the record of
//! both.

pub mod audit;
pub(crate) mod authors;
pub mod proof;
