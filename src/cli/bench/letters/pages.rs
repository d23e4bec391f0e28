//! Pages of a filter, as someone asks for them who looks for what happened: the newest first.

use std::time::Instant;

use super::super::super::error::CliError;
use super::super::figures::Figures;
use super::super::report::{Latencies, float};
use crate::client::Client;
use crate::protocol::letter::LetterView;
use crate::protocol::read_letters::ListLettersRequest;
use crate::protocol::selection::{LetterFilter, Order, Page, Selection};

/// Letters of a page.
const PAGE_LETTERS: u32 = 100;
/// Pages that are asked for at most.
const PAGES_MAX: u64 = 500;
/// Letters for each of which a page is asked for: of few letters all pages are alike.
const LETTERS_PER_PAGE: u64 = 10;

/// Names of the figures: p50, p99, p99.9, the largest, and how many letters a page had.
pub(super) type Names = [&'static str; 5];

/// Where one filter is measured.
pub(super) const NAMES: Names = [
    "page_p50",
    "page_p99",
    "page_p999",
    "page_max",
    "letters_on_a_page",
];

/// The letters that are looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of<'a> {
    /// Their topic.
    pub(super) topic: &'a str,
    /// How many there are.
    pub(super) letters: u64,
    /// Times that all pages are measured, each a run of its own.
    pub(super) looks: u32,
}

/// Asks for pages: of what one filter selects, those of the same fingerprint as the newest.
pub(super) async fn measure(
    client: &Client,
    of: Of<'_>,
    filter: impl Fn(u64) -> LetterFilter,
    names: Names,
    figures: &mut Figures,
) -> Result<(), CliError> {
    for _ in 0..of.looks {
        look(client, of, &filter, names, figures).await?;
    }
    Ok(())
}

async fn look(
    client: &Client,
    Of { topic, letters, .. }: Of<'_>,
    filter: impl Fn(u64) -> LetterFilter,
    [p50, p99, p999, max, on_a_page]: Names,
    figures: &mut Figures,
) -> Result<(), CliError> {
    let mut latencies = Latencies::new()?;
    let mut found = 0_u64;
    let pages = (letters / LETTERS_PER_PAGE).clamp(1, PAGES_MAX);
    for number in 0..pages {
        let newest = page(client, topic, filter(number), 1).await?;
        let fingerprints = newest.into_iter().map(|letter| letter.fingerprint);
        let filter = LetterFilter {
            fingerprints: fingerprints.collect(),
            ..filter(number)
        };
        let asked_at = Instant::now();
        let letters = page(client, topic, filter, PAGE_LETTERS).await?;
        latencies.record(asked_at.elapsed());
        found += u64::try_from(letters.len()).unwrap_or(u64::MAX);
    }
    figures.add_latencies([p50, p99, p999, max], &latencies);
    figures.add(on_a_page, "letters", float(found) / float(pages));
    Ok(())
}

async fn page(
    client: &Client,
    topic: &str,
    filter: LetterFilter,
    limit: u32,
) -> Result<Vec<LetterView>, CliError> {
    let request = ListLettersRequest {
        topic: topic.to_owned(),
        selection: Selection::Filter(filter),
        page: Page::first(Order::NewestFirst, limit),
        bytes_max: 0,
    };
    Ok(client.letters(&request).await?.letters)
}
