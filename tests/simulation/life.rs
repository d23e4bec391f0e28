//! One life of a broker: it opens on what the last one left, serves, and ends by a power cut, a kill, or an order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redrive::broker::{Broker, Host, Upkeep};
use redrive::config::{FlagValue, ServeConfig, Settings};
use redrive::engine::WorkPool;
use redrive::metrics::Metrics;
use redrive::shutdown::Shutdown;
use storage::disk::sim::{SimDisk, Survival};
use tokio::sync::Notify;

use crate::chance::Chance;
use crate::clock::SimClock;
use crate::destination::Destinations;
use crate::disk::{Failures, StageDisk};
use crate::net::Net;
use crate::push_model::flow::Now;
use crate::workers::SimWorkers;
use crate::world::World;
use crate::{consumer, ending, keeper, operator, producer, publisher};

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Power,
    Kill,
    Order,
}

/// What one life leaves to the next.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) disk: SimDisk,
    pub(crate) wall_ms: i64,
}

/// What all parts of a life share.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) world: Arc<World>,
    pub(crate) broker: Arc<Broker>,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) net: Net,
    /// Nothing fails any more: everything must come to its end.
    pub(crate) is_calm: bool,
}

impl Life {
    pub(crate) fn now(&self) -> Now {
        use redrive::clock::Clock as _;
        Now {
            wall_ms: self.clock.now().0,
            simulated_ms: self.world.simulated_ms(),
        }
    }
}

pub(crate) fn config(world: &World) -> ServeConfig {
    let flags: Vec<_> = world
        .plan
        .flags
        .iter()
        .map(|(key, value)| FlagValue {
            flag: format!("--{key}"),
            key: (*key).to_owned(),
            value: value.clone(),
        })
        .collect();
    let settings = Settings::resolve(None, [], &flags).unwrap();
    ServeConfig::from_settings(&settings).unwrap()
}

/// Runs one life. With `is_calm` it is the last one, in which nothing fails and everything must come to its end.
pub(crate) fn live(world: &Arc<World>, left: Left, is_calm: bool) -> Left {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let (end, clock) = runtime.block_on(lived(world, &left, is_calm));
    let mut chance = world.chance("after", 0);
    // What is dropped with the runtime changes the old disk only.
    let disk = match end {
        End::Power => {
            left.disk.cut_power();
            unsynced_is_lost(world);
            let survival = match chance.below(4) {
                _ if world.plan.is_crowded && chance.one_in(2) => Survival::Nothing,
                0 => Survival::Nothing,
                1 => Survival::Everything,
                _ => Survival::Random(chance.next()),
            };
            left.disk.reboot(survival)
        }
        End::Kill | End::Order => {
            if left.disk.has_lost() {
                // The next start reads what the disk has, and not what a failed sync has left in memory.
                unsynced_is_lost(world);
            }
            left.disk.restart_process()
        }
    };
    drop(runtime);
    disk.set_capacity_bytes(None);
    let is_well = !world.has_failures();
    let now = Now {
        wall_ms: clock,
        simulated_ms: world.simulated_ms(),
    };
    world.push.lock().broker_has_ended(now, is_well);
    let away_ms = if world.plan.is_crowded {
        chance.below(3) * 1_000
    } else {
        *chance.pick(&[0, 1_000, 60_000, 3_600_000])
    };
    Left {
        disk,
        wall_ms: clock + i64::try_from(away_ms).unwrap(),
    }
}

/// What was only written may be gone.
fn unsynced_is_lost(world: &World) {
    world.log.lock().power_was_cut();
    for producer in &world.producers {
        producer.lock().power_was_cut(world);
    }
}

async fn lived(world: &Arc<World>, left: &Left, is_calm: bool) -> (End, i64) {
    use redrive::clock::Clock as _;
    world.begin_life();
    let latest_ms = world.latest_wall_ms.load(Ordering::SeqCst);
    // A clock that has jumped back holds up what was put off: at the end it has caught up.
    let wall_ms = left.wall_ms.max(if is_calm { latest_ms } else { i64::MIN });
    if wall_ms > left.wall_ms {
        world.push.lock().clock_jumps();
    }
    let clock = Arc::new(SimClock::new(wall_ms));
    let mut chance = world.chance("life", 0);
    let end = match chance.below(5) {
        _ if world.plan.is_crowded && !chance.one_in(4) => End::Power,
        0 | 1 => End::Kill,
        2 => End::Order,
        _ => End::Power,
    };
    let end = if is_calm { End::Order } else { end };
    let workers = SimWorkers::new(tokio::runtime::Handle::current(), chance.fork("workers", 0));
    let is_cut = Arc::new(Notify::new());
    let mut failures = Failures::none(chance.fork("failures", 0));
    let may_fail = !is_calm && !world.plan.is_crowded;
    if may_fail && chance.one_in(3) {
        failures.write_one_in = chance.between(20, 300);
    }
    let stage = StageDisk::new(world, left.disk.clone(), failures, Arc::clone(&is_cut));
    let is_cut_early = end == End::Power && !world.plan.is_crowded && chance.one_in(3);
    if is_cut_early {
        let at = left.disk.op_count() + chance.between(1, 400);
        left.disk.cut_power_at(at);
    }
    if may_fail && chance.one_in(5) {
        left.disk
            .fail_sync_at(left.disk.op_count() + chance.between(1, 200));
    }
    world.note(&format!("begins, wall {wall_ms}, will end by {end:?}"));
    let host = Host {
        disk: Arc::new(stage.clone()),
        clock: Arc::clone(&clock) as Arc<_>,
        pool: WorkPool::new(Arc::new(workers.clone())),
    };
    let config = config(world);
    let shutdown = Shutdown::new();
    let metrics = Arc::new(Metrics::new());
    let opened = Broker::open_on(&config, host, metrics, shutdown.clone());
    let broker = match opened {
        Ok(broker) => broker,
        Err(error) => {
            world.note(&format!("does not open: {error}"));
            if is_calm {
                world.check(Err(format!("the broker does not open: {error:?}")));
            }
            world.end_life(&left.disk);
            let end = if left.disk.is_power_cut() {
                End::Power
            } else {
                End::Kill
            };
            return (end, clock.now().0);
        }
    };
    world.note("serves");
    world.push.lock().schedules.broker_serves(wall_ms);
    let life = Arc::new(Life {
        net: Net::new(world, &broker, &config, is_calm),
        world: Arc::clone(world),
        broker: Arc::clone(&broker),
        clock: Arc::clone(&clock),
        is_calm,
    });
    let cut = (end == End::Power && !is_cut_early).then(|| left.disk.clone());
    begin_work(&life, &workers, cut);
    let longest_ms = *chance.pick(&[20_000, 20_000, 200_000]);
    let time = chance.ms(200, longest_ms);
    tokio::select! {
        biased;
        () = world.stop.notified() => {}
        () = is_cut.notified() => world.note("the power is cut"),
        () = clients(&life, &left.disk, &stage) => world.note("the clients are done"),
        () = tokio::time::sleep(time), if !is_calm => world.note("the time is over"),
    }
    if end == End::Order && world.broken().is_none() {
        shutdown.trigger();
        stage.stop_failing();
        tokio::time::sleep(chance.ms(0, 3_000)).await;
        workers.run_undisturbed(move || broker.close()).await;
    }
    let wall_ms = clock.now().0;
    world.latest_wall_ms.fetch_max(wall_ms, Ordering::SeqCst);
    world.end_life(&left.disk);
    let end = if left.disk.is_power_cut() {
        End::Power
    } else {
        end
    };
    (end, wall_ms)
}

/// Begins what the broker does by itself.
fn begin_work(life: &Arc<Life>, workers: &SimWorkers, cut: Option<SimDisk>) {
    let destinations = Destinations::new(life, cut);
    tokio::spawn(Arc::clone(&life.broker).deliver(Arc::new(destinations)));
    let mut upkeep = Upkeep::new(Arc::clone(&life.broker));
    let workers = workers.clone();
    let life = Arc::clone(life);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Upkeep::interval()).await;
            upkeep = workers
                .run_undisturbed(move || {
                    upkeep.round();
                    upkeep
                })
                .await;
            let counts = life.broker.delivery_counts();
            life.world.check(crate::push_model::conserves(&counts));
        }
    });
}

/// Lets everybody do what they have to do; in a calm life until nothing is left to be done.
async fn clients(life: &Arc<Life>, disk: &SimDisk, stage: &StageDisk) {
    let world = &life.world;
    if life.is_calm {
        ending::all(life).await;
        return;
    }
    producer::create_topics(life).await;
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..world.producers.len() {
        tasks.spawn(producer::produce(Arc::clone(life), at));
    }
    for at in 0..world.plan.consumers {
        tasks.spawn(consumer::consume(Arc::clone(life), at));
    }
    tasks.spawn(operator::operate(Arc::clone(life)));
    for at in 0..world.plan.publishers {
        tasks.spawn(publisher::publish(Arc::clone(life), at));
    }
    if world.plan.publishers > 0 {
        tasks.spawn(keeper::keep(Arc::clone(life)));
    }
    tasks.spawn(disturb(Arc::clone(life), disk.clone(), stage.clone()));
    while tasks.join_next().await.is_some() {}
}

/// Lets the wall clock jump and the disk be full for a while.
async fn disturb(life: Arc<Life>, disk: SimDisk, stage: StageDisk) {
    let mut chance: Chance = life.world.chance("disturb", 0);
    for _ in 0..chance.below(4) {
        tokio::time::sleep(chance.ms(1, 6_000)).await;
        match chance.below(3) {
            0 if life.world.plan.has_jumps => {
                let by_ms = jump(&mut chance);
                life.world
                    .note(&format!("the wall clock jumps by {by_ms} ms"));
                life.world.push.lock().clock_jumps();
                if by_ms.abs() >= MEMORY_MS {
                    life.world.log.lock().memories_may_end();
                }
                let latest = &life.world.latest_wall_ms;
                latest.fetch_max(life.broker.now().0, Ordering::SeqCst);
                life.clock.jump(by_ms);
            }
            1 if !life.world.plan.is_crowded => {
                life.world.note("the disk is full");
                disk.set_capacity_bytes(Some(chance.below(60_000)));
                tokio::time::sleep(chance.ms(1, 3_000)).await;
                disk.set_capacity_bytes(None);
                life.world.note("the disk has space");
            }
            0 | 1 => {}
            _ => {
                stage.stop_failing();
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

/// How long the broker remembers a producer, by the wall clock.
const MEMORY_MS: i64 = 86_400_000;

fn jump(chance: &mut Chance) -> i64 {
    let sizes = [1_000, 60_000, 3_600_000, 86_400_000, 10 * 365 * 86_400_000];
    let size = *chance.pick(&sizes);
    if chance.one_in(2) { size } else { -size }
}
