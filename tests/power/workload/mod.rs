//! What clients do to a broker until it dies: everything that it promises something about, at the same time.
//!
//! Each client tells the oracle what it is about to ask and what it was answered. A client that meets an error stops: the
//! broker is dead or dying, and what was asked last may have happened or not.

mod idempotent;
pub(crate) mod letters;
mod produce;
mod push;
mod read;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hyper::Method;
use parking_lot::Mutex;
use redrive::client::{Client, ClientError};
use redrive::protocol::create_topic::CreateTopicRequest;
use redrive::protocol::error_code::{ErrorCode, Refusal};
use redrive::protocol::group_offsets::CommittedOffset;
use redrive::protocol::settings::{Durability, SettingsChange};
use storage::offset::Offset;
use tokio::task::JoinSet;

use crate::http::Http;
use crate::oracle::Oracle;
use crate::process::Served;
use crate::random::Random;

pub(crate) use idempotent::Idempotent;
pub(crate) use produce::one as produce_one;
pub(crate) use push::{list_dead, retry_dead};
pub(crate) use read::fetch;

/// The partitions, in the order in which the oracle has their logs.
pub(crate) const PARTITIONS: [(&str, u32); 3] = [("s", 0), ("s", 1), ("w", 0)];
/// Index of the partition whose records are rejected.
pub(crate) const LETTERS: usize = 0;
/// Index of the partition that an idempotent producer has for itself.
const WHOLE: usize = 1;
/// Index of the partition whose topic is only written.
const WRITTEN: usize = 2;

/// Group that commits and rejects.
pub(crate) const GROUP: &str = "g";

/// What was done, for the closing line.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) records: AtomicU64,
    pub(crate) letters: AtomicU64,
    pub(crate) resolved: AtomicU64,
    pub(crate) published: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) retentions: AtomicU64,
}

fn more(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// One broker and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) http: Http,
    pub(crate) oracle: Arc<Mutex<Oracle>>,
    pub(crate) done: Arc<Done>,
    /// Where messages go.
    pub(crate) sink: std::net::SocketAddr,
    /// Names what is made in this burst: never used again for a data directory.
    pub(crate) burst: u64,
    is_over: Arc<AtomicBool>,
}

impl World {
    pub(crate) fn new(
        served: &Served,
        oracle: &Arc<Mutex<Oracle>>,
        done: &Arc<Done>,
        (sink, burst): (std::net::SocketAddr, u64),
    ) -> Self {
        Self {
            client: Client::new(served.options()),
            http: Http::new(served),
            oracle: Arc::clone(oracle),
            done: Arc::clone(done),
            sink,
            burst,
            is_over: Arc::default(),
        }
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// Says whether a refusal is one that a broker may give: for the moment, or because its disk is gone.
    fn may_refuse(&self, refusal: &Refusal) -> bool {
        let is_disk = matches!(refusal.code, ErrorCode::StorageFailed | ErrorCode::ReadOnly);
        refusal.code.is_retryable() || (is_disk && self.oracle.lock().may_refuse())
    }

    /// Tells the oracle what was answered or served, unless the power is going. Says whether it was told.
    fn tell(&self, tell: impl FnOnce(&mut Oracle) -> Result<(), String>) -> bool {
        let mut oracle = self.oracle.lock();
        if oracle.is_dark() {
            return false;
        }
        let judged = tell(&mut oracle);
        oracle.judge(judged);
        true
    }
}

/// Clients at work.
#[derive(Debug)]
pub(crate) struct Burst {
    clients: JoinSet<()>,
    is_over: Arc<AtomicBool>,
}

impl Burst {
    /// Begins with every client.
    pub(crate) fn begin(
        world: &World,
        producer: &Arc<tokio::sync::Mutex<Idempotent>>,
        random: &mut Random,
    ) -> Self {
        let mut clients = JoinSet::new();
        let own = || world.clone();
        clients.spawn(produce::plain(own(), LETTERS, random.fork()));
        clients.spawn(produce::plain(own(), WRITTEN, random.fork()));
        clients.spawn(idempotent::produce(
            own(),
            Arc::clone(producer),
            random.fork(),
        ));
        clients.spawn(read::read(own()));
        clients.spawn(commit(own()));
        clients.spawn(letters::reject_and_resolve(own(), random.fork()));
        clients.spawn(push::publish(own(), random.fork()));
        clients.spawn(push::retry(own(), random.fork()));
        clients.spawn(upkeep(own(), random.fork()));
        Self {
            clients,
            is_over: Arc::clone(&world.is_over),
        }
    }

    /// Waits for the clients of a broker that is dead.
    pub(crate) async fn end(mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let ended = async {
            while let Some(ended) = self.clients.join_next().await {
                ended.expect("a client does not panic");
            }
        };
        tokio::time::timeout(Duration::from_mins(1), ended)
            .await
            .expect("clients notice that the broker is dead");
    }
}

/// Makes the topics of [`PARTITIONS`]. Says whether they are there.
pub(crate) async fn make_topics(client: &Client) -> bool {
    for (name, partition_count, durability) in
        [("s", 2, Durability::Synced), ("w", 1, Durability::Written)]
    {
        let request = CreateTopicRequest {
            name: name.to_owned(),
            partition_count,
            durability,
            change: SettingsChange::default(),
        };
        let made = client.create_topic(&request).await;
        let is_there = |error: &ClientError| {
            error
                .refusal()
                .is_some_and(|refusal| refusal.code == ErrorCode::TopicExists)
        };
        if made.is_err_and(|error| !is_there(&error)) {
            return false;
        }
    }
    true
}

/// Commits ever higher offsets.
async fn commit(world: World) {
    let client = world.client.sibling();
    while world.goes_on() && commit_next(&world, &client).await.is_ok() {}
}

/// Commits a higher offset than ever before.
///
/// # Errors
/// The client's.
pub(crate) async fn commit_next(world: &World, client: &Client) -> Result<(), ClientError> {
    let offset = {
        let mut oracle = world.oracle.lock();
        let offset = oracle.committed.next();
        oracle.committed.committing(offset);
        offset
    };
    let (topic, partition) = PARTITIONS[LETTERS];
    let committed = CommittedOffset {
        topic: topic.to_owned(),
        partition,
        offset: Offset(offset),
        metadata: String::new(),
    };
    client.commit_offsets(GROUP, vec![committed]).await?;
    world.tell(|oracle| {
        oracle.committed.committed(offset);
        Ok(())
    });
    more(&world.done.commits);
    Ok(())
}

/// Runs retention, and makes and deletes topics.
async fn upkeep(world: World, mut random: Random) {
    let client = world.client.sibling();
    while world.goes_on() {
        let pause = Duration::from_millis(random.below(30));
        tokio::time::sleep(pause).await;
        let topic = ["s", "s", "w", "_push"][usize::try_from(random.below(4)).unwrap()];
        let target = format!("/admin/v1/topics/{topic}/retention");
        match world.http.send(Method::POST, &target, &[], "").await {
            Some((200, _)) => more(&world.done.retentions),
            _ => return,
        }
        if random.one_in(4) && !change_topics(&world, &client, &mut random).await {
            return;
        }
    }
}

/// Makes a topic, or deletes one when there are enough. Says whether the broker lives.
async fn change_topics(world: &World, client: &Client, random: &mut Random) -> bool {
    let present = world.oracle.lock().topics.present();
    if present.len() > 2 {
        let at = usize::try_from(random.below(present.len() as u64)).unwrap();
        world.oracle.lock().topics.changing(&present[at]);
        if client.delete_topic(&present[at], true).await.is_err() {
            return false;
        }
        return world.tell(|oracle| {
            oracle.topics.changed(&present[at], false);
            Ok(())
        });
    }
    let name = format!("t{}-{}", world.burst, random.below(1 << 40));
    world.oracle.lock().topics.changing(&name);
    let request = CreateTopicRequest {
        name: name.clone(),
        partition_count: 1,
        durability: Durability::Synced,
        change: SettingsChange::default(),
    };
    if client.create_topic(&request).await.is_err() {
        return false;
    }
    world.tell(|oracle| {
        oracle.topics.changed(&name, true);
        Ok(())
    })
}
