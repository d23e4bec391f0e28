//! The last life: nothing fails, and everything that was promised must be there, go on, and come to its end in time.

use std::collections::BTreeMap;
use std::time::Duration;

use redrive::client::{ClientError, Connection};
use redrive::protocol::selection::{Order, Page, Selection};
use storage::address::Address;

use crate::consumer::{committed, fetch};
use crate::life::Life;
use crate::operator::{list, retry};
use crate::{producer, push_ending};

/// Simulated time in which everything must have come to its end: the longest delays are minutes.
const PATIENCE: Duration = Duration::from_hours(4);
const ROUNDS_MAX: u32 = 100;

/// Lets everything come to its end.
pub(crate) async fn all(life: &Life) {
    let all = async {
        producer::create_topics(life).await;
        for at in 0..life.world.producers.len() {
            producer::finish(life, at).await;
        }
        life.world.note("the producers have been answered");
        let ended = match life.net.connect().await {
            Ok(connection) => logs(life, &connection).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            life.world
                .check(Err(format!("with nothing failing: {error:?}")));
        }
        life.world.note("the topics have come to their end");
        push_ending::all(life).await;
    };
    if tokio::time::timeout(PATIENCE, all).await.is_err() {
        let counts = life.broker.delivery_counts();
        let health = life.broker.health();
        let what = format!("it does not come to its end: {counts:?} {health:?}");
        life.world.check(Err(what));
    }
}

async fn logs(life: &Life, connection: &Connection) -> Result<(), ClientError> {
    let world = &life.world;
    for topic in 0..world.plan.topics.len() {
        let live = list(world, connection, topic).await?;
        let held = world.log.lock().check_live(topic, &live);
        world.check(held);
        let mut page = Page::first(Order::OldestFirst, 3);
        for _ in 0..ROUNDS_MAX {
            let asked = (Selection::All, page.clone(), Some("last".to_owned()));
            match retry(world, connection, topic, asked).await? {
                Some(cursor) => page.cursor = Some(cursor),
                None => break,
            }
        }
        let live = list(world, connection, topic).await?;
        if !live.is_empty() {
            world.check(Err(format!("letters stay: {live:?}")));
        }
    }
    for place in world.plan.places() {
        scan(life, connection, place).await?;
        for group in 0..world.plan.consumers {
            committed(world, connection, &format!("g{group}"), place).await?;
        }
    }
    let held = world.log.lock().check_copies(|id| {
        let address: Address = id.parse().unwrap();
        (address.partition.0, address.offset.0)
    });
    world.check(held);
    Ok(())
}

/// Reads a whole partition.
async fn scan(
    life: &Life,
    connection: &Connection,
    place: crate::log_model::Place,
) -> Result<(), ClientError> {
    let mut scanned = BTreeMap::new();
    let mut from = 0;
    loop {
        let fetched = fetch(&life.world, connection, place, from, 0).await?;
        let Some((reads, high_watermark)) = fetched else {
            life.world
                .check(Err(format!("{place:?} cannot be read from {from}")));
            return Ok(());
        };
        if reads.is_empty() {
            if from != high_watermark {
                life.world.check(Err(format!(
                    "{place:?} serves nothing at {from} of {high_watermark}"
                )));
            }
            break;
        }
        for read in reads {
            from = read.offset + 1;
            scanned.insert(read.offset, (read.value, read.cause));
        }
    }
    let held = life.world.log.lock().check_scan(place, &scanned);
    life.world.check(held);
    Ok(())
}
