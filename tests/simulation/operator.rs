//! Operators: they list dead letters, send them back and delete them, several at a time, the same ones more than once, and
//! with request ids that repeat.

use std::collections::BTreeSet;
use std::sync::Arc;

use redrive::client::{ClientError, Connection};
use redrive::protocol::error_code::{ErrorCode, Refusal};
use redrive::protocol::letter::ReceiverView;
use redrive::protocol::read_letters::ListLettersRequest;
use redrive::protocol::resolve_letters::{DeleteLettersRequest, RetryLettersRequest};
use redrive::protocol::selection::{Order, Page, Selection};

use crate::chance::Chance;
use crate::life::Life;
use crate::log_model::Place;
use crate::world::World;

/// Looks after dead letters for a life.
pub(crate) async fn operate(life: Arc<Life>) {
    let mut chance = life.world.chance("operator", 0);
    for round in 0..chance.between(1, 8) {
        tokio::time::sleep(chance.ms(1, 1_500)).await;
        let Ok(connection) = life.net.connect().await else {
            continue;
        };
        let topic = usize::try_from(chance.below(life.world.plan.topics.len() as u64)).unwrap();
        if chance.one_in(3) {
            list(&life.world, &connection, topic).await.ok();
            continue;
        }
        let ids = some_letters(&life.world, topic, &mut chance);
        // Two at once, as two people who press the same button.
        let one = resolve(
            &life,
            &connection,
            topic,
            ids.clone(),
            chance.fork("a", round),
        );
        let other = resolve(&life, &connection, topic, ids, chance.fork("b", round));
        if chance.one_in(2) {
            tokio::join!(one, other);
        } else {
            one.await;
        }
    }
}

fn some_letters(world: &World, topic: usize, chance: &mut Chance) -> Vec<String> {
    let log = world.log.lock();
    let letters = log.letters.iter();
    let all: Vec<_> = letters
        .filter(|(_, letter)| letter.place.topic == topic)
        .map(|(id, _)| id.clone())
        .collect();
    if all.is_empty() {
        return all;
    }
    let picked: BTreeSet<_> = (0..chance.between(1, 4))
        .map(|_| chance.pick(&all).clone())
        .collect();
    picked.into_iter().collect()
}

async fn resolve(
    life: &Life,
    connection: &Connection,
    topic: usize,
    ids: Vec<String>,
    mut chance: Chance,
) {
    if ids.is_empty() {
        return;
    }
    let page = Page::first(Order::OldestFirst, 100);
    let request_id = Some(format!("r{}", chance.below(3)));
    if chance.one_in(3) {
        delete(
            &life.world,
            connection,
            topic,
            (Selection::Ids(ids), page, request_id),
        )
        .await
        .ok();
    } else {
        retry(
            &life.world,
            connection,
            topic,
            (Selection::Ids(ids), page, request_id),
        )
        .await
        .ok();
    }
}

type Asked = (Selection, Page, Option<String>);

fn named(selection: &Selection, world: &World, topic: usize) -> Vec<String> {
    if let Selection::Ids(ids) = selection {
        return ids.clone();
    }
    let log = world.log.lock();
    let of_topic = log.letters.iter();
    of_topic
        .filter(|(_, letter)| letter.place.topic == topic)
        .map(|(id, _)| id.clone())
        .collect()
}

/// Sends letters back.
pub(crate) async fn retry(
    world: &World,
    connection: &Connection,
    topic: usize,
    (selection, page, request_id): Asked,
) -> Result<Option<String>, ClientError> {
    for id in named(&selection, world, topic) {
        world.log.lock().retry_tried(&id);
    }
    let request = RetryLettersRequest {
        topic: world.plan.topics[topic].name.clone(),
        selection,
        page,
        request_id,
    };
    let answer = connection.call(&request).await?;
    for (id, result) in answer.letters {
        match result {
            Ok(done) => {
                world.note(&format!(
                    "{id} is sent back: {} {}",
                    done.offset.0, done.is_new
                ));
                let to = (done.partition, done.offset.0, done.message_id.as_str());
                let held = world.log.lock().republished(&id, to, done.is_new);
                world.check(held);
            }
            Err(refusal) => refused(world, &id, &refusal),
        }
    }
    Ok(answer.cursor)
}

/// Deletes letters.
pub(crate) async fn delete(
    world: &World,
    connection: &Connection,
    topic: usize,
    (selection, page, request_id): Asked,
) -> Result<Option<String>, ClientError> {
    for id in named(&selection, world, topic) {
        world.log.lock().delete_tried(&id);
    }
    let request = DeleteLettersRequest {
        topic: world.plan.topics[topic].name.clone(),
        selection,
        page,
        request_id,
    };
    let answer = connection.call(&request).await?;
    for (id, result) in answer.letters {
        match result {
            Ok(is_deleted) => {
                world.note(&format!("{id} is deleted: {is_deleted}"));
                let held = world.log.lock().deleted(&id);
                world.check(held);
            }
            Err(refusal) => refused(world, &id, &refusal),
        }
    }
    Ok(answer.cursor)
}

fn refused(world: &World, id: &str, refusal: &Refusal) {
    world.note(&format!("{id} is refused: {}", refusal.message));
    let what = match refusal.code {
        ErrorCode::UnknownLetter => "unknown",
        ErrorCode::LetterResolved => "resolved",
        code if code.is_retryable() || code == ErrorCode::StorageFailed => return,
        _ => {
            world.check(Err(format!("letter {id} is refused: {refusal:?}")));
            return;
        }
    };
    let held = world.log.lock().refused(id, what);
    world.check(held);
}

/// Lists the live letters of a topic, and tells the model of those that it does not know.
pub(crate) async fn list(
    world: &World,
    connection: &Connection,
    topic: usize,
) -> Result<BTreeSet<String>, ClientError> {
    let mut live = BTreeSet::new();
    let mut page = Page::first(Order::OldestFirst, 7);
    loop {
        let request = ListLettersRequest {
            topic: world.plan.topics[topic].name.clone(),
            selection: Selection::All,
            page: page.clone(),
            bytes_max: 1 << 20,
        };
        let answer = connection.call(&request).await?;
        for letter in answer.letters {
            if let ReceiverView::Group(group) = &letter.receiver {
                let partition = letter.partition;
                let place = Place { topic, partition };
                let mut log = world.log.lock();
                log.found(&letter.id, group, place, letter.source_offset.0);
            }
            if !live.insert(letter.id.clone()) {
                world.check(Err(format!("letter {} is listed twice", letter.id)));
            }
        }
        match answer.cursor {
            Some(cursor) => page.cursor = Some(cursor),
            None => break,
        }
    }
    world.note(&format!("{} letters are live", live.len()));
    Ok(live)
}
