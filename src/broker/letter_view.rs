//! A dead letter as answers show it: of a pushed record as its redaction says. PURE.

use storage::address::Address;
use storage::dead_letter::{Attempt, AttemptResult, DeadLetter, Destination, ErrorClass, Receiver};
use storage::offset::Offset;

use super::redacted::shown_record;
use crate::protocol::cursor::Text;
use crate::protocol::letter::{AttemptView, DestinationView, LetterView, ReceiverView};

/// Returns the letter that stands at `offset` of its partition's dead-letter log.
pub(super) fn letter_view(offset: Offset, mut letter: DeadLetter) -> LetterView {
    shown_record(&mut letter.record);
    let partition = letter.source.partition;
    let history = letter.history.attempts().iter().map(attempt_view).collect();
    let note = if letter.are_details_cut() {
        " ... (cut)"
    } else {
        ""
    };
    let details = letter.details.map(|text| text + note);
    LetterView {
        id: Address::letter(partition, offset).to_string(),
        topic: letter.source.topic,
        partition: letter.source.partition_index,
        dead_letter_offset: offset,
        source_offset: letter.source.offset,
        receiver: match letter.receiver {
            Receiver::Group(group) => ReceiverView::Group(group),
            Receiver::Destination(destination) => {
                ReceiverView::Destination(destination_view(destination))
            }
        },
        disposition: letter.disposition.0,
        reason: Text::from(letter.reason),
        details: details.map(Text::from),
        died_at: letter.died_at,
        fingerprint: letter.fingerprint.to_string(),
        first_message_id: letter.lineage.first_message_id,
        republished: letter.lineage.republished,
        history,
        attempts_left_out: letter.history.left_out(),
        labels: letter.labels,
        message_id: letter.message_id,
        caller: letter.caller,
        record_timestamp: letter.record.timestamp,
        key: letter.record.key,
        value: letter.record.value,
        headers: letter.record.headers,
    }
}

fn destination_view(destination: Destination) -> DestinationView {
    DestinationView {
        method: destination.method,
        url: destination.url,
        url_group: destination.url_group,
        endpoint: destination.endpoint,
        queue: destination.queue,
        schedule: destination.schedule,
        flow_control_key: destination.flow_control_key,
    }
}

fn attempt_view(attempt: &Attempt) -> AttemptView {
    let (status, class) = match attempt.result {
        AttemptResult::Status(status) => (Some(status), None),
        AttemptResult::Error(class) => (None, Some(class)),
    };
    let text =
        |(name, value): &(String, String)| (Text::from(name.clone()), Text::from(value.clone()));
    AttemptView {
        started_at: attempt.time,
        duration_ms: attempt.duration_ms,
        status,
        error: class.map(|class| Text::from(class_name(class).to_owned())),
        headers: attempt.headers.iter().map(text).collect(),
        body: attempt.body.clone(),
        is_cut: attempt.is_body_cut || attempt.are_headers_cut,
        number: attempt.number,
        error_class: class.map(|class| class.0),
    }
}

fn class_name(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::RESOLVE => "the name did not resolve",
        ErrorClass::CONNECT => "no connection",
        ErrorClass::TLS => "the TLS handshake failed",
        ErrorClass::TIMEOUT => "timed out",
        ErrorClass::BROKEN => "the connection broke",
        ErrorClass::PROTOCOL => "the answer was no HTTP",
        ErrorClass::FORBIDDEN => "the destination is forbidden",
        ErrorClass(_) => "an error of an unknown class",
    }
}
