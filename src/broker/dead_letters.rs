//! Looking at dead letters: a page of a selection, or one by its id.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::Broker;
use super::letter_view::letter_view;
use super::live_letter::live_letter;
use super::resolve::ended;
use super::select::{Selected, find_partition, parse_id, select_listed, unknown_letter};
use crate::limits::LETTER_PAGE_BYTES_MAX;
use crate::protocol::error_code::Refusal;
use crate::protocol::letter::LetterView;
use crate::protocol::read_letters::{GetLetterRequest, ListLettersAnswer, ListLettersRequest};

impl Broker {
    /// Waits until one more list may be made. The permit goes with the work, and with its answer until that is encoded.
    pub async fn may_list(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.listing).acquire_owned().await.ok()
    }

    /// As [`Broker::list_letters`], in turn, where it may block.
    ///
    /// # Errors
    /// As [`Broker::list_letters`].
    pub async fn list_letters_in_turn(
        self: &Arc<Self>,
        request: ListLettersRequest,
    ) -> Result<ListLettersAnswer, Refusal> {
        let permit = self.may_list().await;
        let this = Arc::clone(self);
        let listed = self.run(move || {
            let _permit = permit;
            this.list_letters(&request)
        });
        listed.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Lists live letters. Blocks on the disk.
    ///
    /// # Errors
    /// [`crate::protocol::error_code::ErrorCode::InvalidSelection`], [`crate::protocol::error_code::ErrorCode::InvalidCursor`], or the log's.
    pub fn list_letters(&self, request: &ListLettersRequest) -> Result<ListLettersAnswer, Refusal> {
        let topic = self.topic(&request.topic)?;
        let bytes_max = match request.bytes_max {
            0 => LETTER_PAGE_BYTES_MAX,
            bytes => bytes.min(LETTER_PAGE_BYTES_MAX),
        };
        let bytes_max = bytes_max.min(self.answer_bytes_max);
        let page = select_listed(&topic, &request.selection, &request.page, bytes_max)?;
        let live = |selected: &Selected| selected.partition.owner().lock().is_live(selected.offset);
        let letters = page
            .letters
            .into_iter()
            .filter_map(|(_, letter)| letter.ok());
        let letters = letters
            .filter(live)
            .map(|selected| letter_view(selected.offset, *selected.letter));
        Ok(ListLettersAnswer {
            letters: letters.collect(),
            cursor: page.cursor,
        })
    }

    /// Returns one live letter. Blocks on the disk.
    ///
    /// # Errors
    /// [`crate::protocol::error_code::ErrorCode::InvalidLetterId`]; [`crate::protocol::error_code::ErrorCode::LetterResolved`] and
    /// [`crate::protocol::error_code::ErrorCode::UnknownLetter`] with what became of it; or the log's.
    pub fn get_letter(&self, request: &GetLetterRequest) -> Result<LetterView, Refusal> {
        let address = parse_id(&request.id)?;
        let topics = self.all_topics();
        let partition = topics
            .iter()
            .find_map(|topic| find_partition(topic, address.partition));
        let (index, partition) = partition.ok_or_else(|| unknown_letter(&request.id))?;
        let letter = live_letter((&partition, index), address.offset)?;
        Ok(letter_view(address.offset, *letter))
    }

    /// Returns the topic whose letter an id names, whether or not the letter is live.
    ///
    /// # Errors
    /// [`crate::protocol::error_code::ErrorCode::InvalidLetterId`], [`crate::protocol::error_code::ErrorCode::UnknownLetter`].
    pub fn topic_of_letter(&self, id: &str) -> Result<String, Refusal> {
        let address = parse_id(id)?;
        let topics = self.all_topics();
        let mut holding = topics
            .iter()
            .filter(|topic| find_partition(topic, address.partition).is_some());
        let topic = holding.next().ok_or_else(|| unknown_letter(id))?;
        Ok(topic.name().to_string())
    }
}
