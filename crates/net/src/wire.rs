//! The bytes of a connection, plain or encrypted, without waiting.

use rustix::net::{RecvFlags, Shutdown, recv, shutdown};
use std::io::{self, Read, Write};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// A socket, plain or with TLS around it.
pub(crate) enum Wire {
    /// TCP as it is.
    Plain(TcpStream),
    /// TLS, its handshake done. In a box: plain connections are many and should stay small.
    Tls(Box<TlsWire>),
}

/// TLS over a socket.
pub(crate) struct TlsWire {
    /// The socket.
    pub(crate) tcp: TcpStream,
    /// The state of TLS.
    pub(crate) tls: rustls::Connection,
}

impl Wire {
    /// The socket, to wait on.
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Wire::Plain(tcp) => tcp,
            Wire::Tls(wire) => &wire.tcp,
        }
    }

    /// Says goodbye: TLS's close_notify, then the end of our direction.
    pub(crate) fn close(&mut self) {
        if let Wire::Tls(wire) = self {
            wire.tls.send_close_notify();
            // Best effort: the connection is over either way.
            let _ = wire.flush();
        }
        let _ = shutdown(self.tcp(), Shutdown::Write);
    }
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(tcp) => Socket(tcp).read(buf),
            Wire::Tls(wire) => wire.read(buf),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(tcp) => Socket(tcp).write(buf),
            Wire::Tls(wire) => wire.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(_) => Ok(()),
            Wire::Tls(wire) => wire.flush(),
        }
    }
}

impl TlsWire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // An end without close_notify: nothing is lost, each message says how long it is.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                other => return other,
            }
            self.tls.read_tls(&mut Socket(&self.tcp))?;
            let done = self.tls.process_new_packets();
            if self.tls.wants_write() {
                // An alert or a key update; what does not fit goes with the next write.
                let _ = self.flush();
            }
            done.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        // One record batch at a time, so that what waits inside TLS is bounded by its buffer.
        self.flush()?;
        let taken = self.tls.writer().write(buf)?;
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut Socket(&self.tcp))?;
        }
        Ok(())
    }
}

/// A socket that answers `WouldBlock` where it would wait, and tells the runtime so.
pub(crate) struct Socket<'a>(pub(crate) &'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // A short read emptied the socket: telling the runtime "would block" then saves the call that would find that
        // out. An end that is already known stays known to the runtime.
        let mut short = None;
        let full = self.0.try_io(Interest::READABLE, || {
            let (length, _) = recv(self.0, &mut *buf, RecvFlags::empty())?;
            if length == 0 || length == buf.len() {
                return Ok(length);
            }
            short = Some(length);
            Err(io::ErrorKind::WouldBlock.into())
        });
        short.map_or(full, Ok)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.try_write(buf)
    }

    fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
