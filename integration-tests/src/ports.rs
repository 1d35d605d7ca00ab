//! Free ports, for containers that announce their own port or must keep it over a restart.

use std::net::TcpListener;

/// Below the range that systems use for outgoing connections and Docker for random mappings (32768 and up). So between
/// the check and the use only another test process can take a port, for which there is a retry.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// Returns `count` different ports that are free on this machine now.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    let mut ports = Vec::with_capacity(count);
    for _ in 0..10_000 {
        if ports.len() == count {
            return ports;
        }
        let port = fastrand::u16(RANGE);
        if !ports.contains(&port) && TcpListener::bind(("0.0.0.0", port)).is_ok() {
            ports.push(port);
        }
    }
    panic!("{count} free ports could not be found in {RANGE:?}");
}
