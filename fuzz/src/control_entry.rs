//! Control entries: any bytes are decoded or refused, any entries are applied or refused, and a snapshot is the state.

use storage::control::{ControlState, Entry};

use super::input::Input;

/// Decodes the bytes as one entry, then as a list of entries (a length of two bytes before each) that are applied in order.
pub fn run(data: &[u8]) {
    if let Ok(entry) = Entry::decode(data) {
        assert_eq!(entry.encode(), data, "two encodings of {entry:?}");
    }
    let mut state = ControlState::default();
    let mut input = Input(data);
    while !input.is_empty() {
        let count = usize::from(input.u16());
        let Ok(entry) = Entry::decode(input.bytes(count)) else {
            continue;
        };
        let before = state.clone();
        let allowed = state.check(&entry);
        match state.apply(&entry) {
            Ok(()) => {}
            Err(refusal) => {
                assert!(allowed.is_err(), "{refusal} was let through");
                assert_eq!(state, before, "a refused entry changed the state");
            }
        }
        if !matches!(entry, Entry::Snapshot(_)) {
            check_snapshot(&state);
        }
    }
}

fn check_snapshot(state: &ControlState) {
    let mut folded = ControlState::default();
    for part in state.snapshot() {
        let result = folded.apply(&part);
        assert!(result.is_ok(), "{result:?} from a snapshot of {state:?}");
    }
    assert_eq!(folded.snapshot(), state.snapshot());
    assert_eq!(folded.push(), state.push());
    for (name, topic) in state.topics() {
        assert_eq!(folded.topic(name), Some(topic));
    }
}
