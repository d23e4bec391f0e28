//! The body of an answer, as far as it is kept.
//!
//! What a history keeps of an answer is little, and the attempts that may be under way bound it. A callback tells more: that takes room
//! which all answers share, and which is given back when nobody holds the bytes any more. Who finds none keeps what it has: the
//! message was delivered all the same, and what was cut is marked. Nobody waits for room: answers that hold some would wait for one
//! another, in the time of their attempts.

use std::sync::Arc;

use bytes::Bytes;
use storage::dead_letter::limits::ATTEMPT_BODY_BYTES_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of long answers in memory at a time.
const ROOM_BYTES: usize = 64 << 20;
/// Bytes that one step takes of them.
const STEP_BYTES: usize = 64 << 10;

/// Room for long answers.
#[derive(Debug, Clone)]
pub(super) struct AnswerRoom(Arc<Semaphore>);

/// A body that is being read.
pub(super) struct AnswerBody {
    room: AnswerRoom,
    bytes_max: usize,
    gathered: Vec<u8>,
    held: Option<OwnedSemaphorePermit>,
}

/// Bytes with their room.
struct Held {
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AnswerRoom {
    pub(super) fn new() -> Self {
        Self::of(ROOM_BYTES)
    }

    fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.div_euclid(STEP_BYTES))))
    }
}

impl AnswerBody {
    /// Begins a body of which so many bytes are kept.
    pub(super) fn new(room: &AnswerRoom, bytes_max: usize) -> Self {
        Self {
            room: room.clone(),
            bytes_max,
            gathered: Vec::new(),
            held: None,
        }
    }

    /// Keeps what fits; returns whether that was all.
    pub(super) fn take(&mut self, data: &[u8]) -> bool {
        let wanted = self.gathered.len().saturating_add(data.len());
        let fits = self.grow(wanted.min(self.bytes_max));
        let room = fits.saturating_sub(self.gathered.len());
        let kept = data.get(..room).unwrap_or(data);
        self.gathered.extend_from_slice(kept);
        kept.len() == data.len()
    }

    /// Takes room for so many bytes; returns for how many there is.
    fn grow(&mut self, bytes: usize) -> usize {
        loop {
            let steps = self
                .held
                .as_ref()
                .map_or(0, OwnedSemaphorePermit::num_permits);
            let has_room = match steps {
                0 => ATTEMPT_BODY_BYTES_MAX,
                steps => steps.saturating_mul(STEP_BYTES),
            };
            if bytes <= has_room {
                return bytes;
            }
            let Ok(more) = Arc::clone(&self.room.0).try_acquire_owned() else {
                return has_room;
            };
            match &mut self.held {
                Some(held) => held.merge(more),
                None => self.held = Some(more),
            }
        }
    }

    pub(super) fn into_bytes(self) -> Bytes {
        match self.held {
            Some(room) => Bytes::from_owner(Held {
                bytes: self.gathered,
                _room: room,
            }),
            None => self.gathered.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(room: &AnswerRoom, bytes_max: usize, bytes: usize) -> (Bytes, bool) {
        let mut body = AnswerBody::new(room, bytes_max);
        let mut is_whole = true;
        for part in vec![b'x'; bytes].chunks(10_000) {
            is_whole = is_whole && body.take(part);
        }
        (body.into_bytes(), is_whole)
    }

    #[test]
    fn a_body_is_kept_up_to_its_bound() {
        let room = AnswerRoom::new();
        for (bytes_max, bytes, kept) in [
            (4_096, 0, 0),
            (4_096, 4_096, 4_096),
            (4_096, 20_001, 4_096),
            (1 << 20, 4_097, 4_097),
            (1 << 20, 1 << 20, 1 << 20),
            (1 << 20, (1 << 20) + 1, 1 << 20),
        ] {
            let (body, is_whole) = read(&room, bytes_max, bytes);
            assert_eq!((body.len(), is_whole), (kept, kept == bytes));
        }
    }

    #[test]
    fn what_finds_no_room_keeps_what_it_has_and_room_comes_back() {
        let room = AnswerRoom::of(4 * STEP_BYTES);
        let (first, is_whole) = read(&room, 1 << 20, 3 * STEP_BYTES);
        assert!(is_whole);
        let (second, is_whole) = read(&room, 1 << 20, 2 * STEP_BYTES);
        assert_eq!((second.len(), is_whole), (STEP_BYTES, false));
        let (third, is_whole) = read(&room, 1 << 20, STEP_BYTES);
        assert_eq!((third.len(), is_whole), (ATTEMPT_BODY_BYTES_MAX, false));
        drop(first.clone());
        assert_eq!(room.0.available_permits(), 0);
        drop((first, second));
        assert!(read(&room, 1 << 20, 4 * STEP_BYTES).1);
        assert_eq!(room.0.available_permits(), 4);
    }
}
