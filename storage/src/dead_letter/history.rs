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

use bytes::Bytes;

use super::fields::{Reader, cut_text, length_u32, owned, put_block, put_varint, wrong};
use super::limits::{
    ATTEMPT_BODY_BYTES_MAX, ATTEMPT_COUNT_MAX, ATTEMPT_HEADER_BYTES_MAX, ATTEMPT_HEADER_COUNT_MAX,
    HISTORY_BYTES_MAX,
};
use crate::error::Corruption;
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

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl Attempt {
    fn cap(&mut self) {
        self.cut_body(ATTEMPT_BODY_BYTES_MAX);
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

    fn encode(&self, out: &mut Vec<u8>) {
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

    fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
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

    fn cut_to_fit(&mut self) {
        let weight: usize = self.attempts.iter().map(Attempt::weight).sum();
        let mut excess = (weight + HISTORY_FRAMING_BYTES).saturating_sub(HISTORY_BYTES_MAX);
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

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.left_out);
        for attempt in &self.attempts {
            let mut bytes = Vec::with_capacity(attempt.weight());
            attempt.encode(&mut bytes);
            put_block(&mut out, &bytes);
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let mut reader = Reader::new("history", bytes);
        let left_out = reader.varint()?;
        let mut attempts = Vec::new();
        while !reader.is_empty() {
            attempts.push(Attempt::decode(reader.block()?)?);
        }
        Ok(Self { attempts, left_out })
    }
}
