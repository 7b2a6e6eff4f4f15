//! Disk space kept for the facts of running calls while the disk takes nothing else.
//!
//! The file has its full size from the first start on, written with zeros, so that writing into it needs no new block.
//! It begins with an epoch; frames follow, each with the epoch, its length and a checksum over both and its bytes.
//! Clearing it is writing the next epoch: frames of older ones no longer count.

use crate::limit::RESERVE_BYTES;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// The open file.
#[derive(Debug)]
pub(crate) struct Reserve {
    file: File,
    epoch: u64,
    /// Where the next frame goes.
    end: u64,
}

impl Reserve {
    pub(crate) fn open(path: &Path) -> io::Result<Reserve> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        if file.metadata()?.len() < RESERVE_BYTES {
            fill(&file)?;
        }
        let mut head = [0; HEAD as usize];
        file.read_exact_at(&mut head, 0)?;
        let epoch = u64::from_le_bytes(head[..8].try_into().expect("eight bytes"));
        let mut reserve = Reserve { file, epoch, end: HEAD };
        while let Some(frame) = reserve.frame(reserve.end)? {
            reserve.end += FRAME_HEAD + frame.len() as u64;
        }
        Ok(reserve)
    }

    /// Whether nothing is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.end == HEAD
    }

    /// Keeps `bytes` for good. An error when they do not fit or the disk fails even so.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(FRAME_HEAD as usize + bytes.len());
        frame.extend_from_slice(&self.epoch.to_le_bytes());
        frame.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        frame.extend_from_slice(&checksum(self.epoch, bytes).to_le_bytes());
        frame.extend_from_slice(bytes);
        if self.end + frame.len() as u64 > RESERVE_BYTES {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.file.write_all_at(&frame, self.end)?;
        self.file.sync_data()?;
        self.end += frame.len() as u64;
        Ok(())
    }

    /// All that is kept, in order.
    pub(crate) fn contents(&self) -> io::Result<Vec<u8>> {
        let (mut all, mut at) = (Vec::new(), HEAD);
        while let Some(frame) = self.frame(at)? {
            at += FRAME_HEAD + frame.len() as u64;
            all.extend_from_slice(&frame);
        }
        Ok(all)
    }

    /// Keeps nothing any longer: the database has it all.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        self.file.write_all_at(&(self.epoch + 1).to_le_bytes(), 0)?;
        self.file.sync_data()?;
        self.epoch += 1;
        self.end = HEAD;
        Ok(())
    }

    fn frame(&self, at: u64) -> io::Result<Option<Vec<u8>>> {
        if at + FRAME_HEAD > RESERVE_BYTES {
            return Ok(None);
        }
        let mut head = [0; FRAME_HEAD as usize];
        self.file.read_exact_at(&mut head, at)?;
        let word = |n: usize| u64::from_le_bytes(head[n * 8..n * 8 + 8].try_into().expect("eight bytes"));
        let (epoch, length, sum) = (word(0), word(1), word(2));
        if epoch != self.epoch || length == 0 || length > RESERVE_BYTES - FRAME_HEAD - at {
            return Ok(None);
        }
        let mut bytes = vec![0; length as usize];
        self.file.read_exact_at(&mut bytes, at + FRAME_HEAD)?;
        Ok((checksum(epoch, &bytes) == sum).then_some(bytes))
    }
}

/// Writes zeros, because blocks that are only promised may still be refused or need the file system's own records.
fn fill(file: &File) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut at = file.metadata()?.len();
    while at < RESERVE_BYTES {
        let count = (RESERVE_BYTES - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..count as usize], at)?;
        at += count;
    }
    // Epoch 0 would make zeros look like a frame's head.
    file.write_all_at(&1_u64.to_le_bytes(), 0)?;
    file.sync_all()
}

/// FNV-1a over 64 bits: tells a torn frame from a whole one.
fn checksum(epoch: u64, bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325 ^ epoch, step)
}

/// Units: bytes.
const HEAD: u64 = 64;
/// Epoch, length and checksum. Units: bytes.
const FRAME_HEAD: u64 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_outlive_the_process_and_a_clear_forgets_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reserve");
        let mut reserve = Reserve::open(&path).unwrap();
        assert!(reserve.is_empty());
        reserve.append(b"one").unwrap();
        reserve.append(b"two").unwrap();
        reserve = Reserve::open(&path).unwrap();
        reserve.append(b"three").unwrap();
        assert_eq!(reserve.contents().unwrap(), b"onetwothree");
        reserve.clear().unwrap();
        // A frame of the same length leaves the older one behind it intact: it must not come back.
        reserve.append(b"new").unwrap();
        assert_eq!(Reserve::open(&path).unwrap().contents().unwrap(), b"new");
    }

    #[test]
    fn a_torn_frame_is_not_read_and_a_full_file_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reserve");
        let mut reserve = Reserve::open(&path).unwrap();
        reserve.append(b"whole").unwrap();
        let torn = reserve.end;
        reserve.append(b"torn apart").unwrap();
        reserve.file.write_all_at(b"x", torn + FRAME_HEAD + 4).unwrap();
        let mut reserve = Reserve::open(&path).unwrap();
        assert_eq!(reserve.contents().unwrap(), b"whole");
        let big = vec![1; (RESERVE_BYTES / 3) as usize];
        assert!(reserve.append(&big).is_ok() && reserve.append(&big).is_ok());
        assert_eq!(reserve.append(&big).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), RESERVE_BYTES);
    }
}
