//! The address of a service: taken at the start, listened to when there is somebody to serve, and left so that no
//! connection is lost that a client believes to have.
//!
//! A connection that the kernel has made and nobody takes is worse than none: what a proxy has sent over it may have been
//! carried out, for all that it knows, so that it cannot ask another instance.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// How many connections wait for a worker; the kernel has a limit of its own (`net.core.somaxconn`).
const WAITING: i32 = 4_096;

/// Takes `address`, so that nobody else can listen there. Nobody can connect yet.
///
/// # Errors
/// What the system says; most often that another program listens there.
pub(crate) fn take(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a process that has just ended shall not keep the next one from its address.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Lets connections come; nothing changes where they come already.
///
/// # Errors
/// What the system says: another process has taken the address as well, and was the first to listen.
pub(super) fn listen(listener: &TcpListener) -> io::Result<()> {
    SockRef::from(listener).listen(WAITING)
}

/// Begins no new connection: the kernel does as if it had not heard that one is asked for. Those whose beginning it has
/// answered come through. Who asked meanwhile asks again a second later, and is refused then or heard.
///
/// # Errors
/// What the system says.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn begin_none(listener: &TcpListener) -> io::Result<()> {
    use socket2::SockFilter;

    /// Instructions of the classic packet filter (`linux/filter.h`).
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    /// Of the TCP header (RFC 9293, section 3.1), at which the filter of such a socket begins.
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

/// Elsewhere there is no such way.
///
/// # Errors
/// None.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn begin_none(_: &TcpListener) -> io::Result<()> {
    Ok(())
}

/// Refuses connections from now on; those that nobody has taken are closed.
///
/// # Errors
/// What the system says.
pub(super) fn refuse(listener: &TcpListener) -> io::Result<()> {
    SockRef::from(listener).shutdown(std::net::Shutdown::Both)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};
    use std::time::Duration;

    use super::*;

    fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect_timeout(&address, Duration::from_millis(200))
    }

    fn refused(address: SocketAddr) -> bool {
        connect(address).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    }

    #[test]
    fn an_address_that_is_taken_refuses_connections_until_it_is_listened_to() {
        for address in [
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            (Ipv6Addr::LOCALHOST, 0).into(),
        ] {
            let Ok(first) = take(address) else {
                // A machine without IPv6.
                assert!(address.is_ipv6());
                continue;
            };
            let address = first.local_addr().unwrap();
            assert!(refused(address));
            listen(&first).unwrap();
            listen(&first).unwrap();
            connect(address).unwrap();
            let second = take(address).unwrap_err();
            assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        }
    }

    #[test]
    fn of_two_that_have_taken_an_address_one_can_listen() {
        let first = take((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let second = take(first.local_addr().unwrap()).unwrap();
        listen(&second).unwrap();
        assert_eq!(listen(&first).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_has_begun_comes_through_when_nothing_begins_any_more() {
        let listener = take((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        listen(&listener).unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = connect(address).unwrap();
        begin_none(&listener).unwrap();
        let late = connect(address).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut, "as if nobody had heard it");
        // Its handshake is over, but nobody had taken it yet.
        let (mut taken, _) = listener.accept().unwrap();
        client.write_all(b"asked").unwrap();
        refuse(&listener).unwrap();
        assert!(refused(address));
        let mut text = [0; 5];
        taken.read_exact(&mut text).unwrap();
        taken.write_all(&text).unwrap();
        client.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"asked");
    }
}
