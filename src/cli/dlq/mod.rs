//! `redrive dlq`: dead letters.

mod resolve;
mod show;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use storage::offset::TimestampMs;

use super::args::Connection;
use super::error::CliError;
use super::output::Output;
use super::parse;
use super::remote::{self, Patience};
use super::view;
use crate::admin::letter_views::Letter;
use crate::client::Client;
use crate::protocol::letter::{
    LetterView, disposition_choices, disposition_name, disposition_number,
};
use crate::protocol::read_letters::ListLettersRequest;
use crate::protocol::selection::{LetterFilter, Order, Page, Selection};

/// Order of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OrderArg {
    /// By time of death, rising
    #[value(alias = "oldest_first")]
    Oldest,
    /// By time of death, falling
    #[value(alias = "newest_first")]
    Newest,
}

/// `redrive dlq ...`
#[derive(Debug, Subcommand)]
pub enum DlqCommand {
    /// List dead letters, a page at a time
    #[command(after_help = "\
Examples:
  redrive dlq list flights --group billing --died-from 2026-01-31T00:00:00Z
  redrive dlq list _push --queue invoices --status 503 --order newest")]
    List {
        /// Topic
        topic: String,
        /// Which.
        #[command(flatten)]
        filter: FilterArgs,
        /// Order
        #[arg(long, value_enum, default_value_t = OrderArg::Oldest)]
        order: OrderArg,
        /// Letters a page
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        count: u32,
        /// Go on where a page ended: the cursor that came with it
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Show one dead letter with its record and its history
    Get {
        /// Topic
        topic: String,
        /// Id of the letter
        #[arg(value_parser = parse::letter_id)]
        id: String,
    },
    /// Send dead letters back to where they came from, each exactly once
    #[command(after_help = "\
Retrying a letter again, also from elsewhere at the same time, answers with the first message's id and appends nothing.
`dlq stats` with the same filters counts what they select.

Examples:
  redrive dlq retry flights 0Fa84QYNDPdgyczpVPZ3ZRy
  redrive dlq retry flights --fingerprint 01f3a92b77c0d14e55
  redrive dlq retry flights --all --request-id deploy-42")]
    Retry {
        /// Topic
        topic: String,
        /// Which.
        #[command(flatten)]
        selection: SelectionArgs,
        /// Name of this request; it names the answer in the log, a letter is retried once whatever the name
        #[arg(long, value_name = "ID")]
        request_id: Option<String>,
    },
    /// Delete dead letters
    #[command(after_help = "\
Nothing brings a deleted letter back. `dlq stats` with the same filters counts what they select.

Example:
  redrive dlq delete flights --fingerprint 01f3a92b77c0d14e55")]
    Delete {
        /// Topic
        topic: String,
        /// Which.
        #[command(flatten)]
        selection: SelectionArgs,
    },
    /// Count dead letters by disposition, fingerprint and age
    Stats {
        /// Topic
        topic: String,
        /// Which.
        #[command(flatten)]
        filter: FilterArgs,
    },
}

/// Dead letters by their fields: one of the values of a field, and all fields.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Filters (a repeated one means or, different ones mean and)")]
pub struct FilterArgs {
    /// Consumer group
    #[arg(long)]
    pub group: Vec<String>,
    /// Fingerprint of the failure
    #[arg(long)]
    pub fingerprint: Vec<String>,
    #[arg(
        long,
        help = "Why it died: retries_exhausted, not_retryable, rejected, destination_forbidden, or a number"
    )]
    pub disposition: Vec<String>,
    /// URL that it was delivered to
    #[arg(long, value_name = "URL")]
    pub destination: Vec<String>,
    /// Label
    #[arg(long)]
    pub label: Vec<String>,
    /// Id of the message
    #[arg(long, value_name = "ID", value_parser = parse::message_id)]
    pub message_id: Vec<String>,
    /// Address that published it
    #[arg(long, value_name = "IP", value_parser = parse::ip)]
    pub caller: Vec<String>,
    /// URL group that it was published to
    #[arg(long, value_name = "NAME")]
    pub url_group: Vec<String>,
    /// Name of the endpoint in its URL group
    #[arg(long, value_name = "NAME")]
    pub endpoint: Vec<String>,
    /// Queue
    #[arg(long, value_name = "NAME")]
    pub queue: Vec<String>,
    /// Schedule that published it
    #[arg(long, value_name = "ID")]
    pub schedule: Vec<String>,
    /// Flow-control key
    #[arg(long, value_name = "KEY")]
    pub flow_control_key: Vec<String>,
    /// Status of the last answer
    #[arg(long, value_parser = parse::status)]
    pub status: Vec<u16>,
    /// Died at this time or later (RFC 3339, or milliseconds since 1970)
    #[arg(long, value_name = "TIME", value_parser = parse::time, allow_hyphen_values = true)]
    pub died_from: Option<TimestampMs>,
    /// Died before this time
    #[arg(long, value_name = "TIME", value_parser = parse::time, allow_hyphen_values = true)]
    pub died_to: Option<TimestampMs>,
}

impl FilterArgs {
    /// Returns true if no field is given, so that every letter would match.
    pub fn is_empty(&self) -> bool {
        let lists = [
            &self.group,
            &self.fingerprint,
            &self.disposition,
            &self.destination,
            &self.label,
            &self.message_id,
            &self.caller,
            &self.url_group,
            &self.endpoint,
            &self.queue,
            &self.schedule,
            &self.flow_control_key,
        ];
        lists.iter().all(|list| list.is_empty())
            && self.status.is_empty()
            && self.died_from.is_none()
            && self.died_to.is_none()
    }
}

/// Dead letters by id, by their fields, or all.
#[derive(Debug, Clone, Args)]
pub struct SelectionArgs {
    /// Ids of letters
    #[arg(value_parser = parse::letter_id)]
    pub ids: Vec<String>,
    /// All dead letters of the topic that are live now
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
    /// End after this many
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<u64>,
    /// Order in which they are taken
    #[arg(long, value_enum, default_value_t = OrderArg::Oldest)]
    pub order: OrderArg,
    /// By fields.
    #[command(flatten)]
    pub filter: FilterArgs,
}

impl SelectionArgs {
    /// Checks that it says clearly which letters are meant: nothing is selected by saying nothing.
    ///
    /// # Errors
    /// [`CliError::Usage`].
    pub fn check(&self) -> Result<(), CliError> {
        let message = match (self.ids.is_empty(), self.filter.is_empty(), self.all) {
            (true, true, false) => {
                "say which dead letters: their ids, a filter as --group NAME, or --all"
            }
            (false, false, _) => "give ids or filters, not both",
            (_, false, true) => "--all takes no filter: leave out one of them",
            _ => return Ok(()),
        };
        Err(CliError::Usage {
            message: message.to_owned(),
        })
    }
}

impl From<OrderArg> for Order {
    fn from(order: OrderArg) -> Self {
        match order {
            OrderArg::Oldest => Self::OldestFirst,
            OrderArg::Newest => Self::NewestFirst,
        }
    }
}

impl FilterArgs {
    /// Returns what is selected: everything when no field is given.
    fn selection(&self) -> Result<Selection, CliError> {
        if self.is_empty() {
            return Ok(Selection::All);
        }
        let dispositions = self.disposition.iter().map(|text| disposition(text));
        Ok(Selection::Filter(LetterFilter {
            groups: self.group.clone(),
            fingerprints: self.fingerprint.clone(),
            dispositions: dispositions.collect::<Result<_, _>>()?,
            urls: self.destination.clone(),
            labels: self.label.clone(),
            message_ids: self.message_id.clone(),
            callers: self.caller.clone(),
            url_groups: self.url_group.clone(),
            endpoints: self.endpoint.clone(),
            queues: self.queue.clone(),
            schedules: self.schedule.clone(),
            flow_control_keys: self.flow_control_key.clone(),
            statuses: self.status.clone(),
            died_from: self.died_from,
            died_to: self.died_to,
        }))
    }
}

impl SelectionArgs {
    /// Returns what is selected.
    fn selection(&self) -> Result<Selection, CliError> {
        self.check()?;
        if self.ids.is_empty() {
            self.filter.selection()
        } else {
            Ok(Selection::Ids(self.ids.clone()))
        }
    }
}

fn disposition(text: &str) -> Result<u8, CliError> {
    disposition_number(text).ok_or_else(|| {
        CliError::usage(format!(
            "{text} is no disposition: expected {}",
            disposition_choices()
        ))
    })
}

/// Runs `redrive dlq ...`.
pub(super) fn run(
    command: &DlqCommand,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    remote::block_on(async {
        match command {
            DlqCommand::List {
                topic,
                filter,
                order,
                count,
                cursor,
            } => {
                let request = ListLettersRequest {
                    topic: topic.clone(),
                    selection: filter.selection()?,
                    page: Page {
                        order: (*order).into(),
                        limit: *count,
                        cursor: cursor.clone(),
                    },
                    bytes_max: 0,
                };
                list(&remote::client(connection, Patience::None), request, output).await
            }
            DlqCommand::Get { topic, id } => {
                let client = remote::client(connection, Patience::None);
                get(&client, topic, id, output).await
            }
            DlqCommand::Retry {
                topic,
                selection,
                request_id,
            } => {
                let request_id = request_id.as_deref();
                resolve::retry(connection, topic, selection, request_id, output).await
            }
            DlqCommand::Delete { topic, selection } => {
                resolve::delete(connection, topic, selection, output).await
            }
            DlqCommand::Stats { topic, filter } => {
                let client = remote::client(connection, Patience::None);
                let stats = client.letter_stats(topic, filter.selection()?).await?;
                show::show_stats(stats, output)
            }
        }
    })
}

/// Lists as many letters as were asked for: a page of the broker ends earlier when its letters are large.
async fn list(
    client: &Client,
    mut request: ListLettersRequest,
    output: &mut Output,
) -> Result<(), CliError> {
    let mut letters = Vec::new();
    let cursor = loop {
        let page = client.letters(&request).await?;
        let count = u32::try_from(page.letters.len()).unwrap_or(u32::MAX);
        letters.extend(page.letters);
        request.page.limit = request.page.limit.saturating_sub(count);
        if request.page.limit == 0 || page.cursor.is_none() {
            break page.cursor;
        }
        request.page.cursor = page.cursor;
    };
    if output.is_json() {
        let letters: Vec<_> = letters.into_iter().map(Letter::from).collect();
        return output.json(&json!({ "letters": letters, "cursor": cursor }));
    }
    let rows = letters.iter().map(|letter| {
        vec![
            letter.id.clone(),
            view::time(letter.died_at),
            letter.partition.to_string(),
            letter.source_offset.to_string(),
            view::receiver(&letter.receiver),
            disposition_name(letter.disposition),
            letter.fingerprint.clone(),
            view::cell(&letter.reason.0),
        ]
    });
    let head = [
        "ID",
        "DIED AT",
        "PARTITION",
        "OFFSET",
        "FOR",
        "DISPOSITION",
        "FINGERPRINT",
        "REASON",
    ];
    output.table(&head, rows)?;
    if let Some(cursor) = cursor {
        remote::note(&format!("more: --cursor {cursor}"));
    }
    Ok(())
}

/// Says of which topic a letter is that was looked for in another one.
fn elsewhere(letter: &LetterView, topic: &str) -> String {
    let LetterView { id, topic: of, .. } = letter;
    format!("{id} is a dead letter of topic {of}, not of {topic}")
}

async fn get(client: &Client, topic: &str, id: &str, output: &mut Output) -> Result<(), CliError> {
    let letter = client.letter(id).await?;
    if letter.topic != topic {
        return Err(CliError::failed(elsewhere(&letter, topic), None));
    }
    if output.is_json() {
        return output.json(&Letter::from(letter));
    }
    show::show(&letter, output)
}
