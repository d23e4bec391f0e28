//! What is asked of the broker, in order.

use bytes::Bytes;
use storage::batch::{BatchBuilder, BrokerMark, BuildOptions, Codec, Record};

use crate::machine::NOW;
use crate::oracle::Of;

/// One request to the broker, or something that it does by itself.
#[derive(Debug, Clone, Copy)]
pub enum Op {
    Produce(usize),
    /// Batches of one record each, and one sync for all of them.
    Burst(usize),
    /// Rejections that come together: one batch and one sync for all of them.
    Reject(&'static [Of]),
    Republish(&'static [usize]),
    Delete(&'static [usize]),
    RetainMain,
    RetainLetters,
    Checkpoint,
}

pub const WORKLOAD: &[Op] = &[
    Op::Produce(3),
    Op::Reject(&[Of::Produced(0)]),
    Op::Republish(&[0]),
    Op::Checkpoint,
    Op::Reject(&[Of::Produced(1)]),
    Op::Reject(&[Of::Fresh(0)]),
    Op::Republish(&[1, 2]),
    Op::Burst(3),
    Op::Reject(&[Of::Produced(2), Of::Produced(3)]),
    Op::Delete(&[3]),
    Op::Republish(&[4, 3, 0]),
    Op::RetainMain,
    Op::Burst(5),
    Op::Reject(&[Of::Produced(10)]),
    Op::RetainLetters,
    Op::Reject(&[Of::Produced(9)]),
    Op::Reject(&[Of::Produced(8)]),
    Op::Checkpoint,
    Op::Republish(&[5, 6, 7]),
    Op::RetainMain,
    Op::Burst(7),
    Op::Reject(&[Of::Produced(16)]),
    Op::Reject(&[Of::Produced(17)]),
    Op::Delete(&[8, 9]),
    Op::RetainLetters,
    Op::Reject(&[Of::Produced(17)]),
    Op::Republish(&[10, 4]),
    Op::Reject(&[Of::Fresh(10)]),
    Op::Checkpoint,
];

/// Returns the value of the n-th produced record.
pub fn value_of(number: usize) -> String {
    format!("record {number} {}", "x".repeat(150 + 37 * (number % 5)))
}

pub fn batch_of(numbers: std::ops::Range<usize>) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    for number in numbers {
        let record = Record {
            timestamp: NOW,
            value: Some(Bytes::from(value_of(number))),
            ..Record::default()
        };
        builder.push(&record.as_new(&[])).unwrap();
    }
    let broker = BrokerMark::Client;
    let producer = None;
    builder.build(BuildOptions { producer, broker }).unwrap()
}
