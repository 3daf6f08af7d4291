//! Options and addresses of the sockets that the ring works on.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrLike, SockaddrStorage, bind, getpeername, getsockname,
    setsockopt, socket, sockopt,
};

use crate::limits::KEEPALIVE_PROBES;

/// Sets TCP_NODELAY, and keepalive so that a peer that has vanished is noticed after about twice `keepalive_s` seconds
/// (0: never), as Redis' `tcp-keepalive` does. Sockets that are not TCP are left alone.
///
/// Linux hands these options down from a listener to what it accepts, so once per listener is enough.
///
/// # Errors
/// The system refused an option, for instance since the descriptor is no socket.
pub fn configure_client(fd: BorrowedFd<'_>, keepalive_s: u32) -> io::Result<()> {
    let local: SockaddrStorage = getsockname(fd.as_raw_fd())?;
    if !matches!(local.family(), Some(AddressFamily::Inet | AddressFamily::Inet6)) {
        return Ok(());
    }
    setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
    setsockopt(&fd, sockopt::KeepAlive, &(keepalive_s > 0))?;
    if keepalive_s > 0 {
        setsockopt(&fd, sockopt::TcpKeepIdle, &keepalive_s)?;
        setsockopt(&fd, sockopt::TcpKeepInterval, &(keepalive_s / KEEPALIVE_PROBES).max(1))?;
        setsockopt(&fd, sockopt::TcpKeepCount, &KEEPALIVE_PROBES)?;
    }
    Ok(())
}

/// As [`configure_client`], for the connection of another node: it is broken when what was sent is not acknowledged, or finds no
/// room at the other end, for `silence`.
///
/// # Errors
/// As [`configure_client`].
pub fn configure_peer(fd: BorrowedFd<'_>, keepalive_s: u32, silence: Duration) -> io::Result<()> {
    configure_client(fd, keepalive_s)?;
    setsockopt(&fd, sockopt::TcpUserTimeout, &u32::try_from(silence.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}

/// Listens on `address` with room for `backlog` connections that are not yet accepted (the system caps it at
/// `net.core.somaxconn`). An address in TIME_WAIT can be reused; an IPv6 listener takes no IPv4 connections, so that
/// both can listen on one port.
///
/// # Errors
/// `AddrInUse`, `PermissionDenied`, `AddrNotAvailable` … as the system says.
pub fn listen(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd: OwnedFd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    let backlog = Backlog::new(i32::try_from(backlog).unwrap_or(i32::MAX)).unwrap_or(Backlog::MAXCONN);
    nix::sys::socket::listen(&fd, backlog)?;
    Ok(TcpListener::from(fd))
}

/// A TCP socket that is to be connected to `address`.
///
/// # Errors
/// The system has no such socket, or no descriptor left.
pub fn unconnected(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    Ok(socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?)
}

/// The address of the other end; `None` for a socket that is not TCP.
///
/// # Errors
/// The socket is not (or no longer) connected.
pub fn peer_address(fd: BorrowedFd<'_>) -> io::Result<Option<SocketAddr>> {
    Ok(ip_address(&getpeername(fd.as_raw_fd())?))
}

/// The address of this end; `None` for a socket that is not TCP.
///
/// # Errors
/// The descriptor is no socket.
pub fn local_address(fd: BorrowedFd<'_>) -> io::Result<Option<SocketAddr>> {
    Ok(ip_address(&getsockname(fd.as_raw_fd())?))
}

fn ip_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|&address| SocketAddr::V4(address.into()));
    v4.or_else(|| address.as_sockaddr_in6().map(|&address| SocketAddr::V6(address.into())))
}
