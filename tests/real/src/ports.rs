//! Ports on loopback that nobody uses.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};

/// Below what the system gives to outgoing connections: a port that is closed for a while (a server under
/// fault) isn't taken by somebody's connection meanwhile.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that is free now. Whoever starts a server on it tries again with another one if it is taken meanwhile.
///
/// # Errors
/// Where none is free.
pub fn free() -> Result<u16> {
    // Test processes beside us begin elsewhere.
    let own = u16::try_from(u64::from(std::process::id()) * 131 % u64::from(COUNT))?;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (own + step) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port on 127.0.0.1 between {FIRST} and {}", FIRST + COUNT)
}
