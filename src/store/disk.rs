//! Whether the disk has room for more work. What was accepted has to be ended, and that takes room too:
//! new work is turned away before there is none.

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long an answer of the system is good for.
const GOOD: Duration = Duration::from_secs(1);

/// The least that is kept free: a hundredth of the disk, within these bounds.
const LEAST: u64 = 64 << 20;
const MOST: u64 = 1 << 30;

/// A disk.
pub struct Disk {
    file: PathBuf,
    asked: Option<Instant>,
    low: Option<u64>,
}

impl Disk {
    /// That a file is on.
    pub fn of(file: PathBuf) -> Self {
        Self { file, asked: None, low: None }
    }

    /// How many bytes are free, when that is too few.
    pub fn low(&mut self) -> Option<u64> {
        if self.asked.is_none_or(|asked| asked.elapsed() >= GOOD) {
            self.asked = Some(Instant::now());
            // A system that does not say has what it takes.
            self.low = rustix::fs::statvfs(&self.file).ok().and_then(|disk| {
                let (free, whole) = (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize);
                (free < least(whole)).then_some(free)
            });
        }
        self.low
    }
}

fn least(whole: u64) -> u64 {
    (whole / 100).clamp(LEAST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundredth_is_kept_free_within_bounds() {
        assert_eq!(least(100 << 20), 64 << 20);
        assert_eq!(least(50 << 30), (50 << 30) / 100);
        assert_eq!(least(100 << 40), 1 << 30);
    }

    #[test]
    fn a_file_that_is_not_there_has_room() {
        assert_eq!(Disk::of("/nowhere/at/all".into()).low(), None);
    }
}
