//! What breaks in a fleet, and that nothing is lost, delivered twice or let through by it.

mod admission;
mod backup;
mod controller;
mod credentials;
mod hub;
mod leaving;
mod objects;
mod reach;
mod replicas;
mod storage;
mod weather;
mod web;
