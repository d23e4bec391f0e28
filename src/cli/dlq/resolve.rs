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
    /// Of requests whose answers were lost, at most; what they resolved is not asked for again.
    unknown: u64,
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
    let mut work = Work::new(selection, "republished");
    // The first word of a broker that is not there comes at once.
    remote::client(connection, Patience::None).terms().await?;
    while let Some(page) = work.next_page() {
        request.page = page;
        let answer = client.call_while(&request, |error| work.may_repeat(error, &request.page));
        let answer = answer.await;
        let answer = answer.map_err(|error| work.stopped(error, &request.page))?;
        for (id, result) in answer.letters {
            work.take(&id, result, |republished| {
                let object = republished_json(&republished);
                (object, republished.is_new)
            });
        }
        work.go_on(answer.cursor);
    }
    work.look_elsewhere(&client, topic).await;
    work.report(output)
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
    let mut work = Work::new(selection, "deleted");
    remote::client(connection, Patience::None).terms().await?;
    while let Some(page) = work.next_page() {
        request.page = page;
        let answer = client.call_while(&request, |error| work.may_repeat(error, &request.page));
        let answer = answer.await;
        let answer = answer.map_err(|error| work.stopped(error, &request.page))?;
        for (id, result) in answer.letters {
            work.take(&id, result, |is_new| (json!({ "is_new": is_new }), is_new));
        }
        work.go_on(answer.cursor);
    }
    work.look_elsewhere(&client, topic).await;
    work.report(output)
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
    /// What is done to a letter, as in "republished".
    done: &'static str,
    order: Order,
    is_limited: bool,
    left: u64,
    cursor: Option<String>,
    is_first: bool,
    counts: Counts,
    /// What became of each letter: only of letters that were named, of the others there may be any number.
    results: Option<Vec<Value>>,
    refusals: Vec<(String, Refusal)>,
    /// `None` when the work is done.
    progress: Option<Progress>,
}

impl Work {
    fn new(selection: &SelectionArgs, done: &'static str) -> Self {
        Self {
            done,
            order: selection.order.into(),
            is_limited: selection.limit.is_some(),
            left: selection.limit.unwrap_or(u64::MAX),
            cursor: None,
            is_first: true,
            counts: Counts::default(),
            results: (!selection.ids.is_empty()).then(Vec::new),
            refusals: Vec::new(),
            progress: Some(Progress::start(None, "dead letters")),
        }
    }

    /// Returns the next page to ask for, `None` at the end.
    fn next_page(&mut self) -> Option<Page> {
        let is_over = self.left == 0 || (self.cursor.is_none() && !self.is_first);
        if is_over {
            return None;
        }
        // The first page fixes the end of the selection, and cannot be asked for again: so it is small.
        let is_end_open = self.is_first && !self.is_limited && self.results.is_none();
        let most = if is_end_open { 1 } else { LETTERS_PER_CALL_MAX };
        self.is_first = false;
        let limit = u32::try_from(self.left).unwrap_or(u32::MAX);
        Some(Page {
            order: self.order,
            limit: limit.min(most),
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
        self.progress.iter().for_each(|progress| progress.add(1));
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

    /// Says of letters that are not there whether they are another topic's, or what became of them.
    async fn look_elsewhere(&mut self, client: &Client, topic: &str) {
        for (id, refusal) in &mut self.refusals {
            if refusal.code != ErrorCode::UnknownLetter {
                continue;
            }
            match client.letter(id).await {
                Ok(letter) if letter.topic != topic => refusal.message = elsewhere(&letter, topic),
                Err(ClientError::Refused { refusal: told, .. }) => *refusal = told,
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Returns whether a page is asked for again, and notes what a lost answer leaves unknown.
    ///
    /// Letters that were named are the same ones again. Others are not: what the lost request resolved is found no more, and
    /// the page holds those behind it. That is what is wanted, unless they were counted: then more would be resolved than that.
    /// Nor is a page without a cursor asked for again: it would select what has died since.
    fn may_repeat(&mut self, error: &ClientError, page: &Page) -> bool {
        if self.results.is_some() || !error.is_outcome_unknown() {
            return true;
        }
        if self.is_limited || page.cursor.is_none() {
            return false;
        }
        self.counts.unknown = self.counts.unknown.saturating_add(page.limit.into());
        remote::note(&format!(
            "{}: whether up to {} were {} is unknown; going on with what is left",
            remote::with_causes(error),
            counted(page.limit.into(), "dead letter"),
            self.done,
        ));
        true
    }

    /// Says where the work has stopped.
    fn stopped(&self, error: ClientError, page: &Page) -> CliError {
        let mut unknown = self.counts.unknown;
        let is_repeated = !self.is_limited && page.cursor.is_some();
        if !is_repeated && self.results.is_none() && error.is_outcome_unknown() {
            unknown = page.limit.into();
        }
        if unknown == 0 {
            return error.into();
        }
        let message = format!(
            "{}: whether up to {} were {} is unknown; before that, {} were",
            remote::with_causes(&error),
            counted(unknown, "more dead letter"),
            self.done,
            self.counts.done,
        );
        CliError::failed(
            message,
            Some("`redrive dlq stats` counts what is left; then give the command again for that"),
        )
    }

    fn report(mut self, output: &mut Output) -> Result<(), CliError> {
        drop(self.progress.take());
        let written = self.write(output);
        for (id, refusal) in &self.refusals {
            remote::note(&format!("{id}: {refusal}"));
        }
        if self.counts.refused > 0 {
            // It is told also to who has stopped reading.
            return Err(CliError::failed(
                format!("{} refused", counted(self.counts.refused, "dead letter")),
                None,
            ));
        }
        written
    }

    fn write(&self, output: &mut Output) -> Result<(), CliError> {
        let (counts, done) = (&self.counts, self.done);
        if output.is_json() {
            output.json(&json!({
                done: counts.done,
                "before": counts.before,
                "refused": counts.refused,
                "unknown": counts.unknown,
                "letters": self.results,
            }))?;
        } else {
            output.line(&format!("{} {done}", counted(counts.done, "dead letter")))?;
            if counts.unknown > 0 {
                let unknown = counts.unknown;
                output.line(&format!(
                    "up to {unknown} more may have been: an answer was lost"
                ))?;
            }
            if counts.before > 0 {
                output.line(&format!("{} had been {done} before", counts.before))?;
            }
            for line in self.results.iter().flatten().filter_map(fresh_record) {
                output.line(&line)?;
            }
        }
        output.finish()
    }
}
