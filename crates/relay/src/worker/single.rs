//! The port that many ends share: one socket to read, and the table says whose a packet is.

use super::{DATAGRAM_BYTES, Turn, Worker, socket_of};
use forward::SocketId;
use media::command::Family;
use std::io;
use words::Time;

impl Turn {
    /// Has the shared sockets watched, if there are any.
    pub(super) fn watch_single(&self) {
        let Worker { single, poller, .. } = &self.worker;
        for (family, pair) in [Family::V4, Family::V6].into_iter().zip(single) {
            let Some(pair) = pair else { continue };
            for (socket, is_rtcp) in [(&pair.rtp, false), (&pair.rtcp, true)] {
                if let Err(error) = poller.add(socket, SocketId::single(family, is_rtcp).as_u32()) {
                    tracing::error!(?family, %error, "cannot watch the shared media port");
                }
            }
        }
    }

    /// Reads a shared socket until it is empty, within reason: what is left brings the worker back at once.
    pub(super) fn read_single(&mut self, socket: SocketId, now: Time) {
        for _ in 0..READS_OF_SINGLE {
            let Worker { single, table, .. } = &mut self.worker;
            let Some(input) = socket_of(&self.pairs, single, socket) else { return };
            let (length, from) = match input.receive_from(&mut self.buffer[..DATAGRAM_BYTES]) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Somebody's host refused a packet of ours.
                Err(_) => continue,
            };
            let length = if length > DATAGRAM_BYTES { 0 } else { length };
            self.moved += 1;
            let Some(of) = table.find(socket.is_rtcp(), from, &self.buffer[..length]) else { continue };
            self.at_work = Some(of);
            let (verdict, length) = table.relay(of, Some(from), &mut self.buffer, length, now);
            self.obey(verdict, length);
            self.do_outputs(now);
        }
    }
}

/// How many packets of a shared socket are read before commands and other sockets are looked at.
const READS_OF_SINGLE: usize = 1_024;
