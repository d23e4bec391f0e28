//! Retrying and deleting dead letters, page by page until the selection ends.

use serde_json::{Value, json};

use super::super::args::Connection;
use super::super::error::CliError;
use super::super::output::{Output, Progress};
use super::super::remote::{self, Patience};
use super::super::view::counted;
use super::{SelectionArgs, elsewhere};
use crate::client::{Client, ClientError};
use crate::limits::LETTERS_PER_CALL_MAX;
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::resolve_letters::{DeleteLettersRequest, Republished, RetryLettersRequest};
use crate::protocol::selection::{Order, Page};

/// Refusals that are told in words.
const REFUSALS_TOLD: usize = 20;

/// Counts of what became of letters.
#[derive(Debug, Default)]
struct Counts {
    done: u64,
    before: u64,
    refused: u64,
}

/// Republishes what is selected.
pub(super) async fn retry(
    connection: &Connection,
    topic: &str,
    selection: &SelectionArgs,
    request_id: Option<&str>,
    output: &mut Output,
) -> Result<(), CliError> {
    let client = remote::client(connection, Patience::Restart);
    let mut request = RetryLettersRequest {
        topic: topic.to_owned(),
        selection: selection.selection()?,
        page: Page::first(selection.order.into(), 0),
        request_id: request_id.map(str::to_owned),
    };
    let mut work = Work::new(selection);
    // The first word of a broker that is not there comes at once.
    remote::client(connection, Patience::None).terms().await?;
    while let Some(page) = work.next_page() {
        request.page = page;
        let answer = client.retry_letters(&request).await;
        let answer = answer.map_err(|error| work.stopped(error, &request.page, "republished"))?;
        for (id, result) in answer.letters {
            work.take(&id, result, |republished| {
                let object = republished_json(&republished);
                (object, republished.is_new)
            });
        }
        work.go_on(answer.cursor);
    }
    work.look_elsewhere(&client, topic).await;
    work.report("republished", "had been republished before", output)
}

/// Deletes what is selected.
pub(super) async fn delete(
    connection: &Connection,
    topic: &str,
    selection: &SelectionArgs,
    output: &mut Output,
) -> Result<(), CliError> {
    let client = remote::client(connection, Patience::Restart);
    let mut request = DeleteLettersRequest {
        topic: topic.to_owned(),
        selection: selection.selection()?,
        page: Page::first(selection.order.into(), 0),
        request_id: None,
    };
    let mut work = Work::new(selection);
    remote::client(connection, Patience::None).terms().await?;
    while let Some(page) = work.next_page() {
        request.page = page;
        let answer = client.delete_letters(&request).await;
        let answer = answer.map_err(|error| work.stopped(error, &request.page, "deleted"))?;
        for (id, result) in answer.letters {
            work.take(&id, result, |is_new| (json!({ "is_new": is_new }), is_new));
        }
        work.go_on(answer.cursor);
    }
    work.look_elsewhere(&client, topic).await;
    work.report("deleted", "had been deleted before", output)
}

fn republished_json(republished: &Republished) -> Value {
    json!({
        "message_id": republished.message_id,
        "partition": republished.partition,
        "offset": republished.offset.0,
        "is_new": republished.is_new,
    })
}

/// Says which record a letter that was named has become.
fn fresh_record(named: &Value) -> Option<String> {
    let result = named.get("result")?;
    Some(format!(
        "{}: message {}, offset {} of partition {}",
        named.get("id")?.as_str()?,
        result.get("message_id")?.as_str()?,
        result.get("offset")?,
        result.get("partition")?,
    ))
}

/// A selection that is worked off.
struct Work {
    order: Order,
    left: u64,
    cursor: Option<String>,
    is_first: bool,
    counts: Counts,
    /// What became of each letter: only of letters that were named, of the others there may be any number.
    results: Option<Vec<Value>>,
    refusals: Vec<(String, Refusal)>,
    progress: Progress,
}

impl Work {
    fn new(selection: &SelectionArgs) -> Self {
        Self {
            order: selection.order.into(),
            left: selection.limit.unwrap_or(u64::MAX),
            cursor: None,
            is_first: true,
            counts: Counts::default(),
            results: (!selection.ids.is_empty()).then(Vec::new),
            refusals: Vec::new(),
            progress: Progress::start(None, "dead letters"),
        }
    }

    /// Returns the next page to ask for, `None` at the end.
    fn next_page(&mut self) -> Option<Page> {
        let is_over = self.left == 0 || (self.cursor.is_none() && !self.is_first);
        if is_over {
            return None;
        }
        self.is_first = false;
        let limit = u32::try_from(self.left).unwrap_or(u32::MAX);
        Some(Page {
            order: self.order,
            limit: limit.min(LETTERS_PER_CALL_MAX),
            cursor: self.cursor.take(),
        })
    }

    fn go_on(&mut self, cursor: Option<String>) {
        self.cursor = cursor;
    }

    /// Counts one letter; `split` returns its result as JSON, and whether it is new.
    fn take<T>(
        &mut self,
        id: &str,
        result: Result<T, Refusal>,
        split: impl FnOnce(T) -> (Value, bool),
    ) {
        self.left = self.left.saturating_sub(1);
        self.progress.add(1);
        let json = match result {
            Ok(done) => {
                let (json, is_new) = split(done);
                if is_new {
                    self.counts.done += 1;
                } else {
                    self.counts.before += 1;
                }
                json
            }
            Err(refusal) => {
                self.counts.refused += 1;
                if self.refusals.len() < REFUSALS_TOLD {
                    self.refusals.push((id.to_owned(), refusal.clone()));
                }
                json!({ "error": refusal.to_string() })
            }
        };
        if let Some(results) = &mut self.results {
            results.push(json!({ "id": id, "result": json }));
        }
    }

    /// Says of letters that are not there whether they are another topic's.
    async fn look_elsewhere(&mut self, client: &Client, topic: &str) {
        for (id, refusal) in &mut self.refusals {
            if refusal.code != ErrorCode::UnknownLetter {
                continue;
            }
            if let Ok(letter) = client.letter(id).await
                && letter.topic != topic
            {
                refusal.message = elsewhere(&letter, topic);
            }
        }
    }

    /// Says where the work has stopped. Letters that were not named are not asked for again after a lost answer: the same page
    /// would hold other ones.
    fn stopped(&self, error: ClientError, page: &Page, done: &str) -> CliError {
        if self.results.is_some() || !error.is_outcome_unknown() {
            return error.into();
        }
        let message = format!(
            "{}: whether up to {} were {done} is unknown; before that, {} were",
            remote::with_causes(&error),
            counted(page.limit.into(), "more dead letter"),
            self.counts.done,
        );
        CliError::failed(
            message,
            Some("`redrive dlq stats` counts what is left; then give the command again for that"),
        )
    }

    fn report(self, done: &str, before: &str, output: &mut Output) -> Result<(), CliError> {
        drop(self.progress);
        let counts = &self.counts;
        if output.is_json() {
            output.json(&json!({
                done: counts.done,
                "before": counts.before,
                "refused": counts.refused,
                "letters": self.results,
            }))?;
        } else {
            output.line(&format!("{} {done}", counted(counts.done, "dead letter")))?;
            if counts.before > 0 {
                output.line(&format!("{} {before}", counts.before))?;
            }
            for line in self.results.iter().flatten().filter_map(fresh_record) {
                output.line(&line)?;
            }
        }
        output.finish()?;
        for (id, refusal) in &self.refusals {
            remote::note(&format!("{id}: {refusal}"));
        }
        if counts.refused > 0 {
            return Err(CliError::failed(
                format!("{} refused", counted(counts.refused, "dead letter")),
                None,
            ));
        }
        Ok(())
    }
}
