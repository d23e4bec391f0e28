//! Any steps, against a model that keeps the whole log.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Produce {
        id: u64,
        epoch: u16,
        skip: u32,
        count: u32,
    },
    Again {
        back: usize,
    },
    Wait {
        ms: i64,
    },
    Retention {
        keep: usize,
    },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..5_u64, 0..3_u16, prop_oneof![4 => Just(0), 1 => 0..4_u32], 1..4_u32)
            .prop_map(|(id, epoch, skip, count)| Step::Produce { id, epoch, skip, count }),
        4 => (0..12_usize).prop_map(|back| Step::Again { back }),
        1 => (0..700_i64).prop_map(|ms| Step::Wait { ms }),
        1 => (0..8_usize).prop_map(|keep| Step::Retention { keep }),
        1 => Just(Step::Restart),
    ]
}

/// The sequence behind the last batch that the log has of this producer and epoch.
fn next_in_log(log: &[BatchHeader], id: u64, epoch: u16) -> u32 {
    log.iter()
        .rev()
        .filter_map(|h| h.producer.map(|p| (p, h.record_count)))
        .find(|(p, _)| p.id == id && p.epoch == epoch)
        .map_or(0, |(p, count)| next_sequence(p.base_sequence, count))
}

/// What a memory of three producers must remember: the batches of the last three producers in the retained log.
fn is_due(partition: &Partition, header: &BatchHeader) -> bool {
    let producer = header.producer.unwrap();
    let behind: Vec<_> = partition
        .log
        .iter()
        .filter(|h| h.base_offset > header.base_offset)
        .collect();
    let own = |h: &&&BatchHeader| h.producer.unwrap().id == producer.id;
    let mut others: Vec<_> = behind
        .iter()
        .map(|h| h.producer.unwrap().id)
        .filter(|id| *id != producer.id)
        .collect();
    others.sort_unstable();
    others.dedup();
    header.base_offset >= partition.log_start
        && partition.now - header.append_time.0 <= SMALL.memory_ms
        && others.len() < SMALL.producer_count_max
        && behind.iter().filter(own).count() < PRODUCER_BATCHES_MAX
        && !behind
            .iter()
            .filter(own)
            .any(|h| h.producer.unwrap().epoch != producer.epoch)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_repeat_is_never_stored_twice_and_the_state_is_the_fold(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut partition = Partition::new(SMALL);
        for step in steps {
            match step {
                Step::Produce { id, epoch, skip, count } => {
                    let next = next_in_log(&partition.log, id, epoch) + skip;
                    partition.produce(id, epoch, next, count);
                }
                Step::Again { back } => {
                    let Some(at) = partition.log.len().checked_sub(back + 1) else { continue };
                    let header = partition.log[at];
                    let (p, count) = (header.producer.unwrap(), header.record_count);
                    let is_due = is_due(&partition, &header);
                    let verdict = partition.produce(p.id, p.epoch, p.base_sequence, count);
                    if is_due {
                        let (base, next) = (header.base_offset.0, header.next_offset().0);
                        prop_assert_eq!(verdict, repeat(base, next));
                    }
                }
                Step::Wait { ms } => partition.now += ms,
                Step::Retention { keep } => {
                    let Some(at) = partition.log.len().checked_sub(keep + 1) else { continue };
                    let start = partition.log[at].base_offset;
                    partition.log_start = partition.log_start.max(start);
                    partition.producers.forget_below(partition.log_start);
                }
                Step::Restart => {
                    let bytes = partition.producers.encode();
                    let decoded = Producers::decode(SMALL, &bytes).unwrap();
                    prop_assert_eq!(&decoded, &partition.producers);
                    partition.producers = decoded;
                }
            }
            partition.producers.forget_expired(TimestampMs(partition.now));
            prop_assert!(partition.producers.len() <= SMALL.producer_count_max);
            prop_assert_eq!(&partition.folded(), &partition.producers);
        }
    }
}
