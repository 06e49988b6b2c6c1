//! What goes through a connection: bodies of requests, for which there is bounded room, and answers.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::BoxError;
use axum::body::{Body as Whole, Bytes};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::bodies::SMALL;
use super::room::Seat;

/// There is no room for more of a body.
#[derive(Debug)]
pub struct Crowded;

impl fmt::Display for Crowded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many bodies are under way")
    }
}

impl std::error::Error for Crowded {}

/// Says whether there is room in the end.
type Waiting = Pin<Box<dyn Future<Output = bool> + Send>>;

/// The body of a request.
pub struct Carried {
    body: Incoming,
    seat: Arc<Seat>,
    /// By what it says of itself.
    large: bool,
    /// A piece that came and waits for room.
    waiting: Option<(Frame<Bytes>, Waiting)>,
}

impl Carried {
    /// Of a seat's request.
    pub fn new(body: Incoming, seat: Arc<Seat>) -> Self {
        let large = body.size_hint().lower() > SMALL as u64;
        Self { body, seat, large, waiting: None }
    }
}

impl Body for Carried {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let carried = &mut *self;
        if carried.waiting.is_none() {
            let frame = match Pin::new(&mut carried.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
                Poll::Ready(None) => {
                    carried.seat.has_part();
                    carried.seat.has_all();
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    carried.seat.awaits_body();
                    return Poll::Pending;
                }
            };
            carried.seat.has_part();
            if carried.body.is_end_stream() {
                carried.seat.has_all();
            }
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            if carried.seat.charges(bytes, carried.large) {
                return Poll::Ready(Some(Ok(frame)));
            }
            let room = carried.seat.clone().awaits_room(bytes, carried.large);
            carried.waiting = Some((frame, Box::pin(room)));
        }
        if let Some((_, room)) = &mut carried.waiting
            && !ready!(room.as_mut().poll(context))
        {
            return Poll::Ready(Some(Err(Crowded.into())));
        }
        Poll::Ready(carried.waiting.take().map(|(frame, _)| Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer. When it is dropped it has been given, and the caller may ask for more.
pub struct Answer {
    body: Whole,
    seat: Arc<Seat>,
}

impl Answer {
    /// At a seat.
    pub fn new(body: Whole, seat: Arc<Seat>) -> Self {
        Self { body, seat }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.seat.is_idle();
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
