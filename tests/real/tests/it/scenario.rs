//! The three-centre scenario.
