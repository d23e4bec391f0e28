//! What is decided about flow-control keys.

use storage::control::push::FlowOverride;

use super::{DEVELOPMENT, Machine, code};
use crate::broker::{FlowPin, FlowUnpin};
use crate::names::FlowKey;
use crate::protocol::error_code::ErrorCode;

fn pin(parallelism: Option<u32>, rate: Option<u32>, period_ms: Option<u64>) -> FlowPin {
    FlowPin {
        parallelism,
        rate,
        period_ms,
    }
}

#[test]
fn pins_that_fix_nothing_or_no_possible_limit_are_refused() {
    let machine = Machine::new(DEVELOPMENT);
    let broker = &machine.broker;
    let other = FlowKey::parse("other").unwrap();
    for refused in [
        pin(None, None, None),
        pin(Some(0), None, None),
        pin(None, Some(0), None),
        pin(None, Some(1), Some(0)),
        pin(None, None, Some(1_000)),
    ] {
        let answer = broker.pin_flow_key(&other, refused);
        assert_eq!(code(answer), ErrorCode::InvalidSettings, "{refused:?}");
    }
    assert_eq!(broker.flow_override(&other), FlowOverride::default());
}

#[test]
fn flow_control_keys_are_kept_while_something_is_decided_about_them() {
    let machine = Machine::new(DEVELOPMENT);
    let tenant = FlowKey::parse("tenant 1/caf\u{e9}").unwrap();
    let pinned = |is_paused, parallelism, rate, period_ms| FlowOverride {
        is_paused,
        parallelism,
        rate,
        period_ms,
    };
    machine.assert_writes(true, |b| b.pause_flow_key(&tenant, true).unwrap());
    machine.assert_writes(false, |b| b.pause_flow_key(&tenant, true).unwrap());
    let broker = &machine.broker;
    for (given, after) in [
        (pin(Some(5), None, None), pinned(true, Some(5), None, None)),
        (
            pin(None, Some(10), Some(60_000)),
            pinned(true, Some(5), Some(10), Some(60_000)),
        ),
        (
            pin(Some(6), None, None),
            pinned(true, Some(6), Some(10), Some(60_000)),
        ),
        (
            pin(None, None, Some(2_000)),
            pinned(true, Some(6), Some(10), Some(2_000)),
        ),
        (
            pin(None, Some(3), None),
            pinned(true, Some(6), Some(3), None),
        ),
        (
            pin(None, Some(3), Some(500)),
            pinned(true, Some(6), Some(3), Some(500)),
        ),
    ] {
        assert_eq!(broker.pin_flow_key(&tenant, given), Ok(after), "{given:?}");
    }
    let machine = machine.restart();
    let kept = pinned(true, Some(6), Some(3), Some(500));
    assert_eq!(machine.broker.flow_override(&tenant), kept);
    let unpin = |parallelism, rate| FlowUnpin { parallelism, rate };
    machine.assert_writes(false, |b| {
        b.unpin_flow_key(&tenant, unpin(false, false)).unwrap()
    });
    let left = machine.broker.unpin_flow_key(&tenant, unpin(false, true));
    assert_eq!(left, Ok(pinned(true, Some(6), None, None)));
    let left = machine.broker.unpin_flow_key(&tenant, unpin(true, false));
    assert_eq!(left, Ok(pinned(true, None, None, None)));
    assert_eq!(machine.broker.list_flow_overrides().len(), 1);
    machine.broker.pause_flow_key(&tenant, false).unwrap();
    let machine = machine.restart();
    assert!(machine.broker.list_flow_overrides().is_empty());
}
