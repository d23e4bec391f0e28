//! What is looked at after every start: everything that the broker serves, against the oracle.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::Method;
use redrive::protocol::selection::Selection;

use crate::oracle::{Balance, Counts, Push, WholeLog};
use crate::workload::{
    GROUP, LETTERS, PARTITIONS, World, fetch, letters, list_dead, make_topics, retry_dead,
};

/// Looks at everything. Judgements go to the oracle; an error is a broker that does not do what it is asked.
///
/// # Errors
/// What the broker did not do.
pub(crate) async fn everything(world: &World, is_settling: bool) -> Result<(), String> {
    let has_topics = world.oracle.lock().has_topics;
    if !has_topics && !make_topics(&world.client).await {
        return Err("the topics cannot be made".to_owned());
    }
    world.oracle.lock().has_topics = true;
    let (ready, topics, committed, letters, balance) = tokio::join!(
        ready(world),
        topics(world),
        committed(world),
        dead_letters(world),
        balance(world)
    );
    ready.and(topics).and(committed).and(letters)?;
    world.oracle.lock().judge(Push::balanced(&balance?));
    let unsettled = world.oracle.lock().push.unsettled();
    for letter in unsettled {
        if !retry_dead(world, &letter).await {
            return Err(format!("the message of letter {letter} cannot be retried"));
        }
    }
    if is_settling {
        settle(world).await?;
    }
    Ok(())
}

async fn ready(world: &World) -> Result<(), String> {
    match world.http.send(Method::GET, "/readyz", &[], "").await {
        Some((200, _)) => Ok(()),
        answer => Err(format!("the broker is not ready: {answer:?}")),
    }
}

async fn topics(world: &World) -> Result<(), String> {
    let found = world.client.metadata(None).await;
    let found = found.map_err(|error| format!("the topics are not listed: {error}"))?;
    let own = |name: &String| name.starts_with('t');
    let names: Vec<String> = found
        .into_iter()
        .map(|(name, _)| name)
        .filter(own)
        .collect();
    let mut oracle = world.oracle.lock();
    let judged = oracle.topics.found(&names);
    oracle.judge(judged);
    Ok(())
}

async fn committed(world: &World) -> Result<(), String> {
    let found = world.client.committed_offsets(GROUP, None).await;
    let found = found.map_err(|error| format!("the committed offsets are not listed: {error}"))?;
    let mut oracle = world.oracle.lock();
    let judged = oracle
        .committed
        .found(found.first().map(|found| found.offset.0));
    oracle.judge(judged);
    Ok(())
}

/// The letters, then the logs with the copies that the letters must have there.
async fn dead_letters(world: &World) -> Result<(), String> {
    let (topic, _) = PARTITIONS[LETTERS];
    let found = letters::list(&world.client, topic).await;
    let found = found.map_err(|error| format!("the letters are not listed: {error}"))?;
    let found: Vec<_> = found.into_iter().map(letters::listed).collect();
    let unsettled = {
        let mut oracle = world.oracle.lock();
        let judged = oracle.letters.listed(&found);
        oracle.judge(judged);
        oracle.letters.unsettled()
    };
    if !unsettled.is_empty() && !letters::retry(world, &world.client, &unsettled).await {
        return Err("letters cannot be retried".to_owned());
    }
    let stats = world.client.letter_stats(topic, Selection::All).await;
    let counts = stats
        .map_err(|error| format!("the letters are not counted: {error}"))?
        .counts;
    let reading = (0..PARTITIONS.len()).map(|at| whole_log(world, at));
    let logs = futures_util::future::try_join_all(reading).await?;
    let mut oracle = world.oracle.lock();
    let judged = oracle.letters.counted(Counts {
        live: counts.live,
        republished: counts.republished,
        deleted: counts.deleted,
        expired: counts.expired,
    });
    oracle.judge(judged);
    for (at, whole) in logs.iter().enumerate() {
        let judged = oracle.logs[at].read(whole);
        oracle.judge(judged);
    }
    let whole = &logs[LETTERS];
    let copies: BTreeMap<u64, String> = whole
        .records
        .iter()
        .filter(|record| record.is_copy)
        .map(|record| (record.offset, record.value.clone()))
        .collect();
    let judged = oracle.letters.copies(whole.start, &copies);
    oracle.judge(judged);
    Ok(())
}

/// Reads all logs, and judges them.
///
/// # Errors
/// What the broker did not do.
pub(crate) async fn reads(world: &World) -> Result<(), String> {
    for at in 0..PARTITIONS.len() {
        let whole = whole_log(world, at).await?;
        let mut oracle = world.oracle.lock();
        if !oracle.is_dark() {
            let judged = oracle.logs[at].read(&whole);
            oracle.judge(judged);
        }
    }
    Ok(())
}

/// Reads a log from its start to its end.
async fn whole_log(world: &World, at: usize) -> Result<WholeLog, String> {
    let (topic, partition) = PARTITIONS[at];
    let earliest = redrive::protocol::list_offsets::Place::Earliest;
    let found = world.client.find_offset(topic, partition, earliest).await;
    let start = found
        .map_err(|error| format!("{topic}-{partition}: no start: {error}"))?
        .offset
        .0;
    let mut whole = WholeLog {
        start,
        ..WholeLog::default()
    };
    let mut next = start;
    loop {
        let given = fetch(&world.client, &[(at, next)], 0).await?;
        let given = given.into_iter().next().ok_or("a fetch gave nothing")?;
        if given.start != start {
            return Err(format!(
                "{topic}-{partition}: the start moved while it was read"
            ));
        }
        whole.end = given.end;
        whole.bytes += given.bytes;
        whole.records.extend(given.records);
        if given.next >= given.end || given.next == next {
            return Ok(whole);
        }
        next = given.next;
    }
}

/// Reads what the broker counts of its messages.
async fn balance(world: &World) -> Result<Balance, String> {
    let Some((200, text)) = world.http.send(Method::GET, "/metrics", &[], "").await else {
        return Err("there are no metrics".to_owned());
    };
    let count = |state: &str| {
        let name = format!("redrive_messages{{state=\"{state}\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&name));
        value
            .and_then(|value| value.parse().ok())
            .ok_or_else(|| format!("no {name}in the metrics"))
    };
    Ok(Balance {
        accepted: count("accepted")?,
        pending: count("pending")?,
        in_flight: count("in_flight")?,
        delivered: count("delivered")?,
        cancelled: count("cancelled")?,
        dead_lettered: count("dead_lettered")?,
    })
}

/// Waits until no message is on its way, and judges what became of all.
async fn settle(world: &World) -> Result<(), String> {
    let at_rest = async {
        loop {
            let balance = balance(world).await?;
            world.oracle.lock().judge(Push::balanced(&balance));
            if balance.pending + balance.in_flight == 0 {
                return Ok::<_, String>(balance);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let balance = tokio::time::timeout(Duration::from_secs(40), at_rest)
        .await
        .map_err(|elapsed| format!("messages do not come to their ends: {elapsed}"))??;
    let dead = list_dead(&world.client).await;
    let dead = dead.ok_or("the letters of messages are not listed")?;
    let stats = world.client.letter_stats("_push", Selection::All).await;
    let ever =
        stats.map_err(|error| format!("the letters of messages are not counted: {error}"))?;
    let counts = ever.counts;
    let ever = counts.live + counts.republished + counts.deleted + counts.expired;
    let mut oracle = world.oracle.lock();
    if ever != balance.dead_lettered {
        oracle.judge(Err(format!("{counts:?} letters of {balance:?}")));
    }
    let judged = oracle.push.listed(&dead);
    oracle.judge(judged);
    let judged = oracle.push.settled(&balance);
    oracle.judge(judged);
    Ok(())
}
