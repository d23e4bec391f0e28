//! Dead letters of a group: rejected, retried by two at once, deleted.

use redrive::client::api::rejection;
use redrive::client::{Client, ClientError};
use redrive::protocol::error_code::{ErrorCode, Refusal};
use redrive::protocol::letter::{LetterView, ReceiverView};
use redrive::protocol::read_letters::ListLettersRequest;
use redrive::protocol::resolve_letters::{DeleteLettersRequest, RetryLettersRequest};
use redrive::protocol::selection::{Order, Page, Selection};
use storage::offset::Offset;

use super::{GROUP, LETTERS, PARTITIONS, World, more};
use crate::oracle::Listed;
use crate::random::Random;

/// Rejects records and resolves letters until the broker is gone.
pub(super) async fn reject_and_resolve(world: World, mut random: Random) {
    let (client, other) = (world.client.sibling(), world.client.sibling());
    for _ in 0..40 {
        if !world.goes_on() {
            return;
        }
        let live = world.oracle.lock().letters.live();
        let is_alive = if live.len() < 5 || random.one_in(2) {
            reject(&world, &client, &mut random).await
        } else {
            let resolved = world.oracle.lock().letters.resolved();
            let ids = if random.one_in(8) && !resolved.is_empty() {
                resolved
            } else {
                live
            };
            let count = 1 + random.below(4).min(ids.len() as u64 - 1);
            let from = random.below(ids.len() as u64 - count + 1);
            let range = usize::try_from(from).unwrap()..usize::try_from(from + count).unwrap();
            let ids = &ids[range];
            match random.below(4) {
                0 => delete(&world, &client, ids).await,
                1 => {
                    let both =
                        tokio::join!(retry(&world, &client, ids), retry(&world, &other, ids));
                    both.0 && both.1
                }
                2 => {
                    let both =
                        tokio::join!(retry(&world, &client, ids), delete(&world, &other, ids));
                    both.0 && both.1
                }
                _ => retry(&world, &client, ids).await,
            }
        };
        if !is_alive {
            return;
        }
    }
}

/// Chooses a record that is known, and notes that it is being rejected.
fn choose(world: &World, random: &mut Random) -> Option<(u64, String)> {
    let mut oracle = world.oracle.lock();
    let (start, end) = oracle.logs[LETTERS].known();
    if start == end {
        return None;
    }
    let offset = start + random.below(end - start);
    let value = oracle.logs[LETTERS].value_at(offset)?.to_owned();
    oracle.letters.rejecting(GROUP, offset);
    Some((offset, value))
}

async fn reject(world: &World, client: &Client, random: &mut Random) -> bool {
    let Some((offset, value)) = choose(world, random) else {
        // Nothing is known yet: the others are at it.
        tokio::task::yield_now().await;
        return true;
    };
    let (topic, partition) = PARTITIONS[LETTERS];
    let request = rejection(GROUP, (topic, partition, Offset(offset)), "wrong", None);
    match client.reject(&request).await {
        Ok(answer) => {
            let letter = Listed {
                id: answer.letter_id,
                group: GROUP.to_owned(),
                source: offset,
                value,
            };
            more(&world.done.letters);
            world.tell(|oracle| oracle.letters.rejected(&letter, answer.is_new))
        }
        // Retention has taken it in the meantime.
        Err(error) => is_refused_with(&error, ErrorCode::OffsetOutOfRange),
    }
}

fn is_refused_with(error: &ClientError, code: ErrorCode) -> bool {
    error.refusal().is_some_and(|refusal| refusal.code == code)
}

/// Retries letters. Says whether the broker lives.
pub(crate) async fn retry(world: &World, client: &Client, ids: &[String]) -> bool {
    {
        let mut oracle = world.oracle.lock();
        for id in ids {
            oracle.letters.retrying(id);
        }
    }
    let request = RetryLettersRequest {
        topic: PARTITIONS[LETTERS].0.to_owned(),
        selection: Selection::Ids(ids.to_vec()),
        page: Page::first(Order::OldestFirst, 1_000),
        request_id: Some(format!("burst-{}", world.burst)),
    };
    let Ok(answer) = client.retry_letters(&request).await else {
        return false;
    };
    answer.letters.into_iter().all(|(id, result)| match result {
        Ok(copy) => {
            more(&world.done.resolved);
            let (offset, message) = (copy.offset.0, copy.message_id);
            world.tell(|oracle| oracle.letters.republished(&id, offset, &message))
        }
        Err(refusal) if is_gone(&refusal) => world.tell(|oracle| oracle.letters.not_retried(&id)),
        Err(refusal) => refused(world, &id, &refusal),
    })
}

fn is_gone(refusal: &Refusal) -> bool {
    matches!(
        refusal.code,
        ErrorCode::UnknownLetter | ErrorCode::LetterResolved
    )
}

/// A broker may refuse for the moment; then this client stops.
fn refused(world: &World, id: &str, refusal: &Refusal) -> bool {
    if !world.may_refuse(refusal) {
        world.tell(|_| Err(format!("letter {id} was refused: {refusal}")));
    }
    false
}

async fn delete(world: &World, client: &Client, ids: &[String]) -> bool {
    {
        let mut oracle = world.oracle.lock();
        for id in ids {
            oracle.letters.deleting(id);
        }
    }
    let request = DeleteLettersRequest {
        topic: PARTITIONS[LETTERS].0.to_owned(),
        selection: Selection::Ids(ids.to_vec()),
        page: Page::first(Order::OldestFirst, 1_000),
        request_id: None,
    };
    let Ok(answer) = client.delete_letters(&request).await else {
        return false;
    };
    answer.letters.into_iter().all(|(id, result)| match result {
        Ok(_) => {
            more(&world.done.resolved);
            world.tell(|oracle| oracle.letters.deleted(&id))
        }
        Err(refusal) if is_gone(&refusal) => world.tell(|oracle| oracle.letters.not_deleted(&id)),
        Err(refusal) => refused(world, &id, &refusal),
    })
}

/// Lists all live letters of a topic.
///
/// # Errors
/// What the client said.
pub(crate) async fn list(client: &Client, topic: &str) -> Result<Vec<LetterView>, ClientError> {
    let mut page = Page::first(Order::OldestFirst, 1_000);
    let mut letters = Vec::new();
    loop {
        let request = ListLettersRequest {
            topic: topic.to_owned(),
            selection: Selection::All,
            page: page.clone(),
            bytes_max: 0,
        };
        let answer = client.letters(&request).await?;
        letters.extend(answer.letters);
        page.cursor = answer.cursor;
        if page.cursor.is_none() {
            return Ok(letters);
        }
    }
}

/// A letter of a group, as the oracle takes it.
pub(crate) fn listed(letter: LetterView) -> Listed {
    let ReceiverView::Group(group) = letter.receiver else {
        panic!("letter {} is of no group", letter.id);
    };
    let value = letter.value.unwrap_or_default();
    Listed {
        id: letter.id,
        group,
        source: letter.source_offset.0,
        value: String::from_utf8_lossy(&value).into_owned(),
    }
}
