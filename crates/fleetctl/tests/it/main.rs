//! Whole fleets in one process, and the command line against them.

mod embedded;
mod support;
