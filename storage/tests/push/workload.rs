//! What is asked of the partition, in order.

/// A message of the workload. Its script says how its attempts end, one character each: `O` is taken, `F` fails, `X` kills. After a
/// `|` follows the script of the message when it is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Spec {
    pub name: &'static str,
    pub script: &'static str,
    pub has_queue: bool,
    pub has_callback: bool,
    pub has_failure_callback: bool,
    pub has_rate: bool,
    pub key: u8,
    pub delay_ms: i64,
    pub pad: usize,
}

pub const PLAIN: Spec = Spec {
    name: "",
    script: "O",
    has_queue: false,
    has_callback: false,
    has_failure_callback: false,
    has_rate: false,
    key: 0,
    delay_ms: 0,
    pad: 8,
};

const fn plain(name: &'static str, script: &'static str) -> Spec {
    Spec {
        name,
        script,
        ..PLAIN
    }
}

const fn queued(name: &'static str, script: &'static str) -> Spec {
    Spec {
        has_queue: true,
        ..plain(name, script)
    }
}

/// One request to the broker, or something that it does by itself.
#[derive(Debug, Clone, Copy)]
pub enum Op {
    /// One batch.
    Publish(&'static [Spec]),
    /// Looks for what is due so many times.
    Deliver(usize),
    Cancel(&'static str),
    /// The schedule fires with so many messages, due at this time.
    Fire(i64, usize),
    /// Sends the letter of a message back.
    Republish(&'static str),
    Snapshot,
    Retain,
    /// Cancels a message, and lets retention run before anybody has synced that.
    RetainOver(&'static str),
    RetainLetters,
    Wait(i64),
    Checkpoint,
}

pub const LONG_MS: i64 = 1_000_000;

const FIRST: &[Spec] = &[
    plain("a", "O"),
    Spec {
        has_callback: true,
        has_rate: true,
        ..plain("b", "FO")
    },
    Spec {
        has_callback: true,
        has_failure_callback: true,
        ..plain("c", "FX|O")
    },
    Spec {
        has_callback: true,
        ..queued("d", "FO")
    },
    Spec {
        key: 1,
        ..queued("e", "O")
    },
];

const SECOND: &[Spec] = &[Spec {
    key: 1,
    ..plain("double", "O")
}];

const FILLERS: &[Spec] = &[
    plain("f0", "O"),
    plain("f1", "O"),
    Spec {
        delay_ms: LONG_MS,
        ..plain("sleeper", "O")
    },
    plain("f2", "O"),
    plain("f3", "O"),
    plain("f4", "O"),
    plain("f5", "O"),
    plain("f6", "O"),
    plain("f7", "O"),
    plain("f8", "O"),
    plain("f9", "O"),
];

const THIRD: &[Spec] = &[
    Spec {
        has_failure_callback: true,
        has_rate: true,
        key: 2,
        ..queued("g", "FFFFX|X|O")
    },
    queued("h", "O"),
    Spec {
        has_rate: true,
        ..plain("i", "FFFFFO")
    },
    Spec {
        delay_ms: LONG_MS,
        ..plain("gone", "O")
    },
];

const ALONE: &[Spec] = &[Spec {
    delay_ms: LONG_MS,
    pad: 1500,
    ..plain("alone", "O")
}];

const LAST: &[Spec] = &[
    Spec {
        has_callback: true,
        ..queued("j", "X|FO")
    },
    plain("k", "FO"),
    Spec {
        pad: 900,
        ..plain("l", "O")
    },
];

pub const WORKLOAD: &[Op] = &[
    Op::Publish(FIRST),
    Op::Deliver(2),
    Op::Checkpoint,
    Op::Publish(SECOND),
    Op::Deliver(2),
    Op::Publish(FILLERS),
    Op::Fire(60, 2),
    Op::Snapshot,
    Op::Deliver(6),
    Op::Retain,
    Op::Republish("c"),
    Op::Publish(THIRD),
    Op::Cancel("gone"),
    Op::Deliver(3),
    Op::Retain,
    Op::Checkpoint,
    Op::Fire(120, 1),
    Op::Deliver(7),
    Op::Publish(ALONE),
    // The sleeper is carried.
    Op::Retain,
    Op::Publish(LAST),
    Op::Deliver(2),
    // The lonely one is held.
    Op::Retain,
    Op::Snapshot,
    Op::RetainOver("alone"),
    Op::Deliver(3),
    Op::Republish("g"),
    Op::Republish("j"),
    Op::RetainLetters,
    Op::Deliver(3),
    // The sleeper's copy is copied.
    Op::Retain,
    Op::Wait(LONG_MS),
    Op::Deliver(2),
    Op::Retain,
    Op::Checkpoint,
];
