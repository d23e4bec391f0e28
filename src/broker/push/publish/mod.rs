//! Publishing: what one request asks for becomes batches of the main log, each publication whole or not at all.
//!
//! Everything that a request publishes without a queue goes to one partition, in as few batches as it fits; what stands in a
//! queue goes to the queue's. A duplicate is found before anything is appended, and answered with the messages of the first publish.

mod duplicates;
mod sizes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::future::join_all;
use storage::address::Address;
use storage::cause::Cause;
use storage::delivery::Envelope;
use storage::error::LogError;
use storage::log::Appended;
use storage::log_id::LogKind;
use storage::offset::TimestampMs;
use storage::partition::NewMessage;

use sizes::check_sizes;

use super::desk::Desk;
use crate::broker::{Broker, refusal};
use crate::delivery::api::{Publication, Published, PublishedMessage, Target};
use crate::delivery::window::{DedupKey, FirstPublish, Reservation};
use crate::engine::DurabilityWanted;
use crate::protocol::error_code::{ErrorCode, Refusal};

type Answer = Result<Published, Refusal>;

/// Bytes of messages that one batch is filled up to; a larger publication is a batch of its own.
const BATCH_BYTES_GOAL: usize = 8 << 20;

/// A publication that has passed its checks.
struct Checked {
    /// Its place in the request.
    at: usize,
    messages: Vec<NewMessage>,
    is_group: bool,
    queue: Option<String>,
    key: Option<DedupKey>,
    reservation: Option<Reservation>,
}

impl Broker {
    /// Publishes. Answered in the order of the request, when everything that was appended is synced.
    ///
    /// Each publication fares alone: [`ErrorCode::Overloaded`] while too many messages wait, [`ErrorCode::StorageFull`],
    /// [`ErrorCode::LimitExceeded`] for what is too large, [`ErrorCode::UnknownTopic`] for a URL group that is not there, or
    /// the log's error.
    pub async fn publish(self: &Arc<Self>, publications: Vec<Publication>) -> Vec<Answer> {
        let count = publications.len();
        if let Err(refusal) = self.may_publish() {
            self.metrics.deliveries.publish_refusals.inc();
            return vec![Err(refusal); count];
        }
        let mut answers = BTreeMap::new();
        let mut fresh = Vec::new();
        for (at, publication) in publications.into_iter().enumerate() {
            match self.check(at, publication) {
                Ok(checked) => fresh.push(checked),
                Err(refusal) => {
                    answers.insert(at, Err(refusal));
                }
            }
        }
        let repeats = self.without_duplicates(&mut fresh, &mut answers).await;
        let appends = self.batches(fresh).into_iter().map(|(partition, batches)| {
            let broker = Arc::clone(self);
            // A task of its own: a publisher that hangs up must not give its keys back while its messages are being synced.
            tokio::spawn(async move { broker.append_in_order(partition, batches).await })
        });
        for appended in join_all(appends).await {
            answers.extend(appended.unwrap_or_default());
        }
        for (at, first) in repeats {
            let answer = answers.get(&first).cloned().unwrap_or_else(|| Err(lost()));
            let repeated = answer.map(|published| Published {
                is_duplicate: true,
                ..published
            });
            answers.insert(at, repeated);
        }
        (0..count)
            .map(|at| answers.remove(&at).unwrap_or_else(|| Err(lost())))
            .collect()
    }

    fn check(&self, at: usize, publication: Publication) -> Result<Checked, Refusal> {
        Ok(Checked {
            at,
            is_group: matches!(publication.target, Target::UrlGroup(_)),
            queue: publication.envelope.queue.clone(),
            key: publication.envelope.dedup,
            messages: self.messages_of(publication)?,
            reservation: None,
        })
    }

    /// Sorts publications into batches, by partition and in their order.
    fn batches(&self, fresh: Vec<Checked>) -> BTreeMap<u32, Vec<Vec<Checked>>> {
        let push = self.push();
        let anywhere = push.any_partition(fresh.len());
        let mut of_partition: BTreeMap<u32, Vec<Vec<Checked>>> = BTreeMap::new();
        let mut filled: BTreeMap<u32, usize> = BTreeMap::new();
        for one in fresh {
            let queue = one.queue.as_deref();
            let partition = queue.map_or(anywhere, |queue| push.partition_of_name(queue));
            let bytes: usize = one.messages.iter().map(weight).sum();
            let batches = of_partition.entry(partition).or_default();
            let filled = filled.entry(partition).or_default();
            *filled = filled.saturating_add(bytes);
            match batches.last_mut() {
                Some(batch) if *filled <= BATCH_BYTES_GOAL => batch.push(one),
                _ => {
                    *filled = bytes;
                    batches.push(vec![one]);
                }
            }
        }
        of_partition
    }

    /// Appends batches of one partition, each when the one before is synced: those of a queue stand in the order of the request.
    /// What comes behind one that is refused is refused with it, so that it cannot overtake what is published again.
    async fn append_in_order(
        &self,
        partition: u32,
        batches: Vec<Vec<Checked>>,
    ) -> Vec<(usize, Answer)> {
        let mut answers = Vec::new();
        let mut refused = None;
        for batch in batches {
            if let Some(refusal) = &refused {
                let refuse = |one: Checked| (one.at, Err(Refusal::clone(refusal)));
                answers.extend(batch.into_iter().map(refuse));
                continue;
            }
            let appended = self.append_all(partition, batch).await;
            let mut refusals = appended
                .iter()
                .filter_map(|(_, answer)| answer.as_ref().err());
            refused = refusals.next().cloned();
            answers.extend(appended);
        }
        answers
    }

    /// Says whether there is room for more messages.
    fn may_publish(&self) -> Result<(), Refusal> {
        self.space.check()?;
        self.push().check_room().map_err(|pending| {
            let pending_max = self.push().config.pending_max;
            let message = format!(
                "{pending} messages wait to be delivered, at most {pending_max} may (delivery.pending_max): publish again later"
            );
            Refusal::new(ErrorCode::Overloaded, message)
        })
    }

    /// Returns the messages of a publication: one, or one for each endpoint of its URL group.
    fn messages_of(&self, publication: Publication) -> Result<Vec<NewMessage>, Refusal> {
        let Publication {
            envelope,
            body,
            target,
            created_at,
        } = publication;
        let envelopes = match target {
            Target::Url => vec![envelope],
            Target::UrlGroup(name) => self.envelopes_of_group(&envelope, &name)?,
        };
        for envelope in &envelopes {
            check_sizes(envelope, &body, self.push().config.message_bytes_max)?;
        }
        let message = |envelope| NewMessage {
            timestamp: created_at,
            body: body.clone(),
            envelope,
            cause: None,
        };
        Ok(envelopes.into_iter().map(message).collect())
    }

    /// Returns the envelope for each endpoint of a URL group.
    pub(super) fn envelopes_of_group(
        &self,
        envelope: &Envelope,
        name: &str,
    ) -> Result<Vec<Envelope>, Refusal> {
        let settings = self.push_settings();
        let group = settings.state.url_group(name);
        let endpoints = group.map_or(&[][..], |group| &group.endpoints);
        if endpoints.is_empty() {
            let message = match group {
                None => {
                    format!("there is no URL group {name:?}; a URL begins with http:// or https://")
                }
                Some(_) => format!("the URL group {name:?} has no endpoint"),
            };
            return Err(Refusal::new(ErrorCode::UnknownTopic, message));
        }
        let to = |endpoint: &storage::control::push::Endpoint| Envelope {
            url: endpoint.url.clone(),
            url_group: Some(name.to_owned()),
            endpoint: endpoint.name.clone(),
            ..envelope.clone()
        };
        Ok(endpoints.iter().map(to).collect())
    }

    /// Appends the publications of one partition as one batch and answers them when it is synced.
    async fn append_all(&self, partition: u32, mut ready: Vec<Checked>) -> Vec<(usize, Answer)> {
        let Some(desk) = self.push().desk(partition).cloned() else {
            return ready.into_iter().map(|one| (one.at, Err(lost()))).collect();
        };
        let counts: Vec<_> = ready.iter().map(|one| one.messages.len()).collect();
        let messages: Vec<_> = ready
            .iter_mut()
            .flat_map(|one| std::mem::take(&mut one.messages))
            .collect();
        match self.append_messages(&desk, &messages).await {
            Ok(mut appended) => {
                // Append times do not fall: after the clock was set back they are ahead of it.
                appended.append_time = appended.append_time.min(self.clock.now());
                self.metrics
                    .deliveries
                    .published
                    .inc_by(u64::try_from(messages.len()).unwrap_or(u64::MAX));
                self.note_flows(&messages, appended.append_time);
                let ready = ready.into_iter().zip(counts);
                answers(&desk, &appended, ready, messages)
            }
            Err(unpublished) => {
                let is_unknown = matches!(unpublished, Unpublished::Unknown(_));
                let refusal = unpublished.refusal();
                self.note_refusal(&refusal);
                let refuse = |one: Checked| {
                    if let Some(reservation) = one.reservation.filter(|_| is_unknown) {
                        reservation.leave_unknown();
                    }
                    (one.at, Err(refusal.clone()))
                };
                ready.into_iter().map(refuse).collect()
            }
        }
    }

    /// Appends messages as one batch and syncs it.
    pub(super) async fn append_messages(
        &self,
        desk: &Desk,
        messages: &[NewMessage],
    ) -> Result<Appended, Unpublished> {
        let publishing = Publishing::begin(self, messages.len());
        let partition = &desk.partition;
        let appended = partition
            .with_room(LogKind::Main, &|| self.clock.now(), |owner, now| {
                owner.append_messages(messages, now)
            })
            .await
            .map_err(Unpublished::Refused)?;
        partition.start_sync(DurabilityWanted::Synced, false);
        let synced = partition.wait_durable(appended.next_offset).await;
        synced.map_err(Unpublished::Unknown)?;
        drop(publishing);
        Ok(appended)
    }
}

/// Why messages are not known to be published.
pub(super) enum Unpublished {
    /// They were not appended.
    Refused(LogError),
    /// They were appended, and are not known to be synced.
    Unknown(LogError),
}

impl Unpublished {
    pub(super) fn refusal(&self) -> Refusal {
        match self {
            Self::Refused(error) | Self::Unknown(error) => refusal::of_log(error),
        }
    }
}

/// Counts messages that are being published, for as long as it lives.
struct Publishing<'a> {
    broker: &'a Broker,
    count: u64,
}

impl<'a> Publishing<'a> {
    fn begin(broker: &'a Broker, count: usize) -> Self {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let push = broker.push();
        push.publishing.fetch_add(count, Ordering::Relaxed);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        let take = |room: u64| Some(room.saturating_sub(count));
        push.room.fetch_update(set, fetch, take).ok();
        Self { broker, count }
    }
}

impl Drop for Publishing<'_> {
    fn drop(&mut self) {
        let publishing = &self.broker.push().publishing;
        publishing.fetch_sub(self.count, Ordering::Relaxed);
    }
}

/// Answers publications whose messages were appended, so many of each.
fn answers(
    desk: &Desk,
    appended: &Appended,
    ready: impl Iterator<Item = (Checked, usize)>,
    messages: Vec<NewMessage>,
) -> Vec<(usize, Answer)> {
    let mut next = appended.base_offset;
    let mut messages = messages.into_iter();
    let mut answers = Vec::new();
    for (one, count) in ready {
        let base = next;
        let messages: Vec<_> = messages
            .by_ref()
            .take(count)
            .map(|message| {
                let id = Address::message(desk.partition.number(), next).to_string();
                next = next.next();
                let url = message.envelope.url;
                PublishedMessage { id, url }
            })
            .collect();
        if let Some(reservation) = one.reservation {
            reservation.fulfil(FirstPublish {
                partition: desk.index,
                base,
                count: u32::try_from(messages.len()).unwrap_or(u32::MAX),
                time: appended.append_time,
            });
        }
        let published = Published {
            messages,
            is_duplicate: false,
            is_group: one.is_group,
        };
        answers.push((one.at, Ok(published)));
    }
    answers
}

fn lost() -> Refusal {
    Refusal::new(
        ErrorCode::Internal,
        "the publication was lost inside the broker",
    )
}

/// What a message takes in a batch, about.
fn weight(message: &NewMessage) -> usize {
    let headers = message.envelope.headers.iter();
    let headers: usize = headers.map(|(name, value)| name.len() + value.len()).sum();
    message
        .body
        .len()
        .saturating_add(headers)
        .saturating_add(1 << 10)
}

/// What a schedule's firing publishes, with its cause.
pub(super) fn firing_messages(
    envelopes: Vec<Envelope>,
    body: &Bytes,
    now: TimestampMs,
    cause: &Cause,
) -> Vec<NewMessage> {
    let message = |envelope| NewMessage {
        timestamp: now,
        body: body.clone(),
        envelope,
        cause: Some(cause.clone()),
    };
    envelopes.into_iter().map(message).collect()
}
