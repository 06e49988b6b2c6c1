//! Who has a file open for writing: a file that is silent for a while may only have a slow writer.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Files that programs have open for writing, by device and inode, as far as the system tells: on Linux those of
/// all programs that run as the same user, and of all where we may see them.
#[derive(Debug, Default)]
pub struct Writers {
    open: HashSet<(u64, u64)>,
    /// Whether nobody else can have any.
    pub is_complete: bool,
}

impl Writers {
    /// Looks at what all programs have open.
    pub fn look() -> Self {
        let mut found = Self { open: HashSet::new(), is_complete: true };
        let Ok(programs) = fs::read_dir("/proc") else { return Self::default() };
        for program in programs.flatten() {
            let is_program = program.file_name().to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()));
            if is_program && found.add(&program.path()).is_none() {
                // It is another user's, or has ended meanwhile.
                found.is_complete &= !program.path().exists();
            }
        }
        found
    }

    fn add(&mut self, program: &Path) -> Option<()> {
        for open in fs::read_dir(program.join("fd")).ok()?.flatten() {
            let about = program.join("fdinfo").join(open.file_name());
            let Some(flags) = fs::read_to_string(about).ok().and_then(|about| flags(&about)) else { continue };
            // O_WRONLY is 1 and O_RDWR is 2: open(2).
            if flags & 0o3 != 0
                && let Ok(file) = fs::metadata(open.path())
                && file.is_file()
            {
                self.open.insert((file.dev(), file.ino()));
            }
        }
        Some(())
    }

    /// Whether somebody has this file open for writing.
    pub fn have(&self, device: u64, inode: u64) -> bool {
        self.open.contains(&(device, inode))
    }
}

/// The flags in what /proc says of a descriptor: proc_pid_fdinfo(5).
fn flags(about: &str) -> Option<u32> {
    let line = about.lines().find_map(|line| line.strip_prefix("flags:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_being_written_while_somebody_has_it_open_for_that() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let writer = fs::File::create(&path).unwrap();
        let about = writer.metadata().unwrap();
        assert!(Writers::look().have(about.dev(), about.ino()));
        drop(writer);
        let _reader = fs::File::open(&path).unwrap();
        assert!(!Writers::look().have(about.dev(), about.ino()));
    }
}
