//! Texts of a line, cut where it has no room for them.

use std::fmt::{self, Write};

/// So many bytes of texts a line has room for.
pub const LONGEST: usize = 4_096;
/// So much of each text is written also where there is no room left: names of flows and runs.
pub const LEAST: usize = 64;

/// How much of a text has room; what is more is only counted.
pub struct Cut {
    room: usize,
    taken: usize,
    lost: usize,
}

impl Cut {
    /// With room for so many bytes.
    pub fn new(room: usize) -> Self {
        Self { room, taken: 0, lost: 0 }
    }

    /// Whether a text has room.
    pub fn holds(&self, text: &str) -> bool {
        self.lost == 0 && self.taken + text.len() <= self.room
    }

    /// Writes one letter or one escape, which is never torn.
    pub fn unit(&mut self, text: &str, to: &mut impl Write) -> fmt::Result {
        if !self.holds(text) {
            self.lost += text.len();
            return Ok(());
        }
        self.taken += text.len();
        to.write_str(text)
    }

    /// Says what was left out; gives how many bytes were written.
    pub fn end(&self, to: &mut impl Write) -> Result<usize, fmt::Error> {
        if self.lost > 0 {
            write!(to, "… ({} bytes left out)", self.lost)?;
        }
        Ok(self.taken)
    }
}
