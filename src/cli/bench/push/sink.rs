//! The destinations: they note what arrives and answer 200, but for the first, which can be made to hang.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::super::super::error::CliError;
use super::super::destination::{self, Answers};
use super::board::Board;

/// The destinations.
#[derive(Debug)]
pub(super) struct Sink {
    shared: Arc<Shared>,
    urls: Vec<String>,
}

#[derive(Debug)]
struct Shared {
    board: Mutex<Arc<Board>>,
    /// Whether the first destination answers nothing.
    is_hanging: watch::Sender<bool>,
}

impl Sink {
    /// Starts destinations.
    pub(super) fn start(count: u32) -> Result<Self, CliError> {
        let shared = Arc::new(Shared {
            board: Mutex::new(Arc::new(Board::new(0, 0, 1))),
            is_hanging: watch::Sender::new(false),
        });
        let urls = destination::start(count, &shared)?;
        Ok(Self { shared, urls })
    }

    pub(super) fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Notes what arrives from now on on this board.
    pub(super) fn use_board(&self, board: &Arc<Board>) {
        *self.shared.board.lock() = Arc::clone(board);
    }

    /// Lets the first destination answer nothing, or answer again, also what it has kept waiting.
    pub(super) fn hang(&self, is_hanging: bool) {
        self.shared.is_hanging.send_replace(is_hanging);
    }
}

impl Answers for Shared {
    async fn answer(&self, destination: usize, body: Bytes) -> Response<Full<Bytes>> {
        let board = Arc::clone(&self.board.lock());
        board.arrive(&body);
        if destination == 0 {
            let mut hanging = self.is_hanging.subscribe();
            hanging.wait_for(|is_hanging| !is_hanging).await.ok();
        }
        Response::default()
    }
}
