//! Publications that repeat an earlier one: they get its answer, and nothing is appended for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use storage::address::Address;
use storage::offset::Offset;

use super::super::desk::Desk;
use super::{Answer, Checked, lost};
use crate::broker::Broker;
use crate::delivery::api::{Published, PublishedMessage};
use crate::delivery::window::{DedupKey, FirstPublish, Reserve};
use crate::protocol::error_code::{ErrorCode, Refusal};

impl Broker {
    /// Takes out what was published before, and answers it. Returns what repeats an earlier publication of the same request,
    /// with that one's place.
    ///
    /// Keys are reserved in their order, so that two requests with the same keys never wait for each other.
    pub(super) async fn without_duplicates(
        &self,
        fresh: &mut Vec<Checked>,
        answers: &mut BTreeMap<usize, Answer>,
    ) -> Vec<(usize, usize)> {
        let mut first_of: BTreeMap<DedupKey, usize> = BTreeMap::new();
        let mut repeats = Vec::new();
        fresh.retain(|one| match one.key {
            Some(key) if first_of.contains_key(&key) => {
                let first = first_of.get(&key).copied().unwrap_or_default();
                repeats.push((one.at, first));
                false
            }
            Some(key) => {
                first_of.insert(key, one.at);
                true
            }
            None => true,
        });
        let mut reservations = BTreeMap::new();
        for (key, at) in first_of {
            match self.push().window.reserve(key, self.clock.now()).await {
                Reserve::Yours(reservation) => {
                    reservations.insert(at, reservation);
                }
                Reserve::Duplicate(first) => {
                    let is_group = fresh.iter().any(|one| one.at == at && one.is_group);
                    answers.insert(at, self.published_before(&first, is_group).await);
                }
                Reserve::Unknown => {
                    answers.insert(at, Err(unknown_key()));
                }
                Reserve::Full => {
                    answers.insert(at, Err(self.too_many_keys()));
                }
            }
        }
        fresh.retain_mut(|one| {
            one.reservation = reservations.remove(&one.at);
            !answers.contains_key(&one.at)
        });
        repeats
    }

    fn too_many_keys(&self) -> Refusal {
        let max = self.push().config.deduplication_ids_max;
        let message = format!(
            "{max} deduplication ids of the last ten minutes are remembered, and no more may be (delivery.deduplication_ids_max): \
             publish again later, or without one"
        );
        Refusal::new(ErrorCode::Overloaded, message)
    }

    /// Returns the answer of the publish that had come first. Only a group's names the URLs, which are read back.
    async fn published_before(&self, first: &FirstPublish, is_group: bool) -> Answer {
        let desk = self.push().desk(first.partition).ok_or_else(lost)?;
        let offset = |at: u64| Offset(first.base.0.saturating_add(at));
        let offsets: Vec<_> = (0..u64::from(first.count)).map(offset).collect();
        let urls = if is_group {
            let desk = Arc::clone(desk);
            let offsets = offsets.clone();
            let read = self.pool.run(move || urls_of(&desk, &offsets)).await;
            read.unwrap_or_default()
        } else {
            Vec::new()
        };
        let urls = urls.into_iter().chain(std::iter::repeat(String::new()));
        let message = |(offset, url)| PublishedMessage {
            id: Address::message(desk.partition.number(), offset).to_string(),
            url,
        };
        Ok(Published {
            messages: offsets.into_iter().zip(urls).map(message).collect(),
            is_duplicate: true,
            is_group,
        })
    }
}

/// Reads the URLs of messages back. What is no longer stored has none to show.
fn urls_of(desk: &Desk, offsets: &[Offset]) -> Vec<String> {
    let places: Vec<_> = {
        let owner = desk.partition.owner().lock();
        let state = owner.delivery();
        let carried_at = |offset| state.and_then(|state| state.carried_at(offset));
        offsets.iter().map(|at| (*at, carried_at(*at))).collect()
    };
    let reader = desk.partition.push_reader();
    let urls = reader.look_at(&places, |message| message.envelope.url.clone());
    urls.into_iter()
        .map(|(_, url)| url.unwrap_or_default())
        .collect()
}

fn unknown_key() -> Refusal {
    Refusal::new(
        ErrorCode::OutcomeUnknown,
        "a sync failed when this deduplication id was published first: whether that message is stored shows when the broker \
         is started again",
    )
}
