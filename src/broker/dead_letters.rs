//! Looking at dead letters: a page of a selection, or one by its id.

use super::letter_view::letter_view;
use super::select::{Selected, find_partition, parse_id, select, unknown_letter};
use super::{Broker, refusal};
use crate::limits::LETTER_PAGE_BYTES_MAX;
use crate::protocol::error_code::Refusal;
use crate::protocol::letter::LetterView;
use crate::protocol::read_letters::{GetLetterRequest, ListLettersAnswer, ListLettersRequest};

impl Broker {
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
        let page = select(&topic, &request.selection, &request.page, bytes_max)?;
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
    /// [`crate::protocol::error_code::ErrorCode::InvalidLetterId`], [`crate::protocol::error_code::ErrorCode::UnknownLetter`], or the log's.
    pub fn get_letter(&self, request: &GetLetterRequest) -> Result<LetterView, Refusal> {
        let address = parse_id(&request.id)?;
        let unknown = || unknown_letter(&request.id);
        let topics = self.all_topics();
        let partition = topics
            .iter()
            .find_map(|topic| find_partition(topic, address.partition));
        let (_, partition) = partition.ok_or_else(unknown)?;
        let view = partition
            .dead_letters()
            .filter(|_| partition.owner().lock().is_live(address.offset))
            .ok_or_else(unknown)?;
        let letter = view
            .get(address.offset)
            .map_err(|error| refusal::of_log(&error))?
            .ok_or_else(unknown)?;
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
