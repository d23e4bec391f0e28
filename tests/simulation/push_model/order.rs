//! What follows from a message's end: its callbacks, and the next message of its queue.

use super::{Message, PushLetter, PushModel};
use crate::log_model::Broken;

impl PushModel {
    /// A queue goes in order: what stands before has ended, and what stands behind has not begun.
    pub(super) fn check_order(&self, queue: &str, id: &str, at: (u32, u64)) -> Result<(), Broken> {
        let is_same = |message: &Message| {
            let asked = self.asked.get(&message.token);
            asked.is_some_and(|asked| asked.queue.as_deref() == Some(queue))
        };
        for (other, message) in self.messages.iter().filter(|(_, message)| is_same(message)) {
            if message.at.0 != at.0 {
                return Err(format!(
                    "queue {queue}: {id} and {other} are in two partitions"
                ));
            }
            if message.at > at && message.arrived > 0 {
                return Err(format!(
                    "queue {queue}: {id} is sent after {other}, behind it"
                ));
            }
            let has_ended = message.is_final || message.is_cancel_tried || message.letter.is_some();
            if message.at < at && !has_ended {
                return Err(format!(
                    "queue {queue}: {id} is sent before {other} has ended"
                ));
            }
            if message.at < at {
                self.check_told(queue, id, (other, message))?;
            }
        }
        Ok(())
    }

    /// What stands behind a message of a queue waits for its callbacks, too.
    fn check_told(
        &self,
        queue: &str,
        id: &str,
        (other, message): (&str, &Message),
    ) -> Result<(), Broken> {
        let waits =
            |(_, (source, has_ended)): &(&String, &(String, bool))| source == other && !has_ended;
        if let Some((callback, _)) = self.told.iter().find(waits) {
            return Err(format!(
                "queue {queue}: {id} is sent before callback {callback} of {other} has ended"
            ));
        }
        let asked = self.asked.get(&message.token);
        let is_to_be_told = asked.is_some_and(|asked| asked.has_callback);
        if is_to_be_told && message.callbacks == 0 && !message.is_cancel_tried {
            return Err(format!(
                "queue {queue}: {id} is sent before {other} was told of"
            ));
        }
        Ok(())
    }

    /// A callback reaches its destination.
    pub(crate) fn told(
        &mut self,
        id: &str,
        kind: &str,
        (source, retried): (&str, u64),
    ) -> Result<(), Broken> {
        self.counts.callbacks += 1;
        if let Some(message) = self.messages.get_mut(source) {
            message.callbacks += 1;
            let of = u32::try_from(retried).unwrap_or(u32::MAX);
            message.written = message.written.max(of.saturating_add(1));
        }
        let told = (source.to_owned(), false);
        self.told.entry(id.to_owned()).or_insert(told);
        let key = (source.to_owned(), retried, kind.to_owned());
        let before = self.callbacks.entry(key).or_insert(id.to_owned());
        let was_retried = |letter: &PushLetter| letter.message == *before && letter.is_retry_tried;
        if before == id {
            return Ok(());
        }
        if self.letters.values().any(was_retried) {
            // It had died, and somebody has sent it back.
            id.clone_into(before);
            // No queue waits for it any more.
            self.told.insert(id.to_owned(), (String::new(), true));
            return Ok(());
        }
        Err(format!(
            "the end of attempt {retried} of {source} is told ({kind}) by {before} and by {id}"
        ))
    }
}
