//! Publications that repeat an earlier one: they get its answer, and nothing is appended for them.

use std::collections::BTreeMap;

use storage::address::Address;
use storage::offset::Offset;

use super::{Answer, Checked, lost};
use crate::broker::Broker;
use crate::delivery::api::{Published, PublishedMessage};
use crate::delivery::window::{DedupKey, FirstPublish, Reserve};

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
                    answers.insert(at, self.published_before(&first, is_group));
                }
            }
        }
        fresh.retain_mut(|one| {
            one.reservation = reservations.remove(&one.at);
            !answers.contains_key(&one.at)
        });
        repeats
    }

    /// Returns the answer of the publish that had come first.
    fn published_before(&self, first: &FirstPublish, is_group: bool) -> Answer {
        let push = self.push();
        let desk = push.desk(first.partition).ok_or_else(lost)?;
        let reader = desk.partition.push_reader();
        let messages = (0..u64::from(first.count)).map(|at| {
            let offset = Offset(first.base.0.saturating_add(at));
            let carried_at = {
                let owner = desk.partition.owner().lock();
                owner.delivery().and_then(|state| state.carried_at(offset))
            };
            PublishedMessage {
                id: Address::message(desk.partition.number(), offset).to_string(),
                // What is no longer stored has no URL to show.
                url: reader
                    .message(offset, carried_at)
                    .map_or_else(|_| String::new(), |message| message.envelope.url),
            }
        });
        Ok(Published {
            messages: messages.collect(),
            is_duplicate: true,
            is_group,
        })
    }
}
