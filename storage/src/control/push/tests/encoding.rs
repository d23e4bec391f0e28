//! Entries and the state as bytes.

use super::*;
use crate::control::tests::assert_golden;

#[test]
fn the_encodings_are_the_golden_ones() {
    let encoded: Vec<_> = samples().iter().map(Entry::encode).collect();
    assert_golden("control-push-v1.hex", &encoded);
    for (entry, bytes) in samples().iter().zip(&encoded) {
        assert_eq!(Entry::decode(bytes).as_ref(), Ok(entry));
    }
    let kinds: Vec<_> = encoded.iter().map(|bytes| (bytes[0], bytes[1])).collect();
    let numbers = [10, 10, 12, 14, 14, 17, 17, 19, 16, 11, 13, 15, 18];
    assert_eq!(kinds, numbers.map(|kind| (kind, 1)));
}

#[test]
fn the_states_bytes_are_the_golden_ones_and_lead_back_to_it() {
    let state = fold(&samples()[..ADDING]);
    let snapshot = state.snapshot();
    let encoded: Vec<_> = snapshot.iter().map(Entry::encode).collect();
    assert_golden("control-state-v2.hex", &encoded);
    assert_eq!(fold(&snapshot), state);
}

#[test]
fn truncated_at_every_byte_is_an_error_and_so_is_a_byte_more() {
    for entry in samples() {
        let mut bytes = entry.encode();
        for end in 0..bytes.len() {
            let decoded = Entry::decode(&bytes[..end]);
            assert!(decoded.is_err(), "{entry:?} cut at {end}");
        }
        bytes.push(0);
        assert!(Entry::decode(&bytes).is_err(), "{entry:?} with a byte more");
    }
}

#[test]
fn a_state_cut_anywhere_is_an_error() {
    let state = fold(&samples()[..ADDING]);
    let mut out = crate::control::fields::Output::default();
    state.push().encode(&mut out);
    for end in 0..out.0.len() {
        let mut fields = crate::control::fields::Fields::new("state", &out.0[..end]);
        assert!(PushState::decode(&mut fields).is_err(), "cut at {end}");
    }
}

#[test]
fn a_state_that_no_entries_lead_to_is_an_error() {
    let encode = |state: &PushState| {
        let mut out = crate::control::fields::Output::default();
        state.encode(&mut out);
        out.0
    };
    let decode = |bytes: &[u8]| {
        let mut fields = crate::control::fields::Fields::new("state", bytes);
        PushState::decode(&mut fields)
    };
    let mut used = fold(&[schedule_set("a", schedule(7))]).push().clone();
    used.next_schedule_number = 7;
    let told = decode(&encode(&used)).unwrap_err().to_string();
    assert!(told.contains("schedule number"), "{told}");

    let mut twice = encode(fold(&[queue_set("a", 1), queue_set("b", 1)]).push());
    let at = twice.iter().position(|byte| *byte == b'b').unwrap();
    twice[at] = b'a';
    let told = decode(&twice).unwrap_err().to_string();
    assert!(told.contains("queue"), "{told}");
}

#[test]
fn a_schedule_with_the_largest_body_comes_back_from_a_snapshot_in_parts() {
    let large = Schedule {
        body: Bytes::from(vec![7; RECORD_BYTES_CEILING as usize]),
        ..schedule(0)
    };
    let entry = schedule_set("large", large);
    assert_eq!(ControlState::default().check(&entry), Ok(()));
    assert_eq!(Entry::decode(&entry.encode()).as_ref(), Ok(&entry));
    let state = fold(&[entry]);
    let snapshot = state.snapshot();
    assert!(snapshot.len() > 32, "{}", snapshot.len());
    assert_eq!(fold(&snapshot), state);
}

#[test]
fn no_debug_output_has_a_secret() {
    let entries = [
        keys_set("sig_current", "sig_next"),
        schedule_set("s", schedule(0)),
    ];
    let state = fold(&entries);
    let text = format!("{entries:?} {state:?} {:?}", state.snapshot());
    for secret in ["sig_current", "sig_next", "{\\\"n\\\"", "115, 105, 103"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(text.contains("SigningKey(..)"));
}
