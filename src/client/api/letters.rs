//! Dead letters: rejecting records, and listing, republishing, deleting and counting letters.

use storage::offset::Offset;

use super::Client;
use crate::client::error::ClientError;
use crate::protocol::cursor::Text;
use crate::protocol::frame::Request;
use crate::protocol::letter::LetterView;
use crate::protocol::read_letters::{
    GetLetterRequest, LetterStatsAnswer, LetterStatsRequest, ListLettersAnswer, ListLettersRequest,
};
use crate::protocol::reject::{RejectAnswer, RejectRequest};
use crate::protocol::resolve_letters::{
    DeleteLettersAnswer, DeleteLettersRequest, RetryLettersAnswer, RetryLettersRequest,
};
use crate::protocol::selection::Selection;

impl Client {
    /// Dead-letters a record on behalf of a group.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn reject(&self, request: &RejectRequest) -> Result<RejectAnswer, ClientError> {
        self.call(request).await
    }

    /// Lists a page of live dead letters.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn letters(
        &self,
        request: &ListLettersRequest,
    ) -> Result<ListLettersAnswer, ClientError> {
        self.call(request).await
    }

    /// Returns one live dead letter.
    ///
    /// # Errors
    /// As [`Client::call`], [`ErrorCode::UnknownLetter`](crate::protocol::error_code::ErrorCode::UnknownLetter) among them.
    pub async fn letter(&self, id: &str) -> Result<LetterView, ClientError> {
        self.call(&GetLetterRequest { id: id.to_owned() }).await
    }

    /// Republishes a page of dead letters. A letter is republished once, ever. Ids are repeated as [`Client::call`] does; any
    /// other selection holds other letters once a page of it is gone, and is repeated as [`Client::call_once`] does.
    ///
    /// # Errors
    /// As [`Client::call`] for ids, else as [`Client::call_once`].
    pub async fn retry_letters(
        &self,
        request: &RetryLettersRequest,
    ) -> Result<RetryLettersAnswer, ClientError> {
        self.resolve(request, &request.selection).await
    }

    /// Resolves a page of dead letters by deleting them, repeated as [`Client::retry_letters`] is.
    ///
    /// # Errors
    /// As [`Client::retry_letters`].
    pub async fn delete_letters(
        &self,
        request: &DeleteLettersRequest,
    ) -> Result<DeleteLettersAnswer, ClientError> {
        self.resolve(request, &request.selection).await
    }

    async fn resolve<R: Request>(
        &self,
        request: &R,
        selection: &Selection,
    ) -> Result<R::Answer, ClientError> {
        match selection {
            Selection::Ids(_) => self.call(request).await,
            Selection::Filter(_) | Selection::All => self.call_once(request).await,
        }
    }

    /// Counts dead letters.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn letter_stats(
        &self,
        topic: &str,
        selection: Selection,
    ) -> Result<LetterStatsAnswer, ClientError> {
        let topic = topic.to_owned();
        self.call(&LetterStatsRequest { topic, selection }).await
    }
}

/// Makes a request to reject a record.
#[must_use]
pub fn rejection(
    group: &str,
    place: (&str, u32, Offset),
    reason: &str,
    details: Option<&str>,
) -> RejectRequest {
    let (topic, partition, offset) = place;
    RejectRequest {
        group: group.to_owned(),
        topic: topic.to_owned(),
        partition,
        offset,
        reason: Text(reason.to_owned()),
        details: details.map(|details| Text(details.to_owned())),
    }
}
