//! Which addresses a step may send to.
//!
//! Whoever may write an Application names the address, and the controller sends from where it stands. So never to
//! addresses that mean the machine it runs on or its provider's metadata; services of the cluster and of the company are
//! what steps are for, and stay open.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Whether steps may send to this machine itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Addresses {
    /// Not to this machine: in a pod that would be the controller's own ports.
    #[default]
    NotLocal,
    /// To this machine as well: an embedded fleet beside its servers.
    Local,
}

/// Why nothing is sent to an address.
pub(super) fn refused(address: IpAddr, addresses: Addresses) -> Option<&'static str> {
    let address = canonical(address);
    let (unspecified, multicast, loopback) =
        (address.is_unspecified(), address.is_multicast(), address.is_loopback());
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        // Beside the link-local block, the metadata services of providers by IPv6.
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local() || v6 == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)
        }
    };
    if link_local {
        return Some("link-local addresses, among them metadata services, aren't sent to");
    }
    if unspecified || multicast {
        return Some("it isn't the address of one server");
    }
    (loopback && addresses == Addresses::NotLocal)
        .then_some("it is the controller's own machine; for servers beside it: fleetctl controller --allow-local-addresses")
}

/// An IPv4 address that is written as IPv6 is the IPv4 address.
fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
        v4 => v4,
    }
}

/// Why nothing is sent to a host, in words.
fn said(host: &str, address: IpAddr, reason: &str) -> String {
    match host.parse() == Ok(address) {
        true => format!("nothing is sent to {address}: {reason}"),
        false => format!("nothing is sent to {host}, which is {address}: {reason}"),
    }
}

/// Why nothing is ever sent to a host that is written as an address, wherever the controller runs.
pub(super) fn refused_as_written(host: &str) -> Option<String> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address: IpAddr = host.parse().ok()?;
    refused(address, Addresses::Local).map(|reason| said(host, address, reason))
}

/// The addresses of a host that may be sent to.
///
/// # Errors
/// In words: it has none, or none that may be.
pub(super) async fn resolve(host: &str, port: u16, addresses: Addresses) -> Result<Vec<SocketAddr>, String> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((host, port)).await;
    let found: Vec<SocketAddr> = found.map_err(|error| format!("{host} has no address: {error}"))?.collect();
    let mut why = None;
    let mut open = Vec::new();
    for address in found {
        match refused(address.ip(), addresses) {
            None => open.push(address),
            Some(reason) => why = Some(said(host, address.ip(), reason)),
        }
    }
    if open.is_empty() { Err(why.unwrap_or_else(|| format!("{host} has no address"))) } else { Ok(open) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Broken: what can never be sent is tried again and again once the step's turn comes.
    #[test]
    fn an_address_that_is_out_of_reach_is_known_as_it_is_written() {
        let said = refused_as_written("169.254.169.254").unwrap();
        assert!(said.starts_with("nothing is sent to 169.254.169.254: link-local"), "{said}");
        assert!(refused_as_written("[fe80::1]").is_some());
        for host in ["127.0.0.1", "10.0.0.1", "metadata.example", "169.254"] {
            assert_eq!(refused_as_written(host), None, "{host}");
        }
    }

    // Broken: an Application makes the controller ask its provider's metadata service, or itself, however the address is
    // written.
    #[test]
    fn metadata_and_the_controller_itself_are_out_of_reach() {
        for text in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert!(refused(text.parse().unwrap(), Addresses::Local).is_some(), "{text}");
        }
        for text in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert!(refused(text.parse().unwrap(), Addresses::NotLocal).is_some(), "{text}");
            assert!(refused(text.parse().unwrap(), Addresses::Local).is_none(), "{text}");
        }
        for text in ["10.96.0.1", "192.168.1.4", "93.184.216.34", "2001:db8::1", "fd12::1"] {
            assert!(refused(text.parse().unwrap(), Addresses::NotLocal).is_none(), "{text}");
        }
    }
}
