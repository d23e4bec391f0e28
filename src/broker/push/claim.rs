//! What an attempt needs of its destination and of the broker. PURE.

use std::sync::Arc;

use storage::partition::PushedMessage;

use crate::delivery::destination::{Destination, DestinationError};
use crate::delivery::gates::{Claim, Turn};

/// Bytes of a message for which an attempt takes one place. So the places of all bound the bytes that are in memory for them.
const PLACE_BYTES: usize = 64 << 10;
/// Largest message whose intent is written ahead: all that are ahead take no more memory than those under way may.
const AHEAD_BYTES_MAX: usize = PLACE_BYTES / super::AHEAD_FACTOR;

/// Returns what an attempt of a message needs. Intents are written ahead for messages that nothing but their destination holds
/// back, and that are small: they are in memory until they are sent.
pub(super) fn claim(
    message: &PushedMessage,
    destination: &Result<Destination, DestinationError>,
) -> Claim {
    let bytes = bytes(message);
    let places = bytes.div_ceil(PLACE_BYTES).max(1);
    let is_ahead = bytes <= AHEAD_BYTES_MAX && message.envelope.queue.is_none();
    // What does not parse any more is refused when it is attempted, and waits for nobody.
    let host = destination.as_ref().map(Destination::authority);
    Claim {
        host: host.map_or_else(|_| Arc::default(), Arc::clone),
        turn: if is_ahead { Turn::Ahead } else { Turn::InOrder },
        places,
    }
}

/// Bytes that a message takes in memory, about.
fn bytes(message: &PushedMessage) -> usize {
    let headers = message.envelope.headers.iter();
    let headers: usize = headers.map(|(name, value)| name.len() + value.len()).sum();
    message.body.len().saturating_add(headers)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use storage::delivery::Envelope;
    use storage::offset::{Offset, TimestampMs};

    use super::*;

    fn message(body: usize, header: usize, queue: Option<&str>) -> PushedMessage {
        PushedMessage {
            offset: Offset(0),
            append_time: TimestampMs(0),
            timestamp: TimestampMs(0),
            body: vec![b'x'; body].into(),
            envelope: Envelope {
                url: "http://H.example/path".to_owned(),
                headers: vec![("h".to_owned(), Bytes::from(vec![b'x'; header]))],
                queue: queue.map(str::to_owned),
                ..Envelope::default()
            },
            cause: None,
            lineage: None,
        }
    }

    fn of(body: usize, header: usize, queue: Option<&str>) -> (Turn, usize) {
        let message = message(body, header, queue);
        let claim = claim(&message, &Destination::parse(&message.envelope.url));
        assert_eq!(&*claim.host, "h.example:80");
        (claim.turn, claim.places)
    }

    #[test]
    fn places_go_by_bytes_and_only_small_ones_outside_queues_go_ahead() {
        assert_eq!(of(0, 0, None), (Turn::Ahead, 1));
        assert_eq!(of(AHEAD_BYTES_MAX - 1, 0, None), (Turn::Ahead, 1));
        assert_eq!(of(AHEAD_BYTES_MAX, 0, None), (Turn::InOrder, 1));
        assert_eq!(of(0, AHEAD_BYTES_MAX, None), (Turn::InOrder, 1));
        assert_eq!(of(0, 0, Some("q")), (Turn::InOrder, 1));
        assert_eq!(of(PLACE_BYTES - 1, 0, None), (Turn::InOrder, 1));
        assert_eq!(of(PLACE_BYTES, 0, None), (Turn::InOrder, 2));
        assert_eq!(of(PLACE_BYTES, PLACE_BYTES, None), (Turn::InOrder, 3));
    }
}
