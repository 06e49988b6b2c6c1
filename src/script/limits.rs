//! Bounds of a turn: CPU time and memory, watched while the script runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::thread_cpu;
use crate::memory::Mark;

/// How often the CPU clock is read: a reading costs about as much as ten operations.
const OPERATIONS_PER_READING: u64 = 256;

/// Watches one turn. Shared between the engine's callbacks, all on the turn's own thread.
#[derive(Clone)]
pub struct Watch {
    shared: Arc<Shared>,
    start: Duration,
    cpu: Duration,
    mark: Mark,
    memory: u64,
}

#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    operations: AtomicU64,
}

/// Which bound was broken.
pub enum Excess {
    /// CPU time.
    Cpu(Duration),
    /// Bytes.
    Memory(u64),
}

impl Watch {
    /// Begins watching on this thread.
    pub fn new(cpu: Duration, memory: u64) -> Self {
        Self { shared: Arc::default(), start: thread_cpu(), cpu, mark: Mark::new(), memory }
    }

    /// From now on every operation ends the turn.
    pub fn end(&self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }

    /// Whether the turn has its end already.
    pub fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Relaxed)
    }

    /// CPU time used since the beginning.
    pub fn spent(&self) -> Duration {
        thread_cpu().saturating_sub(self.start)
    }

    /// Looks at both bounds; called for every operation.
    pub fn check(&self) -> Result<(), Excess> {
        self.room_for(0)?;
        let count = self.shared.operations.fetch_add(1, Ordering::Relaxed);
        if count % OPERATIONS_PER_READING == OPERATIONS_PER_READING - 1 && self.spent() > self.cpu {
            return Err(Excess::Cpu(self.cpu));
        }
        Ok(())
    }

    /// Whether so many bytes more may be held.
    pub fn room_for(&self, bytes: u64) -> Result<(), Excess> {
        if self.mark.held().saturating_add(bytes) > self.memory {
            return Err(Excess::Memory(self.memory));
        }
        Ok(())
    }
}
