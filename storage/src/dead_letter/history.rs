//! What was tried before a record died: the first attempt and the last fifteen, within bounds.
//!
//! Invariant: a history made by [`History::push`] takes at most [`HISTORY_BYTES_MAX`] bytes, and what was cut says so. When
//! the whole is too large, the middle gives way first, oldest first; then the first attempt; the last one at the very end.
//!
//! | field | bytes | type | meaning |
//! |---|---|---|---|
//! | left out | 1 to 5 | varint | attempts between the first and the rest that are not kept |
//! | attempts | | blocks | to the end; each as below |
//!
//! | field of an attempt | bytes | type | meaning |
//! |---|---|---|---|
//! | number | 1 to 5 | varint | 1 for the first |
//! | time | 8 | i64 | ms, when it began |
//! | duration | 4 | u32 | ms |
//! | result kind | 1 | u8 | 1 status, 2 error class |
//! | result | 2 or 1 | u16 or u8 | the status, or the class: see [`ErrorClass`] |
//! | marks | 1 | u8 | bit 0: the body was cut; bit 1: headers were cut; others 0 |
//! | header count | 1 to 5 | varint | |
//! | headers | | (block, block) | name and value of each |
//! | body | | block | of the answer, or the text of the error |

use std::fmt;

use bytes::Bytes;

use super::limits::{
    ATTEMPT_BODY_BYTES_MAX, ATTEMPT_COUNT_MAX, ATTEMPT_HEADER_BYTES_MAX, ATTEMPT_HEADER_COUNT_MAX,
    HISTORY_BYTES_MAX, TOLD_BODY_BYTES_MAX,
};
use crate::error::Corruption;
use crate::fields::{Reader, cut_text, length_u32, owned, put_block, put_varint, wrong};
use crate::hidden::{Hidden, HiddenHeaders};
use crate::offset::TimestampMs;

const RESULT_STATUS: u8 = 1;
const RESULT_ERROR: u8 = 2;
const MARK_BODY: u8 = 1;
const MARK_HEADERS: u8 = 2;

// Fixed fields, counts and length prefixes of an attempt, and of one header, at most.
const ATTEMPT_FRAMING_BYTES: usize = 5 + 5 + 8 + 4 + 3 + 1 + 5 + 5;
const HEADER_FRAMING_BYTES: usize = 10;
const HISTORY_FRAMING_BYTES: usize = 5;

/// Why an attempt had no answer. Numbers that this version does not know are kept and shown as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorClass(pub u8);

impl ErrorClass {
    /// The host name did not resolve.
    pub const RESOLVE: Self = Self(1);
    /// The connection was refused or could not be made.
    pub const CONNECT: Self = Self(2);
    /// TLS failed.
    pub const TLS: Self = Self(3);
    /// The answer did not come in time.
    pub const TIMEOUT: Self = Self(4);
    /// The connection broke before the answer was whole.
    pub const BROKEN: Self = Self(5);
    /// The answer was not valid HTTP or too large.
    pub const PROTOCOL: Self = Self(6);
    /// The outbound rules forbid the destination.
    pub const FORBIDDEN: Self = Self(7);
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptResult {
    /// There was an answer with this HTTP status.
    Status(u16),
    /// There was none.
    Error(ErrorClass),
}

/// One attempt. `Debug` shows neither the body of the answer nor the values of its headers.
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Number of the attempt, 1 for the first.
    pub number: u32,
    /// When it began.
    pub time: TimestampMs,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// How it ended.
    pub result: AttemptResult,
    /// Headers of the answer, as far as they are kept.
    pub headers: Vec<(String, String)>,
    /// Body of the answer, or the text of the error, as far as it is kept.
    pub body: Bytes,
    /// Whether the body was longer.
    pub is_body_cut: bool,
    /// Whether there were more headers, or longer ones.
    pub are_headers_cut: bool,
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("number", &self.number)
            .field("time", &self.time)
            .field("duration_ms", &self.duration_ms)
            .field("result", &self.result)
            .field("headers", &HiddenHeaders(&self.headers))
            .field("body", &Hidden(&self.body))
            .field("is_body_cut", &self.is_body_cut)
            .field("are_headers_cut", &self.are_headers_cut)
            .finish()
    }
}

impl Attempt {
    /// Cuts the headers and the body to what is kept of an attempt.
    pub fn cap(&mut self) {
        self.cap_to(ATTEMPT_BODY_BYTES_MAX);
    }

    /// Cuts the headers to what is kept of an attempt, and the body to what a callback may tell of it.
    pub fn cap_to_be_told(&mut self) {
        self.cap_to(TOLD_BODY_BYTES_MAX);
    }

    fn cap_to(&mut self, body_bytes_max: usize) {
        self.cut_body(body_bytes_max);
        if self.headers.len() > ATTEMPT_HEADER_COUNT_MAX {
            self.headers.truncate(ATTEMPT_HEADER_COUNT_MAX);
            self.are_headers_cut = true;
        }
        let mut left = ATTEMPT_HEADER_BYTES_MAX;
        for (name, value) in &mut self.headers {
            self.are_headers_cut |= cut_text(name, left);
            left = left.saturating_sub(name.len());
            self.are_headers_cut |= cut_text(value, left);
            left = left.saturating_sub(value.len());
        }
        self.headers.retain(|(name, _)| !name.is_empty());
    }

    fn cut_body(&mut self, bytes_max: usize) {
        if self.body.len() > bytes_max {
            // A copy, so that a long answer is not kept in memory for its first bytes.
            self.body = owned(self.body.get(..bytes_max).unwrap_or_default());
            self.is_body_cut = true;
        }
    }

    fn drop_headers(&mut self) {
        self.are_headers_cut |= !self.headers.is_empty();
        self.headers = Vec::new();
    }

    /// Bytes that the attempt takes at most when encoded.
    fn weight(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len() + HEADER_FRAMING_BYTES)
            .sum();
        ATTEMPT_FRAMING_BYTES + headers + self.body.len()
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.number);
        out.extend_from_slice(&self.time.0.to_be_bytes());
        out.extend_from_slice(&self.duration_ms.to_be_bytes());
        match self.result {
            AttemptResult::Status(status) => {
                out.push(RESULT_STATUS);
                out.extend_from_slice(&status.to_be_bytes());
            }
            AttemptResult::Error(class) => out.extend_from_slice(&[RESULT_ERROR, class.0]),
        }
        let body_mark = if self.is_body_cut { MARK_BODY } else { 0 };
        let headers_mark = if self.are_headers_cut {
            MARK_HEADERS
        } else {
            0
        };
        out.push(body_mark | headers_mark);
        put_varint(out, length_u32(&self.headers));
        for (name, value) in &self.headers {
            put_block(out, name.as_bytes());
            put_block(out, value.as_bytes());
        }
        put_block(out, &self.body);
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let mut reader = Reader::new("attempt", bytes);
        let number = reader.varint()?;
        let time = TimestampMs(reader.i64()?);
        let duration_ms = reader.u32()?;
        let result = match reader.u8()? {
            RESULT_STATUS => AttemptResult::Status(reader.u16()?),
            RESULT_ERROR => AttemptResult::Error(ErrorClass(reader.u8()?)),
            other => return Err(wrong("attempt result", u64::from(other))),
        };
        let marks = reader.u8()?;
        if marks & !(MARK_BODY | MARK_HEADERS) != 0 {
            return Err(wrong("attempt marks", u64::from(marks)));
        }
        let mut headers = Vec::new();
        for _ in 0..reader.varint()? {
            headers.push((
                reader.text("attempt header name")?,
                reader.text("attempt header value")?,
            ));
        }
        let body = owned(reader.block()?);
        reader.finish()?;
        Ok(Self {
            number,
            time,
            duration_ms,
            result,
            headers,
            body,
            is_body_cut: marks & MARK_BODY != 0,
            are_headers_cut: marks & MARK_HEADERS != 0,
        })
    }
}

/// The attempts that a letter keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    attempts: Vec<Attempt>,
    left_out: u32,
}

impl History {
    /// Adds the newest attempt, and cuts and leaves out what the bounds ask for.
    pub fn push(&mut self, attempt: Attempt) {
        let mut attempt = attempt;
        attempt.cap();
        self.attempts.push(attempt);
        if self.attempts.len() > ATTEMPT_COUNT_MAX {
            self.attempts.remove(1);
            self.left_out = self.left_out.saturating_add(1);
        }
        self.cut_to_fit();
    }

    /// Returns the attempts that are kept, oldest first.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Returns how many attempts between the first and the second that is kept were left out.
    #[must_use]
    pub fn left_out(&self) -> u32 {
        self.left_out
    }

    /// Returns the newest attempt.
    #[must_use]
    pub fn last(&self) -> Option<&Attempt> {
        self.attempts.last()
    }

    /// Returns the status of the newest attempt, if it had an answer.
    #[must_use]
    pub fn last_status(&self) -> Option<u16> {
        match self.last()?.result {
            AttemptResult::Status(status) => Some(status),
            AttemptResult::Error(_) => None,
        }
    }

    /// Returns the status by which a letter is found: 0 when its last attempt had no answer, `None` when there was no attempt.
    #[must_use]
    pub fn filed_status(&self) -> Option<u16> {
        self.last().map(|attempt| match attempt.result {
            AttemptResult::Status(status) => status,
            AttemptResult::Error(_) => 0,
        })
    }

    /// Bytes that the history takes at most when encoded.
    pub(super) fn weight(&self) -> usize {
        let attempts: usize = self.attempts.iter().map(Attempt::weight).sum();
        attempts + HISTORY_FRAMING_BYTES
    }

    fn cut_to_fit(&mut self) {
        let mut excess = self.weight().saturating_sub(HISTORY_BYTES_MAX);
        let Some((first, rest)) = self.attempts.split_first_mut() else {
            return;
        };
        let (last, middle) = match rest.split_last_mut() {
            Some((last, middle)) => (Some(last), middle),
            None => (None, rest),
        };
        for attempt in middle.iter_mut().chain([first]).chain(last) {
            if excess == 0 {
                return;
            }
            let before = attempt.weight();
            attempt.cut_body(attempt.body.len().saturating_sub(excess));
            if before - attempt.weight() < excess {
                attempt.drop_headers();
            }
            excess = excess.saturating_sub(before - attempt.weight());
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.left_out);
        for attempt in &self.attempts {
            let mut bytes = Vec::with_capacity(attempt.weight());
            attempt.encode(&mut bytes);
            put_block(&mut out, &bytes);
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let mut reader = Reader::new("history", bytes);
        let left_out = reader.varint()?;
        let mut attempts = Vec::new();
        while !reader.is_empty() {
            attempts.push(Attempt::decode(reader.block()?)?);
        }
        Ok(Self { attempts, left_out })
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::cast_possible_truncation,
        reason = "tests may panic"
    )]

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn attempt(number: u32, body_bytes: usize) -> Attempt {
        let body = number.to_string().repeat(body_bytes);
        Attempt {
            number,
            time: TimestampMs(i64::from(number) * 1000),
            duration_ms: number,
            result: AttemptResult::Status(503),
            headers: vec![("retry-after".to_owned(), "9".to_owned())],
            body: Bytes::copy_from_slice(&body.as_bytes()[..body_bytes]),
            is_body_cut: false,
            are_headers_cut: false,
        }
    }

    fn history(attempts: impl IntoIterator<Item = Attempt>) -> History {
        let mut history = History::default();
        for attempt in attempts {
            history.push(attempt);
        }
        history
    }

    fn numbers(history: &History) -> Vec<u32> {
        history
            .attempts()
            .iter()
            .map(|attempt| attempt.number)
            .collect()
    }

    #[test]
    fn the_first_and_the_last_fifteen_are_kept_and_the_rest_is_counted() {
        let all = history((1..=16).map(|n| attempt(n, 1)));
        assert_eq!((numbers(&all), all.left_out()), ((1..=16).collect(), 0));
        let many = history((1..=40).map(|n| attempt(n, 1)));
        let kept: Vec<_> = [1].into_iter().chain(26..=40).collect();
        assert_eq!((numbers(&many), many.left_out()), (kept, 24));
        assert_eq!(many.last().unwrap().number, 40);
    }

    #[test]
    fn a_body_above_four_kib_is_cut_and_marked() {
        for (bytes, is_cut) in [(4096, false), (4097, true), (1 << 20, true)] {
            let history = history([attempt(7, bytes)]);
            let last = history.last().unwrap();
            assert_eq!(
                (last.body.len(), last.is_body_cut),
                (bytes.min(4096), is_cut)
            );
            assert_eq!(last.body, attempt(7, 4096).body.slice(..last.body.len()));
        }
    }

    #[test]
    fn headers_above_their_limits_are_cut_and_marked() {
        let with = |headers: Vec<(String, String)>| {
            let history = history([Attempt {
                headers,
                ..attempt(1, 1)
            }]);
            let last = history.last().unwrap();
            let bytes = last
                .headers
                .iter()
                .map(|(name, value)| name.len() + value.len());
            (
                last.headers.len(),
                bytes.sum::<usize>(),
                last.are_headers_cut,
            )
        };
        let header = |value_bytes| ("x".to_owned(), "v".repeat(value_bytes));
        assert_eq!(with(vec![header(2047)]), (1, 2048, false));
        assert_eq!(with(vec![header(2048)]), (1, 2048, true));
        assert_eq!(with(vec![header(1); 64]), (64, 128, false));
        assert_eq!(with(vec![header(1); 65]), (64, 128, true));
        assert_eq!(with(vec![header(1500), header(1500)]), (2, 2048, true));
    }

    #[test]
    fn the_middle_gives_way_before_the_first_and_the_last() {
        let history = history((1..=30).map(|n| attempt(n, 5000)));
        let bodies: Vec<_> = history
            .attempts()
            .iter()
            .map(|attempt| attempt.body.len())
            .collect();
        assert_eq!((bodies.first(), bodies.last()), (Some(&4096), Some(&4096)));
        let middle = &bodies[1..15];
        assert!(
            middle.is_sorted() && middle[0] < 4096 && middle[13] == 4096,
            "{middle:?}"
        );
        assert!(history.attempts().iter().all(|attempt| attempt.is_body_cut));
        assert!(history.encode().len() <= HISTORY_BYTES_MAX);
    }

    fn attempts() -> impl Strategy<Value = Attempt> {
        let header = (1..40_usize, 0..150_usize)
            .prop_map(|(name, value)| ("n".repeat(name), "\u{e9}".repeat(value)));
        let headers = vec(header, 0..70);
        let result = prop_oneof![
            any::<u16>().prop_map(AttemptResult::Status),
            any::<u8>().prop_map(|class| AttemptResult::Error(ErrorClass(class))),
        ];
        let sizes = prop_oneof![0..20_usize, 3000..6000_usize];
        (
            any::<u32>(),
            any::<i64>(),
            any::<u32>(),
            result,
            headers,
            sizes,
        )
            .prop_map(
                |(number, time, duration_ms, result, headers, body_bytes)| Attempt {
                    number,
                    time: TimestampMs(time),
                    duration_ms,
                    result,
                    headers,
                    body: Bytes::from(vec![0xe9; body_bytes]),
                    is_body_cut: false,
                    are_headers_cut: false,
                },
            )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_history_keeps_its_bounds_marks_its_cuts_and_round_trips(pushed in vec(attempts(), 0..40)) {
            let history = history(pushed.clone());
            let kept = history.attempts();
            prop_assert_eq!(kept.len(), pushed.len().min(ATTEMPT_COUNT_MAX));
            prop_assert_eq!(kept.len() + history.left_out() as usize, pushed.len());
            let left_out = history.left_out() as usize;
            for (at, attempt) in kept.iter().enumerate() {
                let given = &pushed[if at == 0 { 0 } else { at + left_out }];
                prop_assert_eq!((attempt.number, attempt.result), (given.number, given.result));
                prop_assert_eq!(attempt.is_body_cut, attempt.body != given.body);
                prop_assert_eq!(attempt.are_headers_cut, attempt.headers != given.headers);
            }
            let bytes = history.encode();
            prop_assert!(bytes.len() <= HISTORY_BYTES_MAX, "{} bytes", bytes.len());
            prop_assert_eq!(History::decode(&bytes), Ok(history));
        }

        #[test]
        fn decoding_any_bytes_never_panics(bytes in vec(any::<u8>(), 0..200)) {
            if let Ok(history) = History::decode(&bytes) {
                prop_assert_eq!(history.encode(), bytes);
            }
        }
    }
}
