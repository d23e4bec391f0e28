//! Random sequences of steps and crashes, against the oracle.

use proptest::prelude::*;

use storage::disk::sim::Survival;
use storage::log::Visibility;

use crate::broker::{Broker, Crash, Step, Stop, new_disk};
use crate::oracle::{Broken, Oracle};
use crate::power::{Coverage, check_image};

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (1_u32..6, 1_u32..2500).prop_map(|(records, body_bytes)| Step::Append { records, body_bytes }),
        3 => Just(Step::Sync),
        2 => Just(Step::BeginSync),
        2 => Just(Step::RunSyncs),
        1 => Just(Step::Roll),
        1 => Just(Step::BeginRoll),
        2 => Just(Step::FinishRoll),
        2 => Just(Step::Checkpoint),
        1 => (1000_u64..20_000).prop_map(|bytes| Step::Retain { bytes }),
    ];
    prop::collection::vec(step, 0..25)
}

fn crash() -> impl Strategy<Value = Crash> {
    prop_oneof![
        1 => Just(Crash::Kill),
        1 => Just(Crash::Power(Survival::Nothing)),
        1 => Just(Crash::Power(Survival::Everything)),
        4 => any::<u64>().prop_map(|seed| Crash::Power(Survival::Random(seed))),
    ]
}

/// A run: its steps, the operation at which it ends (of those it would have had, in 64ths), and how.
fn runs() -> impl Strategy<Value = Vec<(Vec<Step>, u64, bool, Crash)>> {
    prop::collection::vec((steps(), 1_u64..90, any::<bool>(), crash()), 1..6)
}

fn go(visibility: Visibility, runs: &[(Vec<Step>, u64, bool, Crash)]) -> Result<(), Broken> {
    let mut oracle = Oracle::new(visibility);
    let mut disk = new_disk(30);
    for (steps, op, fails_sync, crash) in runs {
        if *fails_sync {
            disk.fail_sync_at(*op);
        } else {
            disk.cut_power_at(*op);
        }
        let opened = Broker::open(std::sync::Arc::new(disk.clone()), visibility);
        if let Ok((mut broker, report)) = opened {
            oracle.check(&broker.log, &report)?;
            oracle.reopened(&broker.log);
            if let Err(Stop::Broken(broken)) = broker.run(steps, &mut oracle) {
                return Err(broken);
            }
        }
        disk = crash.after(&disk, &mut oracle);
    }
    check_image(&disk, &oracle, &mut Coverage::default())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_steps_and_crashes_keep_every_promise(is_synced in any::<bool>(), runs in runs()) {
        let visibility = if is_synced { Visibility::Synced } else { Visibility::Written };
        if let Err(Broken { check, seen }) = go(visibility, &runs) {
            prop_assert!(false, "{check}: {seen}");
        }
    }
}
