//! Names, addresses and chances, all derived from what they belong to: the same run gives the same ones.

use std::net::Ipv4Addr;

use fleet_json::ContentHash;
use serde_json::Value;

/// The letters that Kubernetes makes random names of: no vowels, so no words.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A number that looks random, from parts.
pub(crate) fn draw(parts: &[&str]) -> u64 {
    let mut joined = String::new();
    for part in parts {
        joined.push_str(part);
        joined.push('\u{1f}');
    }
    number(&ContentHash::of_bytes(joined.as_bytes()))
}

fn number(hash: &ContentHash) -> u64 {
    hash.as_bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn letters(mut number: u64, count: usize) -> String {
    let base = LETTERS.len() as u64;
    let mut text = String::with_capacity(count);
    for _ in 0..count {
        let index = usize::try_from(number % base).unwrap_or_default();
        text.push(LETTERS.get(index).copied().map_or('b', char::from));
        number /= base;
    }
    text
}

/// Five letters for a name, as `generateName` adds.
pub(crate) fn suffix(parts: &[&str]) -> String {
    letters(draw(parts), 5)
}

/// Names a pod template: equal templates have equal hashes, however their maps are ordered.
pub(crate) fn template_hash(template: &Value) -> String {
    letters(number(&ContentHash::of_value(template)), 10)
}

/// A name of at most 63 characters, cut before the suffix.
pub(crate) fn with_suffix(base: &str, suffix: &str) -> String {
    let room = 62_usize.saturating_sub(suffix.len());
    let base: String = base.chars().take(room).collect();
    format!("{base}-{suffix}")
}

/// An address in a /16, never its first or last ones.
pub(crate) fn address(network: [u8; 2], parts: &[&str], attempt: u64) -> Ipv4Addr {
    let [a, b] = network;
    let host = (draw(parts).wrapping_add(attempt)) % 65_000 + 256;
    let [.., c, d] = u32::try_from(host).unwrap_or(256).to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

/// An address outside the cluster: TEST-NET-2 and TEST-NET-3 are too small, so the benchmarking network.
pub(crate) fn external(parts: &[&str]) -> Ipv4Addr {
    address([198, 18], parts, 0)
}
