//! What this machine allows, told at the start with what to raise.

use words::diagnosis::{Diagnosis, Language};

/// The three things that bound how many calls fit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    /// Port pairs in the configured range.
    pub(crate) port_pairs: u32,
    /// Files that the process may open.
    pub(crate) descriptors: u64,
    /// What the kernel gave a signalling socket for receiving. Units: bytes.
    pub(crate) receive_buffer: usize,
    /// The configured limit.
    pub(crate) configured: usize,
}

impl Capacity {
    /// Calls that fit: two pairs of ports and four files each, with some files kept for everything else.
    pub(crate) fn calls(&self) -> u64 {
        let by_files = self.descriptors.saturating_sub(RESERVED_FILES) / 4;
        u64::from(self.port_pairs / 2).min(by_files).min(self.configured as u64)
    }

    /// The lines that are printed.
    pub(crate) fn tell(&self, language: Language) -> Vec<String> {
        let russian = language == Language::Ru;
        let by_files = self.descriptors.saturating_sub(RESERVED_FILES) / 4;
        let mut lines = vec![if russian {
            format!(
                "Одновременных звонков: до {} (порты: {}, файлы: {by_files}, limits.calls: {})",
                self.calls(),
                self.port_pairs / 2,
                self.configured
            )
        } else {
            format!(
                "Calls at a time: up to {} (ports allow {}, open files {by_files}, limits.calls {})",
                self.calls(),
                self.port_pairs / 2,
                self.configured
            )
        }];
        if (self.configured as u64) > self.calls() {
            lines.push(format!("  {}", Diagnosis::CapacityLow.text(language).todo));
        }
        if self.receive_buffer < GOOD_BUFFER {
            lines.push(if russian {
                format!(
                    "  Буфер приёма SIP — {} КБ: при всплесках звонков поднимите sysctl net.core.rmem_max до {GOOD_BUFFER}",
                    self.receive_buffer / 1024
                )
            } else {
                format!(
                    "  The SIP receive buffer is {} KB: for bursts of calls raise sysctl net.core.rmem_max to {GOOD_BUFFER}",
                    self.receive_buffer / 1024
                )
            });
        }
        lines
    }
}

/// Files kept for the database, listeners and connections.
const RESERVED_FILES: u64 = 512;
/// A receive buffer that holds a second of a busy office's signalling. Units: bytes.
const GOOD_BUFFER: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_of_the_three_decides() {
        let capacity = Capacity { port_pairs: 5_000, descriptors: 1_024, receive_buffer: 4 << 20, configured: 5_000 };
        assert_eq!(capacity.calls(), 128);
        assert_eq!(capacity.tell(Language::En).len(), 2);
    }
}
