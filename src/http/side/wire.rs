//! A connection's bytes, with the time that its caller has: for a head, for reading an answer, and for
//! ending what nobody wants to read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::room::Seat;

/// How long a caller may read nothing of its answer.
const STUCK_TIME: Duration = Duration::from_secs(30);
/// How long, and how many bytes, of an unwanted body are thrown away: a connection that is closed with
/// bytes unread takes the answer with it.
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER: usize = 16 << 20;
/// How often a connection that is waited for by nobody is looked at.
const LOOK: Duration = Duration::from_secs(75);

/// Most bytes that are read at once: what comes faster than it is worked up waits outside.
const PIECE: usize = 16 << 10;

/// The bytes.
pub struct Wire {
    stream: TcpStream,
    seat: Arc<Seat>,
    reading: Patience,
    writing: Patience,
    /// Since when the caller reads nothing.
    stuck: Option<Instant>,
    /// Until when bytes are thrown away, and how many still.
    lingers: Option<(Instant, usize)>,
}

/// A timer that is set only when there is something to wait for, and moved only when it must be.
#[derive(Default)]
struct Patience(Option<Pin<Box<Sleep>>>);

impl Patience {
    /// Ready when the deadline has passed.
    fn poll(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(context));
            // It may have been set for an earlier wait.
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

fn too_slow() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

impl Wire {
    /// A seat's connection.
    pub fn new(stream: TcpStream, seat: Arc<Seat>) -> Self {
        let (reading, writing) = (Patience::default(), Patience::default());
        Self { stream, seat, reading, writing, stuck: None, lingers: None }
    }

    /// What was written, or that the caller has read nothing for too long.
    fn written<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.stuck.take().is_some() {
                self.seat.is_stuck(false);
            }
            return written;
        }
        if self.stuck.is_none() {
            self.seat.is_stuck(true);
        }
        let since = *self.stuck.get_or_insert_with(Instant::now);
        self.writing.poll(context, since + STUCK_TIME).map(|()| Err(too_slow()))
    }

    /// Throws away what still comes of a body that nobody read.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (deadline, mut left) = *self.lingers.get_or_insert_with(|| (Instant::now() + LINGER_TIME, LINGER));
        let mut space = [0; 8 << 10];
        while left > 0 {
            let mut piece = ReadBuf::new(&mut space);
            match Pin::new(&mut self.stream).poll_read(context, &mut piece) {
                Poll::Ready(Ok(())) if !piece.filled().is_empty() => left = left.saturating_sub(piece.filled().len()),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    self.lingers = Some((deadline, left));
                    return self.reading.poll(context, deadline);
                }
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        let before = into.filled().len();
        let read = match into.remaining() > PIECE {
            true => {
                let mut piece = ReadBuf::new(into.initialize_unfilled_to(PIECE));
                let read = Pin::new(&mut wire.stream).poll_read(context, &mut piece);
                let came = piece.filled().len();
                into.advance(came);
                read
            }
            false => Pin::new(&mut wire.stream).poll_read(context, into),
        };
        match read {
            Poll::Ready(read) => {
                wire.seat.came(into.filled().len() - before);
                Poll::Ready(read)
            }
            Poll::Pending => match wire.seat.deadline() {
                Some(deadline) => wire.reading.poll(context, deadline).map(|()| Err(too_slow())),
                // It becomes the caller's turn without another look from here.
                None => wire.reading.poll(context, Instant::now() + LOOK).map(|()| Ok(())),
            },
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        if wire.lingers.is_none() {
            ready!(Pin::new(&mut wire.stream).poll_shutdown(context))?;
            // The rest of a body, or of a head that was refused.
            if !wire.seat.has_unread() && !wire.seat.awaits_head() {
                return Poll::Ready(Ok(()));
            }
        }
        wire.poll_linger(context).map(Ok)
    }
}
