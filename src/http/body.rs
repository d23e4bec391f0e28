//! Reads a request's body whole, within a size and a time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;

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
    /// The connection or the framing broke.
    #[error("the body ended early, or its framing is wrong")]
    Broken,
}

/// Reads the whole body. A declared length above the limit is refused before a byte is read; nothing is allocated from a
/// declared length.
///
/// # Errors
/// [`BodyError`].
pub async fn read<B>(body: B, bytes_max: u64, time_max: Duration) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if body.size_hint().lower() > bytes_max {
        return Err(BodyError::TooLarge { bytes_max });
    }
    let limit = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let collected = tokio::time::timeout(time_max, Limited::new(body, limit).collect())
        .await
        .map_err(|_elapsed| BodyError::TooSlow { time_max })?;
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge { bytes_max }),
        Err(_) => Err(BodyError::Broken),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::convert::Infallible;

    use super::*;
    use http_body_util::Full;
    use hyper::body::Frame;

    const TIME: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn the_limit_is_inclusive() {
        let body = || Full::new(Bytes::from_static(b"12345"));
        assert_eq!(read(body(), 5, TIME).await.unwrap(), "12345");
        assert_eq!(
            read(body(), 4, TIME).await,
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
            mut self: std::pin::Pin<&mut Self>,
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
        assert_eq!(read(body(2, false), 6, TIME).await.unwrap(), "abcabc");
        assert_eq!(
            read(body(3, true), 8, TIME).await,
            Err(BodyError::TooLarge { bytes_max: 8 })
        );
        assert_eq!(
            read(body(2, true), 8, TIME).await,
            Err(BodyError::TooSlow { time_max: TIME })
        );
    }
}
