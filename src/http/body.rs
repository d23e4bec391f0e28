//! Reads a request's body whole, within a size and a time. The time is the sender's: while what has arrived waits for room, it stands
//! still, and that wait has an end of its own.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::header::{EXPECT, HeaderMap};
use tokio::time::Instant;

use super::limits::ROOM_WAIT_MAX;
use crate::request_room::HeldRoom;

/// Why a body was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More bytes than are taken.
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge {
        /// Largest body, in bytes.
        bytes_max: u64,
    },
    /// It did not arrive in time.
    #[error("the body did not arrive within {} ms", .time_max.as_millis())]
    TooSlow {
        /// Time for the whole body.
        time_max: Duration,
    },
    /// There was no room for it in time.
    #[error(
        "other requests took the room in memory for {} s (limits.in_flight_bytes_max), send it again later", ROOM_WAIT_MAX.as_secs()
    )]
    NoRoom,
    /// The connection or the framing broke.
    #[error("the body ended early, or its framing is wrong")]
    Broken,
}

/// Bytes of a body that is too large which are passed over, so that its sender hears the answer.
const PASSED_OVER_BYTES_MAX: u64 = 64 << 20;

/// How a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Largest body, in bytes.
    pub bytes_max: u64,
    /// What the sender may take.
    pub time_max: Duration,
    /// The sender waits for a sign before it sends.
    pub is_asked_for: bool,
}

impl Terms {
    /// Returns the terms for the body behind these headers.
    #[must_use]
    pub fn new(headers: &HeaderMap, bytes_max: u64, time_max: Duration) -> Self {
        Self {
            bytes_max,
            time_max,
            is_asked_for: headers.contains_key(EXPECT),
        }
    }
}

/// Reads the whole body. A declared length above the limit is refused before a byte is kept; nothing is allocated from a
/// declared length, and what has arrived waits for room before more is read.
///
/// Of a body that is too large the rest is passed over: many clients send all of theirs before they read the answer, and get an error of
/// the connection where it ends before. One who waits for a sign gets the answer at once.
///
/// # Errors
/// [`BodyError`].
pub async fn read<B>(body: B, terms: Terms, room: &mut HeldRoom) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes>,
{
    let Terms {
        bytes_max,
        time_max,
        is_asked_for,
    } = terms;
    let mut arriving = Clock { left: time_max };
    let declared = body.size_hint().lower();
    if declared > bytes_max {
        if !is_asked_for && declared <= PASSED_OVER_BYTES_MAX {
            arriving.within(pass_over(pin!(body))).await;
        }
        return Err(BodyError::TooLarge { bytes_max });
    }
    let mut waiting = Clock {
        left: ROOM_WAIT_MAX,
    };
    let limit = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut gathered = Vec::new();
    let mut bytes = 0usize;
    loop {
        let frame = arriving.within(body.frame()).await;
        let Some(frame) = frame.ok_or(BodyError::TooSlow { time_max })? else {
            break;
        };
        let Ok(data) = frame.map_err(|_broken| BodyError::Broken)?.into_data() else {
            continue;
        };
        bytes = bytes.saturating_add(data.len());
        if bytes > limit {
            drop((first, gathered));
            if !is_asked_for {
                arriving.within(pass_over(body)).await;
            }
            return Err(BodyError::TooLarge { bytes_max });
        }
        let has_room = waiting.within(room.grow(bytes)).await;
        has_room.ok_or(BodyError::NoRoom)?;
        // Most bodies are one frame, and are not copied. More of them are: a frame of one byte would take the room of many, and
        // keep the whole buffer that it was read into.
        if bytes == data.len() {
            first = data;
            continue;
        }
        if gathered.is_empty() {
            gathered.extend_from_slice(&std::mem::take(&mut first));
        }
        gathered.extend_from_slice(&data);
    }
    Ok(if gathered.is_empty() {
        first
    } else {
        gathered.into()
    })
}

/// Reads what is left of a body and keeps none of it.
async fn pass_over<B: Body<Data = Bytes>>(mut body: Pin<&mut B>) {
    let mut bytes = 0u64;
    while bytes <= PASSED_OVER_BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        let length = frame.data_ref().map_or(0, Bytes::len);
        bytes = bytes.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    }
}

/// Time that is used up only while something is waited for.
struct Clock {
    left: Duration,
}

impl Clock {
    /// Waits for as long as is left; `None` when that is over.
    async fn within<T>(&mut self, wait: impl Future<Output = T>) -> Option<T> {
        let began = Instant::now();
        let ended = tokio::time::timeout(self.left, wait).await.ok();
        self.left = self.left.saturating_sub(began.elapsed());
        ended
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::convert::Infallible;

    use super::*;
    use crate::request_room::RequestRoom;
    use http_body_util::Full;
    use hyper::body::Frame;

    const TIME: Duration = Duration::from_secs(30);

    async fn read_alone<B: Body<Data = Bytes>>(
        body: B,
        bytes_max: u64,
    ) -> Result<Bytes, BodyError> {
        let mut room = RequestRoom::new(1 << 20).request();
        read(body, terms(bytes_max, TIME), &mut room).await
    }

    fn terms(bytes_max: u64, time_max: Duration) -> Terms {
        Terms::new(&HeaderMap::new(), bytes_max, time_max)
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_is_inclusive() {
        let body = || Full::new(Bytes::from_static(b"12345"));
        assert_eq!(read_alone(body(), 5).await.unwrap(), "12345");
        assert_eq!(
            read_alone(body(), 4).await,
            Err(BodyError::TooLarge { bytes_max: 4 })
        );
    }

    /// Frames of three bytes without a declared length; pends for ever after the last one if `is_stuck`.
    struct Frames {
        left: u32,
        is_stuck: bool,
    }

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.left == 0 {
                return if self.is_stuck {
                    std::task::Poll::Pending
                } else {
                    std::task::Poll::Ready(None)
                };
            }
            self.left -= 1;
            std::task::Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"abc")))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_undeclared_length_is_bounded_and_a_slow_body_ends() {
        let body = |left, is_stuck| Frames { left, is_stuck };
        assert_eq!(read_alone(body(2, false), 6).await.unwrap(), "abcabc");
        assert_eq!(
            read_alone(body(3, true), 8).await,
            Err(BodyError::TooLarge { bytes_max: 8 })
        );
        assert_eq!(
            read_alone(body(2, true), 8).await,
            Err(BodyError::TooSlow { time_max: TIME })
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_has_no_room_waits_until_another_is_answered() {
        let all = RequestRoom::new(2 << 10);
        let (mut first, mut second, mut third) = (all.request(), all.request(), all.request());
        let whole = |bytes: usize| Full::new(Bytes::from(vec![b'x'; bytes]));
        read(whole(1_024), terms(4_096, TIME), &mut first)
            .await
            .unwrap();
        read(whole(1_024), terms(4_096, TIME), &mut second)
            .await
            .unwrap();
        let waited = read(whole(10), terms(4_096, TIME), &mut third).await;
        assert_eq!(waited, Err(BodyError::NoRoom));
        drop(first);
        let mut third = all.request();
        read(whole(10), terms(4_096, TIME), &mut third)
            .await
            .unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_room_is_no_time_of_the_sender_s() {
        let all = RequestRoom::new(2 << 10);
        let whole = |bytes: usize| Full::new(Bytes::from(vec![b'x'; bytes]));
        let mut first = all.request();
        read(whole(2_048), terms(4_096, TIME), &mut first)
            .await
            .unwrap();
        let mut second = all.request();
        let short = ROOM_WAIT_MAX / 4;
        let waiting =
            tokio::spawn(async move { read(whole(10), terms(4_096, short), &mut second).await });
        tokio::time::sleep(ROOM_WAIT_MAX / 2).await;
        drop(first);
        waiting.await.unwrap().unwrap();
    }
}
