//! What publishers were told: ids of messages, those of duplicates, and that a message was cancelled.

use super::{PushModel, place};
use crate::log_model::Broken;

/// Time in which one of the messages with a deduplication id is kept.
const WINDOW_MS: i64 = 600_000;

/// A publish with a deduplication id that was answered.
#[derive(Debug, Clone)]
pub(super) struct Deduplicated {
    pub(super) id: String,
    sent_ms: i64,
    jumps: u32,
}

impl PushModel {
    /// A publisher was told the id of its message. It was sent at `sent_ms` and answered at `now_ms` of the wall clock.
    pub(crate) fn accepted(
        &mut self,
        token: u64,
        id: &str,
        (sent_ms, now_ms): (i64, i64),
    ) -> Result<(), Broken> {
        self.counts.published += 1;
        let asked = self.asked.get(&token).cloned().unwrap_or_default();
        let Some(dedup) = asked.dedup else {
            self.message(id, token)?.is_accepted = true;
            return Ok(());
        };
        // It may be the first one's id: then its token is that one's.
        if let Some(message) = self.messages.get_mut(id) {
            message.is_accepted = true;
        } else if place(id).is_err() {
            return Err(format!("message id {id:?}"));
        }
        let jumps = self.jumps;
        let first = self.deduplicated.get(&dedup);
        if let Some(first) = first
            && first.jumps == jumps
            && now_ms - first.sent_ms < WINDOW_MS
            && first.id != id
        {
            return Err(format!(
                "{dedup} was published as {} and, {} ms later, as {id}",
                first.id,
                now_ms - first.sent_ms
            ));
        }
        let is_new = first.is_none_or(|first| first.id != id);
        if is_new {
            let id = id.to_owned();
            let answered = Deduplicated { id, sent_ms, jumps };
            self.deduplicated.insert(dedup, answered);
        }
        Ok(())
    }

    /// A publish to a URL group was answered: the ids of its messages, and where each goes. With `is_repeated` they are those of
    /// an earlier publish.
    pub(crate) fn fanned_out(
        &mut self,
        token: u64,
        messages: &[(String, String)],
        is_repeated: bool,
        times: (i64, i64),
    ) -> Result<(), Broken> {
        self.counts.published += 1;
        let ids: Vec<_> = messages.iter().map(|(id, _)| id.clone()).collect();
        self.check_repeated(token, &ids, is_repeated, times)?;
        if is_repeated {
            self.repeated += 1;
            self.groups.repeated(token);
            return ids.iter().try_for_each(|id| place(id).map(drop));
        }
        let mut places = Vec::new();
        for (id, url) in messages {
            places.push((url.clone(), place(id)?));
            self.message(id, token)?.is_accepted = true;
        }
        self.groups.published(token, &places)
    }

    /// All endpoints of a group or none: within the window, a publish that repeats another one has its ids, all of them.
    fn check_repeated(
        &mut self,
        token: u64,
        ids: &[String],
        is_repeated: bool,
        (sent_ms, now_ms): (i64, i64),
    ) -> Result<(), Broken> {
        let dedup = self.asked.get(&token).and_then(|asked| asked.dedup.clone());
        let Some(dedup) = dedup else {
            return if is_repeated {
                Err(format!(
                    "{token} has no deduplication id, and repeats {ids:?}"
                ))
            } else {
                Ok(())
            };
        };
        let jumps = self.jumps;
        let first = self.fanned_out.get(&dedup);
        if let Some((first, all)) = first
            && first.jumps == jumps
            && now_ms - first.sent_ms < WINDOW_MS
            && (all != ids || !is_repeated)
        {
            return Err(format!(
                "{dedup} was published as {all:?} and, {} ms later, as {ids:?}",
                now_ms - first.sent_ms
            ));
        }
        if first.is_none_or(|(_, all)| all != ids) {
            let id = ids.first().cloned().unwrap_or_default();
            // Of a repetition it is not known when the first one came.
            let sent_ms = if is_repeated { i64::MIN / 2 } else { sent_ms };
            let answered = Deduplicated { id, sent_ms, jumps };
            self.fanned_out.insert(dedup, (answered, ids.to_vec()));
        }
        Ok(())
    }

    pub(crate) fn cancel_tried(&mut self, id: &str) {
        if let Some(message) = self.messages.get_mut(id) {
            message.is_cancel_tried = true;
            if let Some(key) = self.asked.get(&message.token).and_then(|one| one.flow) {
                self.flow.may_be_unseen(Some(key));
            }
        }
    }

    /// The broker has cancelled it.
    pub(crate) fn cancelled(&mut self, id: &str) -> Result<(), Broken> {
        match self.messages.get_mut(id) {
            Some(message) if message.letter.is_some() => {
                Err(format!("message {id} is cancelled and has died"))
            }
            Some(message) => {
                message.is_cancelled = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Ids of messages that were accepted.
    pub(crate) fn accepted_ids(&self) -> Vec<String> {
        let accepted = self.messages.iter().filter(|(_, one)| one.is_accepted);
        accepted.map(|(id, _)| id.clone()).collect()
    }
}
