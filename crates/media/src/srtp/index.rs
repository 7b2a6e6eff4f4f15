//! Packet indices and the replay list of one stream (RFC 3711 §3.3.1 and §3.3.2).

use super::STREAMS;

/// How far behind the newest a packet may be, and still be taken if it was not seen. The RFC asks for 64.
pub(super) const WINDOW: u64 = 128;

/// What is known of a stream: its newest index, and which of those before it were seen.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) ssrc: u32,
    newest: u64,
    /// The lowest bit is the newest.
    seen: u128,
}

impl Stream {
    /// A stream that begins with that index.
    pub(super) fn begin(ssrc: u32, index: u64) -> Self {
        Stream { ssrc, newest: index, seen: 1 }
    }

    /// A stream whose first packet will have that index.
    pub(super) fn before(ssrc: u32, index: u64) -> Self {
        Stream { ssrc, newest: index, seen: 0 }
    }

    /// The index that a packet with this sequence number has most likely; `None` when it was sent before the stream
    /// began, or after it is over.
    pub(super) fn estimate(&self, sequence: u16) -> Option<u64> {
        estimate(self.newest, sequence)
    }

    /// Whether a packet with this index may still be taken.
    pub(super) fn is_fresh(&self, index: u64) -> bool {
        match self.newest.checked_sub(index) {
            None => true,
            Some(age) => age < WINDOW && self.seen >> age & 1 == 0,
        }
    }

    /// Whether the index is too old to tell whether it was seen.
    pub(super) fn is_stale(&self, index: u64) -> bool {
        index + WINDOW <= self.newest
    }

    /// Takes note of a packet that was fresh.
    pub(super) fn note(&mut self, index: u64) {
        if index > self.newest {
            let step = index - self.newest;
            self.seen = if step < WINDOW { self.seen << step | 1 } else { 1 };
            self.newest = index;
        } else if self.newest - index < WINDOW {
            self.seen |= 1 << (self.newest - index);
        }
    }
}

/// The index nearest to `newest` with this sequence number (RFC 3711 appendix A).
pub(super) fn estimate(newest: u64, sequence: u16) -> Option<u64> {
    let (rollovers, last) = (newest >> 16, newest as u16);
    let rollovers = if last < HALF && sequence >= HALF && sequence - last > HALF {
        rollovers.checked_sub(1)?
    } else if last >= HALF && last - HALF > sequence {
        rollovers + 1
    } else {
        rollovers
    };
    let index = rollovers << 16 | u64::from(sequence);
    (index < INDICES).then_some(index)
}

/// How many packets a key lasts for (RFC 3711 §9.2).
const INDICES: u64 = 1 << 48;
const HALF: u16 = 1 << 15;

/// What is known of the streams of one direction. The one that was heard last stands last; where there are [`STREAMS`], the one that
/// was not heard for the longest gives its place to a new one, and only its newest index stays known, so that nothing which
/// it said is taken a second time. Whoever cannot say anything genuine changes nothing here.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams {
    heard: Vec<Stream>,
    retired: Vec<(u32, u64)>,
}

impl Streams {
    /// The stream with this SSRC.
    #[inline]
    pub(super) fn find(&self, ssrc: u32) -> Option<&Stream> {
        match self.heard.last() {
            Some(last) if last.ssrc == ssrc => Some(last),
            _ => self.heard.iter().find(|stream| stream.ssrc == ssrc),
        }
    }

    /// The newest index of a stream that gave its place away.
    pub(super) fn retired(&self, ssrc: u32) -> Option<u64> {
        self.retired.iter().find(|(known, _)| *known == ssrc).map(|(_, newest)| *newest)
    }

    /// Where all of them stand.
    pub(super) fn newest(&self) -> impl Iterator<Item = (u32, u64)> {
        self.heard.iter().map(|stream| (stream.ssrc, stream.newest)).chain(self.retired.iter().copied())
    }

    /// Takes note of a genuine packet that was fresh.
    #[inline]
    pub(super) fn note(&mut self, ssrc: u32, index: u64) {
        match self.heard.last_mut() {
            Some(last) if last.ssrc == ssrc => last.note(index),
            _ => self.change(ssrc, index),
        }
    }

    /// Another stream than that of the packet before.
    fn change(&mut self, ssrc: u32, index: u64) {
        if let Some(at) = self.heard.iter().position(|stream| stream.ssrc == ssrc) {
            let mut stream = self.heard.remove(at);
            stream.note(index);
            return self.heard.push(stream);
        }
        self.retired.retain(|(known, _)| *known != ssrc);
        self.make_room();
        self.heard.push(Stream::begin(ssrc, index));
    }

    fn make_room(&mut self) {
        if self.heard.len() < STREAMS {
            return;
        }
        let idle = self.heard.remove(0);
        if self.retired.len() >= RETIRED {
            self.retired.remove(0);
        }
        self.retired.push((idle.ssrc, idle.newest));
    }
}

/// Of how many streams that gave their place away it is known where they ended.
pub(super) const RETIRED: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_follows_sequence_numbers_around_both_ways() {
        assert_eq!(estimate(65_535, 0), Some(65_536));
        assert_eq!(estimate(65_536, 65_535), Some(65_535));
        assert_eq!(estimate(5, 65_535), None);
        assert_eq!(estimate(100, 100 + 32_768), Some(100 + 32_768));
        assert_eq!(estimate((7 << 16) + 40_000, 10), Some((8 << 16) + 10));
        assert_eq!(estimate(INDICES - 1, 0), None);
    }

    #[test]
    fn what_was_seen_or_is_too_old_is_not_fresh() {
        let mut stream = Stream::begin(1, 1_000);
        assert!(!stream.is_fresh(1_000) && stream.is_fresh(999) && stream.is_fresh(1_001));
        stream.note(1_002);
        assert!(stream.is_fresh(1_001) && !stream.is_fresh(1_000) && !stream.is_fresh(1_002));
        stream.note(1_001);
        assert!(!stream.is_fresh(1_001));
        stream.note(1_500);
        assert!(!stream.is_fresh(1_002) && !stream.is_fresh(1_500 - WINDOW) && stream.is_fresh(1_501 - WINDOW));
        assert!(stream.is_stale(1_500 - WINDOW) && !stream.is_stale(1_501 - WINDOW));
        stream.note(1_501 - WINDOW);
        assert!(!stream.is_fresh(1_501 - WINDOW));
    }
}
