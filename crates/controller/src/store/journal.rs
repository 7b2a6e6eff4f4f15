//! The journal: where facts are first, before a promise leaves. One append and one sync per commit.
//!
//! The file has its full size from the first start on, written with zeros: an append needs no new block, so it costs one
//! write of bytes and one flush of the disk, and it goes on working when the disk is full. It is a ring of
//! [`SEGMENTS`] segments. Facts are folded into the database meanwhile; the database says up to which frame (`folded`
//! in its table `meta`), in the same transaction, and a segment whose frames are all folded is written anew.
//!
//! A frame is its number (counted up, never reused), both clocks, its length and a checksum over all of that and its
//! bytes. Within a segment numbers follow each other, so what an earlier round left behind ends the reading, and so does
//! a torn frame.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use words::{Clock, Time, Wall};

/// The open file, positioned for the next frame.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    sync: bool,
    /// The number of the next frame.
    next: u64,
    segment: u64,
    /// Where the next frame goes within the segment.
    at: u64,
    /// The last frame of each segment; 0 when it has none.
    last: [u64; SEGMENTS as usize],
    buffer: Vec<u8>,
}

/// A frame as it was written.
pub(crate) struct Frame {
    /// Its number.
    pub(crate) number: u64,
    /// When it was written.
    pub(crate) clock: Clock,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

impl Journal {
    /// Opens the file, making it where it is missing. Its frames so far are in the order of their numbers.
    pub(crate) fn open(path: &Path, sync: bool) -> io::Result<(Journal, Vec<Frame>)> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        fill(&file, sync)?;
        let mut segments = Vec::new();
        for segment in 0..SEGMENTS {
            segments.push(read_segment(&file, segment)?);
        }
        segments.sort_by_key(|frames| frames.first().map(|frame| frame.number));
        let frames: Vec<Frame> = segments.into_iter().flatten().collect();
        let next = frames.last().map_or(1, |frame| frame.number + 1);
        let last = [0; SEGMENTS as usize];
        Ok((Journal { file, sync, next, segment: 0, at: 0, last, buffer: Vec::new() }, frames))
    }

    /// Begins behind `number`: all frames up to it are folded, so the whole file is free.
    pub(crate) fn begin_after(&mut self, number: u64) {
        self.next = self.next.max(number + 1);
        (self.segment, self.at, self.last) = (0, 0, [0; SEGMENTS as usize]);
    }

    /// Writes a frame; [`Journal::sync`] makes it last. Frames up to `folded` are in the database. Returns its number,
    /// or `StorageFull` when all segments hold frames that are not.
    pub(crate) fn write(&mut self, bytes: &[u8], clock: Clock, folded: u64) -> io::Result<u64> {
        let length = HEAD + bytes.len() as u64;
        if length > SEGMENT_BYTES {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let (segment, at) = if self.at + length <= SEGMENT_BYTES {
            (self.segment, self.at)
        } else {
            let next = (self.segment + 1) % SEGMENTS;
            if self.last[next as usize] > folded {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            (next, 0)
        };
        let number = self.next;
        self.buffer.clear();
        self.buffer.extend_from_slice(&checksum(&head(number, clock, bytes.len()), bytes).to_le_bytes());
        self.buffer.extend_from_slice(&head(number, clock, bytes.len()));
        self.buffer.extend_from_slice(bytes);
        self.file.write_all_at(&self.buffer, segment * SEGMENT_BYTES + at)?;
        self.next += 1;
        (self.segment, self.at, self.last[segment as usize]) = (segment, at + length, number);
        Ok(number)
    }

    /// Whether a sync is more than a word: facts are to outlive the machine's power.
    pub(crate) fn survives_power(&self) -> bool {
        self.sync
    }

    /// Makes what was written last, as far as the durability asks for it.
    pub(crate) fn sync(&self) -> io::Result<()> {
        if self.sync { self.file.sync_data() } else { Ok(()) }
    }

    /// The last frame before the segment that is written now: once all up to it is folded, segments are free again.
    pub(crate) fn sealed_to(&self) -> u64 {
        let older = (0..SEGMENTS).filter(|&segment| segment != self.segment);
        older.map(|segment| self.last[segment as usize]).max().unwrap_or(0)
    }

    /// Whether less than a segment is free beside the one that is written now: the rest is for the facts of calls that
    /// are up.
    pub(crate) fn is_tight(&self, folded: u64) -> bool {
        let free = |ahead| self.last[((self.segment + ahead) % SEGMENTS) as usize] <= folded;
        !(free(1) && free(2))
    }
}

/// Writes zeros up to the full size: blocks that are only promised may still be refused. Small writes leave the file in
/// small folios of the page cache: a frame written into a large one costs the kernel a walk over all its blocks (44
/// against 103 µs per commit).
fn fill(file: &File, sync: bool) -> io::Result<()> {
    let mut at = file.metadata()?.len();
    if at >= SEGMENTS * SEGMENT_BYTES {
        return Ok(());
    }
    let zeros = [0; 16 << 10];
    while at < SEGMENTS * SEGMENT_BYTES {
        let count = (SEGMENTS * SEGMENT_BYTES - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..count as usize], at)?;
        at += count;
    }
    if sync { file.sync_all() } else { Ok(()) }
}

fn read_segment(file: &File, segment: u64) -> io::Result<Vec<Frame>> {
    let (mut frames, mut at) = (Vec::<Frame>::new(), 0);
    while let Some(frame) = read_frame(file, segment * SEGMENT_BYTES + at, SEGMENT_BYTES - at)? {
        if frames.last().is_some_and(|last| last.number + 1 != frame.number) {
            break;
        }
        at += HEAD + frame.bytes.len() as u64;
        frames.push(frame);
    }
    Ok(frames)
}

fn read_frame(file: &File, at: u64, room: u64) -> io::Result<Option<Frame>> {
    if room < HEAD {
        return Ok(None);
    }
    let mut start = [0; HEAD as usize];
    file.read_exact_at(&mut start, at)?;
    let word = |n: usize| u64::from_le_bytes(std::array::from_fn(|byte| start[n * 8 + byte]));
    let (sum, number, length) = (word(0), word(1), word(4));
    if number == 0 || length > room - HEAD {
        return Ok(None);
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, at + HEAD)?;
    let clock = Clock { mono: Time::from_nanos(word(2)), wall: Wall(word(3) as i64) };
    let whole = checksum(&head(number, clock, bytes.len()), &bytes) == sum;
    Ok(whole.then_some(Frame { number, clock, bytes }))
}

fn head(number: u64, clock: Clock, length: usize) -> [u8; HEAD as usize - 8] {
    let words = [number, clock.mono.as_nanos(), clock.wall.0 as u64, length as u64];
    std::array::from_fn(|byte| words[byte / 8].to_le_bytes()[byte % 8])
}

/// Tells a torn frame from a whole one. Takes eight bytes at a step, as a commit under load has some ten thousand.
fn checksum(head: &[u8], bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |word: u64| hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    for part in [head, bytes] {
        let (words, rest) = part.as_chunks::<8>();
        for word in words {
            mix(u64::from_le_bytes(*word));
        }
        for &byte in rest {
            mix(u64::from(byte) | 0x100);
        }
    }
    hash
}

/// Two are in use; when the database takes nothing, the others take the facts of calls that are up.
pub(crate) const SEGMENTS: u64 = 4;
/// Units: bytes.
pub(crate) const SEGMENT_BYTES: u64 = 4 << 20;
/// Checksum, number, both clocks, length. Units: bytes.
const HEAD: u64 = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn path() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        (dir, path)
    }

    fn clock(n: u64) -> Clock {
        Clock { mono: Time::from_nanos(n), wall: Wall(-(n as i64)) }
    }

    fn reopen(path: &Path) -> (Journal, Vec<(u64, Vec<u8>)>) {
        let (journal, frames) = Journal::open(path, false).unwrap();
        (journal, frames.into_iter().map(|frame| (frame.number, frame.bytes)).collect())
    }

    #[test]
    fn frames_outlive_the_process_with_their_clocks() {
        let (_dir, path) = path();
        let (mut journal, frames) = Journal::open(&path, true).unwrap();
        assert!(frames.is_empty());
        for n in 1..=3 {
            assert_eq!(journal.write(&vec![n as u8; n as usize * 5], clock(n), 0).unwrap(), n);
        }
        journal.sync().unwrap();
        let (mut journal, frames) = Journal::open(&path, true).unwrap();
        assert_eq!(frames.iter().map(|f| (f.number, f.clock)).collect::<Vec<_>>(), [1, 2, 3].map(|n| (n, clock(n))));
        assert_eq!(frames[2].bytes, [3; 15]);
        // Folded frames are written over; those that are left of them do not come back.
        journal.begin_after(3);
        journal.write(&[4; 5], clock(4), 3).unwrap();
        let (_, frames) = reopen(&path);
        assert_eq!(frames, [(4, vec![4; 5])]);
    }

    #[test]
    fn the_ring_turns_as_far_as_frames_are_folded() {
        let (_dir, path) = path();
        let (mut journal, _) = Journal::open(&path, false).unwrap();
        // Three frames fill a segment.
        let big = vec![7; (SEGMENT_BYTES / 3 - HEAD) as usize];
        for n in 1..=12 {
            assert_eq!(journal.is_tight(0), n > 6 + 1, "before frame {n}");
            journal.write(&big, clock(n), 0).unwrap();
        }
        let refused = journal.write(&big, clock(13), 2).unwrap_err();
        assert_eq!((refused.kind(), journal.sealed_to()), (io::ErrorKind::StorageFull, 9));
        // A small frame still fits nowhere: the segment is full to the last byte it can use.
        assert_eq!(journal.write(&big, clock(13), 3).unwrap(), 13);
        assert_eq!(journal.sealed_to(), 12);
        let (journal, frames) = reopen(&path);
        assert_eq!(frames.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (4..=13).collect::<Vec<_>>());
        assert_eq!(journal.next, 14);
    }

    #[test]
    fn a_torn_frame_is_not_read() {
        let (_dir, path) = path();
        let (mut journal, _) = Journal::open(&path, false).unwrap();
        journal.write(b"whole", clock(1), 0).unwrap();
        let torn = journal.at;
        journal.write(b"torn apart", clock(2), 0).unwrap();
        journal.file.write_all_at(b"x", torn + HEAD + 9).unwrap();
        let (_, frames) = reopen(&path);
        assert_eq!(frames, [(1, b"whole".to_vec())]);
        assert!(journal.write(&vec![0; SEGMENT_BYTES as usize], clock(3), 0).is_err());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), SEGMENTS * SEGMENT_BYTES);
    }
}
