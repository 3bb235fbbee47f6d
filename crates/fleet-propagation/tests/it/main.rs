//! Laws and cases of policies: how they are read, who takes what, and where it goes.

mod cases;
mod claims;
mod decisions;
mod manifests;
