//! Every sync and every order is needed: without it, a check fails.

use storage::disk::Site;

use crate::coverage::Coverage;
use crate::crashes::{Plan, crash_everywhere, new_disk};

/// In which order the steps are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Right,
    AcceptedBeforeSync,
    AdmittedBeforeSync,
    AttemptBeforeIntent,
    OutcomeToldBeforeSync,
    LettersBeforeOutcome,
    DeadBeforeLetter,
    CallbacksBeforeOutcome,
    CallbacksBeforeDeath,
    CancelledBeforeSync,
    NoSyncBehindPlan,
    MainPastSnapshot,
    MainPastMessages,
    HeadPastReferences,
    HeadPastSnapshot,
    UnlinkBeforeCheckpoint,
}

const WRONG: [Order; 14] = [
    Order::AcceptedBeforeSync,
    Order::AdmittedBeforeSync,
    Order::AttemptBeforeIntent,
    Order::OutcomeToldBeforeSync,
    Order::LettersBeforeOutcome,
    Order::DeadBeforeLetter,
    Order::CallbacksBeforeOutcome,
    Order::CancelledBeforeSync,
    Order::NoSyncBehindPlan,
    Order::MainPastSnapshot,
    Order::MainPastMessages,
    Order::HeadPastReferences,
    Order::HeadPastSnapshot,
    Order::UnlinkBeforeCheckpoint,
];

/// Sites that nothing here depends on: what recovery accepts, what a torn tail or a failed write leaves, and the data directory's
/// own files. The suites of the log, of the dead letters, of the control log and of the data directory hold them.
const ELSEWHERE: [Site; 4] = [
    Site::RecoveryAccepted,
    Site::RecoveryCut,
    Site::RecoveryZeroed,
    Site::DataDir,
];

/// A failed sync may put them before the death, and nothing can wait for it then: the letter alone says at the next start that the
/// failure callback is told.
#[test]
fn callbacks_may_come_before_the_death_is_durable() {
    let plan = Plan {
        order: Order::CallbacksBeforeDeath,
        ops_more: 2,
        second_each: 7,
        third_each: 0,
        recovery_step: 2,
    };
    for seed in 11..14 {
        let done = crash_everywhere(&new_disk(seed), plan, &mut Coverage::default());
        assert!(done.is_ok(), "seed {seed}: {done:?}");
    }
}

#[test]
fn every_wrong_order_and_every_sync_that_is_left_out_breaks_a_promise() {
    let mut missed = Vec::new();
    let orders = WRONG
        .into_iter()
        .map(|order| (format!("{order:?}"), order, None));
    let sites = Site::ALL
        .into_iter()
        .filter(|site| !ELSEWHERE.contains(site));
    let lies = sites.map(|site| (format!("{site:?} left out"), Order::Right, Some(site)));
    for (name, order, lie) in orders.chain(lies) {
        let plan = Plan {
            order,
            ops_more: 2,
            second_each: 7,
            third_each: 0,
            recovery_step: 2,
        };
        let started = std::time::Instant::now();
        // Some orders of what survives are rare.
        let caught = (11..14).find_map(|seed| {
            let disk = new_disk(seed);
            if let Some(site) = lie {
                disk.lie_at(site);
            }
            crash_everywhere(&disk, plan, &mut Coverage::default()).err()
        });
        match caught {
            Some(broken) => {
                let seen: String = broken.seen.chars().take(150).collect();
                eprintln!(
                    "{name} -> {}: {seen} ({:?})",
                    broken.check,
                    started.elapsed()
                );
            }
            None => missed.push(name),
        }
    }
    assert_eq!(
        missed,
        Vec::<String>::new(),
        "nothing needs these, or nothing checks them"
    );
}
