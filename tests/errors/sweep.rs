//! Fails every operation of the script, once and for ever after, with every error, then heals the disk and starts again.

use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};

use redrive::protocol::error_code::ErrorCode;
use storage::delivery::Envelope;
use storage::disk::fault::{Asked, Effect, FaultDisk, OpClass};
use storage::disk::sim::{SimDisk, Survival};

use crate::hold::Hold;
use crate::script::Script;
use crate::table::{Table, effects_of, kind_of};
use crate::told::Kind;
use crate::world::new_disk;

/// Runs of the merge-sized set: each takes another kind, another error, and once or for ever.
const RUNS: u64 = 400;
/// Codes that an error of the disk may be told by. None of them says that records are damaged or that there is nothing.
const CLEAR: [ErrorCode; 6] = [
    ErrorCode::LogPoisoned,
    ErrorCode::StorageFull,
    ErrorCode::StorageFailed,
    ErrorCode::OutcomeUnknown,
    ErrorCode::Overloaded,
    ErrorCode::TimedOut,
];

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Counts panics, also of tasks whose end nobody looks at.
fn count_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        before(info);
    }));
}

/// One fault.
#[derive(Debug, Clone)]
struct Fault {
    asked: Asked,
    error: &'static str,
    effect: Effect,
    is_forever: bool,
}

impl Fault {
    fn is_sync(&self) -> bool {
        matches!(self.asked.class, OpClass::Sync | OpClass::SyncDir)
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let done = runtime.block_on(future);
    runtime.shutdown_background();
    done
}

/// Runs the script without a fault. Returns every operation that it asks for.
fn asked(seed: u64) -> Vec<Asked> {
    let sim = new_disk(seed);
    let disk = FaultDisk::over(&sim);
    disk.record();
    block_on(async {
        let mut script = Script::new(disk.clone());
        script.run().await;
        let soon = script.told.soon();
        let running = script.running.take().unwrap();
        running.drain(&script.clock, &soon).await.unwrap();
        script.told.check(&running.broker, &script.sink).unwrap();
        running.close().await;
        assert_eq!(script.refused, [], "nothing fails");
        assert_eq!(script.broken, Vec::<String>::new());
    });
    assert_eq!(disk.synced_again(), Vec::<std::path::PathBuf>::new());
    disk.asked()
}

/// Runs the script with a fault, heals, and starts again in one of three ways. Returns whether the fault was met.
fn run(fault: &Fault, seed: u64, table: &mut Table) -> Result<bool, String> {
    let sim = new_disk(seed);
    let disk = FaultDisk::over(&sim);
    let rule = fault.asked.rule(fault.effect);
    disk.add(if fault.is_forever {
        rule.forever()
    } else {
        rule
    });
    let panics = PANICS.load(Ordering::Relaxed);
    let done = block_on(async {
        let mut script = Script::new(disk.clone());
        script.fault = Some(fault.asked.path.clone());
        script.run().await;
        judge(&mut script, fault).await?;
        for (_, refusal) in &script.refused {
            *table
                .codes
                .entry(format!("{:?}", refusal.code))
                .or_default() += 1;
        }
        if disk.hit_count() == 0 {
            return Ok(false);
        }
        start_again(script, &sim, seed).await.map(|()| true)
    });
    if PANICS.load(Ordering::Relaxed) != panics {
        return Err("something has panicked".to_owned());
    }
    done
}

/// Looks at the run while the disk still fails, or has failed once.
async fn judge(script: &mut Script, fault: &Fault) -> Result<(), String> {
    if let Some(broken) = script.broken.first() {
        return Err(broken.clone());
    }
    for (what, refusal) in &script.refused {
        if !CLEAR.contains(&refusal.code) || refusal.message.len() < 10 {
            return Err(format!("{what} is refused with {refusal:?}"));
        }
    }
    if let Some(unclear) = script.unopened.iter().find(|text| text.len() < 10) {
        return Err(format!("the broker does not open: {unclear:?}"));
    }
    // The data directory holds only names of partitions, each of which was durable before its topic was there: a log that is
    // created in one of them asks once more for all names on its way, and needs its own.
    let mut again = script.disk.synced_again();
    again.retain(|path| path != std::path::Path::new("/data"));
    if !again.is_empty() {
        return Err(format!("synced again after a failed sync: {again:?}"));
    }
    if script.running.is_none() && !fault.is_forever && script.unopened.len() > 1 {
        return Err(format!("stays closed: {:?}", script.unopened));
    }
    // What has failed once and was no sync is got over without a restart.
    if let (Some(mut running), false, false) =
        (script.running.take(), fault.is_forever, fault.is_sync())
    {
        running.round().await;
        running.round().await;
        let problems = running.broker.health().problems;
        script.running = Some(running);
        if !problems.is_empty() {
            return Err(format!("does not get over it: {problems:?}"));
        }
        all_work(script).await?;
    } else if let Some(running) = script.running.take() {
        running.kill().await;
    }
    Ok(())
}

/// Everything can be written to.
async fn all_work(script: &mut Script) -> Result<(), String> {
    script.refused.clear();
    for (topic, partition) in [("t", 0), ("t", 1), ("r", 0)] {
        script.produce(topic, partition).await;
    }
    let envelope = Envelope {
        url: format!("http://h/last{}", script.told.opens),
        method: "POST".to_owned(),
        ..Envelope::default()
    };
    script.publish(envelope, Kind::Taken).await;
    match script.refused.first() {
        Some(refused) => Err(format!("does not go on: {refused:?}")),
        None => Ok(()),
    }
}

/// Heals the disk, ends the broker in one of three ways, opens it and compares.
async fn start_again(mut script: Script, sim: &SimDisk, seed: u64) -> Result<(), String> {
    if let Some(running) = script.running.take() {
        running.kill().await;
    }
    let after = match seed % 3 {
        0 => sim.restart_process(),
        1 => sim.reboot(Survival::Nothing),
        _ => sim.reboot(Survival::Random(seed)),
    };
    let disk = FaultDisk::over(&after);
    script.disk = disk;
    script.fault = None;
    script.unopened.clear();
    if !script.open().await {
        return Err(format!(
            "does not open when it is healed: {:?}",
            script.unopened
        ));
    }
    let mut running = script.running.take().unwrap();
    running.round().await;
    let soon = script.told.soon();
    running.drain(&script.clock, &soon).await?;
    script.told.check(&running.broker, &script.sink)?;
    script.told.check_repeats(&running.broker).await?;
    script.running = Some(running);
    all_work(&mut script).await?;
    let running = script.running.take().unwrap();
    let soon = script.told.soon();
    running.drain(&script.clock, &soon).await?;
    script.told.check(&running.broker, &script.sink)?;
    running.kill().await;
    Ok(())
}

/// All faults, in an order in which every beginning has as many kinds, errors and ways as it can.
fn all_faults(asked: &[Asked]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for asked in asked {
        for (error, effect) in effects_of(asked.class) {
            for is_forever in [false, true] {
                let asked = asked.clone();
                faults.push(Fault {
                    asked,
                    error,
                    effect,
                    is_forever,
                });
            }
        }
    }
    // The n-th of its cell first, then the (n+1)-th: cells fill up evenly, and within a round in a mixed order.
    let mut seen = std::collections::BTreeMap::new();
    let mut keyed: Vec<_> = faults
        .into_iter()
        .map(|fault| {
            let cell = (kind_of(&fault.asked), fault.error, fault.is_forever);
            let round = seen.entry(cell.clone()).or_insert(0_u64);
            *round += 1;
            let mixed = crate::table::mixed(&cell);
            ((*round, mixed), fault)
        })
        .collect();
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, fault)| fault).collect()
}

#[test]
fn system_errors() {
    count_panics();
    let mut hold = Hold::begin("errors/sweep::system_errors");
    let asked = asked(1);
    let faults = all_faults(&asked);
    let mut table = Table::new(&asked);
    let only = std::env::var("REDRIVE_ERRORS_ONLY").ok();
    let (mut done, mut met, mut failures) = (0, 0, Vec::new());
    let first = if hold.is_long() { 0 } else { hold.seed() - 1 };
    for (number, fault) in (0_u64..).zip(&faults).skip(first as usize) {
        let is_wanted = only
            .as_ref()
            .is_none_or(|only| format!("{fault:?}").contains(only));
        if !is_wanted {
            continue;
        }
        if !hold.goes_on(done, RUNS) {
            break;
        }
        done += 1;
        match run(fault, number + 1, &mut table) {
            Ok(is_met) => {
                met += u64::from(is_met);
                if is_met {
                    table.count(&fault.asked, fault.error, fault.is_forever);
                }
            }
            Err(broken) => {
                let replay = hold.replay(number + 1);
                eprintln!("{fault:?}: {broken}\n{replay}");
                failures.push(format!("{}: {broken}", kind_of(&fault.asked)));
            }
        }
    }
    let empty = table.print();
    eprintln!(
        "{} empty cells of {} kinds",
        empty.len(),
        table.kinds().len()
    );
    hold.count("operations", asked.len() as u64);
    hold.count("faults", faults.len() as u64);
    hold.count("runs", done);
    hold.count("met", met);
    hold.count("empty_cells", empty.len() as u64);
    hold.count("broken", failures.len() as u64);
    hold.end(env!("CARGO_TARGET_TMPDIR"));
    assert!(failures.is_empty(), "{failures:#?}");
}
