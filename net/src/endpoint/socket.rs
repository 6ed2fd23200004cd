//! The UDP socket of an endpoint.
//!
//! Relies on the kernel's limits for buffers. What must stay true: a smaller buffer than asked for
//! is no error; it costs bandwidth when a process loses its core, nothing else.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use rustix::net::sockopt::{
    set_socket_recv_buffer_size, set_socket_recv_buffer_size_force, set_socket_send_buffer_size,
};

/// Binds `address` with buffers of about `buffer` bytes.
pub(super) fn bind(address: SocketAddr, buffer: usize) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    // Beyond net.core.rmem_max only with CAP_NET_ADMIN.
    if set_socket_recv_buffer_size_force(&socket, buffer).is_err() {
        set_socket_recv_buffer_size(&socket, buffer)?;
    }
    set_socket_send_buffer_size(&socket, buffer)?;
    Ok(socket)
}
