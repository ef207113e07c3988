//! Addresses of the loopback interface that one test has for itself, so that a port that is free stays free.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Returns an address of the loopback interface that no other test uses, in this process or another.
pub fn own_address() -> Ipv4Addr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) & 0xff;
    // From 127.64.0.0 to 127.127.255.255, which servers without a choice of their own never get.
    let place = (process::id() << 8 | count) & 0x3f_ffff;
    Ipv4Addr::from_bits(0x7f40_0000 | place)
}

/// Returns an [`own_address`] with a port on which nobody listens, and on which a program may.
///
/// # Panics
///
/// If no port is free.
pub fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((own_address(), 0)).expect("a port");
    listener.local_addr().expect("it is bound")
}
