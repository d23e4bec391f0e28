//! Dead letters of messages: looking at them whole, and sending them back with other settings.

use std::sync::Arc;

use bytes::Bytes;
use storage::address::Address;
use storage::dead_letter::DeadLetter;
use storage::delivery::limits::ENVELOPE_BYTES_MAX;
use storage::delivery::{ENVELOPE_HEADER, Envelope};
use storage::offset::{Offset, TimestampMs};

use crate::broker::Broker;
use crate::broker::live_letter::live_letter;
use crate::broker::resolve::Change;
use crate::broker::select::{find_partition, parse_id, select_listed, unknown_letter};
use crate::delivery::api::DeadMessage;
use crate::delivery::settings::PublishSettings;
use crate::limits::LETTER_PAGE_BYTES_MAX;
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::resolve_letters::{RetryLettersAnswer, RetryLettersRequest};
use crate::protocol::selection::{Page, Selection};
use crate::topic::PUSH_TOPIC;

impl Broker {
    /// Lists the live letters of messages that a selection means. Blocks on the disk.
    ///
    /// # Errors
    /// As [`Broker::list_letters`].
    pub fn dead_messages(
        &self,
        selection: &Selection,
        page: &Page,
    ) -> Result<(Vec<DeadMessage>, Option<String>), Refusal> {
        let topic = &self.push().topic;
        let found = select_listed(topic, selection, page, LETTER_PAGE_BYTES_MAX)?;
        let letters = found.letters.into_iter().filter_map(|(_, one)| one.ok());
        let live = letters.filter(|one| one.partition.owner().lock().is_live(one.offset));
        let messages = live.map(|one| dead_message(one.offset, *one.letter));
        Ok((messages.collect(), found.cursor))
    }

    /// Returns the live letter of a message. Blocks on the disk.
    ///
    /// # Errors
    /// As [`Broker::get_letter`].
    pub fn dead_message(&self, id: &str) -> Result<DeadMessage, Refusal> {
        let address = parse_id(id)?;
        let found = find_partition(&self.push().topic, address.partition);
        let (index, partition) = found.ok_or_else(|| unknown_letter(id))?;
        let letter = live_letter((&partition, index), address.offset)?;
        Ok(dead_message(address.offset, *letter))
    }

    /// Sends letters of messages back, each with its settings overridden. Answered when the fresh messages are synced.
    ///
    /// # Errors
    /// As [`Broker::retry_letters`].
    pub async fn retry_messages(
        self: &Arc<Self>,
        request: RetryLettersRequest,
        overrides: PublishSettings,
        who: String,
    ) -> Result<RetryLettersAnswer, Refusal> {
        let request = RetryLettersRequest {
            topic: PUSH_TOPIC.to_owned(),
            ..request
        };
        let now = self.clock.now();
        let change: Change = Arc::new(move |letter| override_letter(letter, &overrides, now));
        self.retry_changed(request, who, Some(change)).await
    }
}

fn dead_message(offset: Offset, letter: DeadLetter) -> DeadMessage {
    DeadMessage {
        id: Address::letter(letter.source.partition, offset).to_string(),
        letter,
    }
}

/// Overrides the settings that stand in a letter's envelope.
fn override_letter(
    letter: &mut DeadLetter,
    overrides: &PublishSettings,
    now: TimestampMs,
) -> Result<(), Refusal> {
    let header = letter
        .record
        .headers
        .iter_mut()
        .find(|(name, _)| name == ENVELOPE_HEADER);
    let Some((_, Some(value))) = header else {
        return Ok(());
    };
    let mut envelope = Envelope::decode(value).map_err(|error| {
        let message = format!("the dead letter's settings cannot be read: {error}");
        Refusal::new(ErrorCode::DamagedRecords, message)
    })?;
    overrides.apply(&mut envelope, now);
    let encoded = envelope.encode();
    if encoded.len() > ENVELOPE_BYTES_MAX {
        let message = format!(
            "with what overrides them the message's headers and settings have {} bytes, at most {ENVELOPE_BYTES_MAX} are taken",
            encoded.len()
        );
        return Err(Refusal::new(ErrorCode::LimitExceeded, message));
    }
    *value = Bytes::from(encoded);
    Ok(())
}
