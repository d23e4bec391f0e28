//! What stands in delivery logs and in the envelopes of pushed records: any bytes are decoded or refused, come back as they
//! were, and do no harm to a state.

use storage::delivery::{DeliveryState, Entry, Envelope};
use storage::offset::{Offset, TimestampMs};

/// Decodes the bytes as everything they could be.
pub fn run(data: &[u8]) {
    if let Ok(envelope) = Envelope::decode(data) {
        assert_eq!(Envelope::decode(&envelope.encode()).as_ref(), Ok(&envelope));
    }
    if let Ok(entry) = Entry::decode(data) {
        assert_eq!(Entry::decode(&entry.encode()).as_ref(), Ok(&entry));
    }
    if let Ok(state) = DeliveryState::decode(data) {
        let bytes = state.encode();
        let again = DeliveryState::decode(&bytes).unwrap();
        assert_eq!(again.encode(), bytes, "equal states have equal bytes");
        work(again);
    }
}

/// Goes through whatever a state holds, as an engine would.
fn work(mut state: DeliveryState) {
    state.finish_fold();
    for message in state.take_due(TimestampMs(i64::MAX), 100) {
        let entry = Entry::Cancelled {
            message,
            time: TimestampMs(0),
        };
        state.apply(Offset(u64::MAX), &entry);
        assert!(!state.is_pending(message), "it was called off");
    }
    let dying: Vec<_> = state.dying().take(100).collect();
    for (message, _) in dying {
        let dead = Entry::Dead {
            message,
            letter: Offset(0),
            time: TimestampMs(0),
        };
        state.apply(Offset(u64::MAX), &dead);
    }
    DeliveryState::decode(&state.encode()).unwrap();
    let held: Vec<_> = state.messages_from(Offset(0)).take(100).collect();
    for (message, _) in held {
        let time = TimestampMs(0);
        state.apply(Offset(u64::MAX), &Entry::GivenUp { message, time });
        assert!(!state.holds(message), "nothing follows from it");
    }
    DeliveryState::decode(&state.encode()).unwrap();
}
