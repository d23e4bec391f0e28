//! How the destination answers: by the path of the request, unless the test decides itself.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::Response;
use hyper::body::{Body, Bytes, Frame};
use tokio::time::Interval;

/// An answer of the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Bytes,
    },
    /// No answer, ever.
    Hang,
    /// An answer that comes a byte a second.
    Drip,
    /// An answer without an end, as fast as it is taken.
    Endless,
    /// An answer once the test opens the gate with this name.
    Gate(String),
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self::answer(status, &[], format!("answered {status}"))
    }

    pub(crate) fn answer(
        status: u16,
        headers: &[(&'static str, &str)],
        body: impl Into<Bytes>,
    ) -> Self {
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        let body = body.into();
        Self::Answer {
            status,
            headers,
            body,
        }
    }

    /// A failure that its destination calls final.
    pub(crate) fn non_retryable() -> Self {
        Self::answer(
            489,
            &[("Upstash-NonRetryable-Error", "true")],
            "never again",
        )
    }

    /// `/ok`, `/fail/{status}`, `/fail-n/{n}`, `/hang`, `/hang-n/{n}`, `/drip`, `/endless`, `/redirect`, `/retry-after/{s}`, `/nonretryable`, `/gate/{name}`,
    /// each with anything behind it. `earlier` is how many requests to the same path have come before.
    pub(crate) fn by_path(path: &str, earlier: usize) -> Self {
        let mut parts = path.trim_start_matches('/').split(['/', '?']);
        let kind = parts.next().unwrap_or_default();
        let argument = parts.next().unwrap_or_default();
        let number = || argument.parse().unwrap_or(0);
        match kind {
            "fail" => Self::status(argument.parse().unwrap_or(500)),
            "fail-n" if earlier < number() => Self::status(500),
            "hang-n" if earlier < number() => Self::Hang,
            "retry-after" if earlier == 0 => {
                Self::answer(503, &[("Retry-After", argument)], "later")
            }
            "binary" => Self::answer(500, &[("X-Cause", "none")], vec![0xFF, 0xFE, 0]),
            "nonretryable" => Self::non_retryable(),
            "hang" => Self::Hang,
            "drip" => Self::Drip,
            "endless" => Self::Endless,
            "redirect" => Self::answer(302, &[("Location", "/ok/redirected")], ""),
            "gate" => Self::Gate(argument.to_owned()),
            _ => Self::status(200),
        }
    }

    /// Builds the answer; a gate must have been passed.
    pub(crate) fn response(self) -> Response<BoxBody<Bytes, Infallible>> {
        let (status, headers, body) = match self {
            Self::Answer {
                status,
                headers,
                body,
            } => (status, headers, Full::new(body).boxed()),
            Self::Drip => (200, Vec::new(), Slow::every(Duration::from_secs(1)).boxed()),
            Self::Endless => (200, Vec::new(), Slow::endless().boxed()),
            Self::Hang | Self::Gate(_) => (200, Vec::new(), Empty::new().boxed()),
        };
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        response.body(body).unwrap()
    }
}

/// A body without an end.
struct Slow {
    interval: Option<Interval>,
    piece: Bytes,
}

impl Slow {
    fn every(period: Duration) -> Self {
        Self {
            interval: Some(tokio::time::interval(period)),
            piece: Bytes::from_static(b"."),
        }
    }

    fn endless() -> Self {
        Self {
            interval: None,
            piece: Bytes::from(vec![b'.'; 16 << 10]),
        }
    }
}

impl Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(interval) = &mut self.interval {
            ready!(interval.poll_tick(context));
        }
        Poll::Ready(Some(Ok(Frame::data(self.piece.clone()))))
    }
}
