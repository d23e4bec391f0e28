//! What the check of a produced batch refuses, and where it says that the fault is.

mod records;
mod whole;

use super::*;
use crate::batch::varint::{write_i32, write_i64};
use crate::error::RecordFault;

fn refusal(batch: &[u8], limits: &BatchLimits) -> BatchRefusal {
    check_produced(batch, limits).unwrap_err()
}

/// A record by its parts; the tests change one of them at a time.
#[derive(Clone)]
struct Forged {
    length_off_by: i32,
    attributes: u8,
    timestamp_delta: i64,
    offset_delta: i32,
    /// Length and bytes.
    key: (i32, Vec<u8>),
    value: (i32, Vec<u8>),
    header_count: i32,
    headers: Vec<u8>,
}

impl Default for Forged {
    fn default() -> Self {
        Self {
            length_off_by: 0,
            attributes: 0,
            timestamp_delta: 0,
            offset_delta: 1,
            key: (1, b"k".to_vec()),
            value: (5, b"value".to_vec()),
            header_count: 0,
            headers: Vec::new(),
        }
    }
}

impl Forged {
    fn encode(&self) -> Vec<u8> {
        let mut body = vec![self.attributes];
        write_i64(&mut body, self.timestamp_delta);
        write_i32(&mut body, self.offset_delta);
        for (length, bytes) in [&self.key, &self.value] {
            write_i32(&mut body, *length);
            body.extend_from_slice(bytes);
        }
        write_i32(&mut body, self.header_count);
        body.extend_from_slice(&self.headers);
        let mut out = Vec::new();
        write_i32(&mut out, body.len() as i32 + self.length_off_by);
        out.extend_from_slice(&body);
        out
    }
}

fn header(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_i32(&mut out, name.len() as i32);
    out.extend_from_slice(name);
    write_i32(&mut out, value.len() as i32);
    out.extend_from_slice(value);
    out
}
