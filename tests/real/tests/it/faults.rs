//! What breaks in a fleet, and that nothing is lost, delivered twice or let through by it.

mod admission;
mod backup;
mod controller;
mod hub;
mod objects;
mod reach;
mod web;
