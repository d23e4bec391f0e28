//! What `redrive dlq` shows of letters and of their counts.

use crate::admin::letters::LetterStats;
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::view;
use crate::protocol::letter::{DestinationView, LetterView, ReceiverView, disposition_name};
use crate::protocol::read_letters::LetterStatsAnswer;

pub(super) fn show(letter: &LetterView, output: &mut Output) -> Result<(), CliError> {
    let facts = [
        ("id", letter.id.clone()),
        ("died at", view::time(letter.died_at)),
        (
            "record",
            format!(
                "{} partition {} offset {}",
                letter.topic, letter.partition, letter.source_offset
            ),
        ),
        ("for", view::receiver(&letter.receiver)),
        ("disposition", disposition_name(letter.disposition)),
        ("fingerprint", letter.fingerprint.clone()),
        (
            "republished",
            view::counted(letter.republished.into(), "time"),
        ),
        ("reason", letter.reason.0.clone()),
    ];
    for (name, fact) in facts {
        output.line(&format!("{name:12} {}", view::plain(&fact)))?;
    }
    show_message(letter, output)?;
    if let Some(details) = &letter.details {
        output.line(&format!("details\n{}", view::plain(&details.0)))?;
    }
    show_attempts(letter, output)?;
    for (name, value) in &letter.headers {
        let value = value.as_deref().unwrap_or_default();
        let header = format!("{name}: {}", String::from_utf8_lossy(value));
        output.line(&format!("header       {}", view::plain(&header)))?;
    }
    if let Some(key) = &letter.key {
        let key = String::from_utf8_lossy(key);
        output.line(&format!("key          {}", view::plain(&key)))?;
    }
    output.line("value")?;
    output.foreign(letter.value.as_deref().unwrap_or_default())?;
    output.line("")
}

/// Shows what is told of the message: what is not known is left out.
fn show_message(letter: &LetterView, output: &mut Output) -> Result<(), CliError> {
    let to = match &letter.receiver {
        ReceiverView::Group(_) => &DestinationView::default(),
        ReceiverView::Destination(destination) => destination,
    };
    let labels = Some(letter.labels.join(", ")).filter(|labels| !labels.is_empty());
    let facts = [
        ("url group", &to.url_group),
        ("endpoint", &to.endpoint),
        ("queue", &to.queue),
        ("schedule", &to.schedule),
        ("flow control", &to.flow_control_key),
        ("labels", &labels),
        ("caller", &letter.caller),
        ("message", &letter.message_id),
        ("first one", &letter.first_message_id),
    ];
    for (name, fact) in facts {
        if let Some(fact) = fact {
            output.line(&format!("{name:12} {}", view::plain(fact)))?;
        }
    }
    Ok(())
}

fn show_attempts(letter: &LetterView, output: &mut Output) -> Result<(), CliError> {
    for (at, attempt) in letter.history.iter().enumerate() {
        let result = match (attempt.status, &attempt.error) {
            (Some(status), _) => format!("status {status}"),
            (None, Some(error)) => error.0.clone(),
            (None, None) => "no answer".to_owned(),
        };
        output.line(&format!(
            "attempt {:<4} {} took {} ms: {}",
            attempt.number,
            view::time(attempt.started_at),
            attempt.duration_ms,
            view::plain(&result)
        ))?;
        for (name, value) in &attempt.headers {
            let header = format!("{}: {}", name.0, value.0);
            output.line(&format!("             {}", view::plain(&header)))?;
        }
        if !attempt.body.is_empty() {
            let body = String::from_utf8_lossy(&attempt.body);
            let cut = if attempt.is_cut { " (cut)" } else { "" };
            output.line(&format!(
                "             {}{cut}",
                view::plain(body.trim_end())
            ))?;
        }
        if at == 0 && letter.attempts_left_out > 0 {
            let left_out = view::counted(letter.attempts_left_out.into(), "attempt");
            output.line(&format!("             {left_out} left out"))?;
        }
    }
    Ok(())
}

pub(super) fn show_stats(stats: LetterStatsAnswer, output: &mut Output) -> Result<(), CliError> {
    if output.is_json() {
        return output.json(&LetterStats::from(stats));
    }
    let counts = &stats.counts;
    output.line(&format!(
        "live {}  republished {}  deleted {}  expired {}",
        counts.live, counts.republished, counts.deleted, counts.expired
    ))?;
    output.line(&format!("selected {}", stats.selected))?;
    if stats.selected == 0 {
        return Ok(());
    }
    let rows = |pairs: Vec<(String, u64)>| {
        pairs
            .into_iter()
            .map(|(name, count)| vec![count.to_string(), name])
    };
    output.line("")?;
    let dispositions = stats.by_disposition.iter();
    let dispositions = dispositions.map(|(number, count)| (disposition_name(*number), *count));
    output.table(&["COUNT", "DISPOSITION"], rows(dispositions.collect()))?;
    output.line("")?;
    output.table(&["COUNT", "GROUP"], rows(stats.by_group))?;
    output.line("")?;
    let fingerprints = stats.by_fingerprint.iter().map(|found| {
        vec![
            found.count.to_string(),
            found.fingerprint.clone(),
            view::cell(&found.reason.0),
        ]
    });
    output.table(&["COUNT", "FINGERPRINT", "REASON OF ONE"], fingerprints)?;
    output.line("")?;
    let ages = ages(&stats.by_age);
    output.table(&["COUNT", "DIED"], rows(ages))
}

/// Says how long ago the letters of each count died: the counts add up, none holds another's letters.
fn ages(by_age: &[(u64, u64)]) -> Vec<(String, u64)> {
    let mut from = None;
    let ages = by_age.iter().map(|(to, count)| {
        let ago = match (from.replace(age(*to)), *to) {
            (None, _) => format!("less than {} ago", age(*to)),
            (Some(from), u64::MAX) => format!("{from} ago or earlier"),
            (Some(from), to) => format!("{from} to {} ago", age(to)),
        };
        (ago, *count)
    });
    ages.collect()
}

fn age(ms: u64) -> String {
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "min"),
        (1_000, "s"),
    ];
    let unit = units
        .iter()
        .find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit));
    unit.map_or_else(
        || format!("{ms} ms"),
        |(unit, name)| format!("{} {name}", ms / unit),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_of_letters_are_ranges_that_do_not_overlap() {
        let by_age = [(3_600_000, 2), (86_400_000, 1), (u64::MAX, 3)];
        let expected = [
            ("less than 1 h ago", 2),
            ("1 h to 1 d ago", 1),
            ("1 d ago or earlier", 3),
        ];
        assert_eq!(
            ages(&by_age),
            expected.map(|(ago, count)| (ago.to_owned(), count))
        );
    }
}
