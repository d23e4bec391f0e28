//! The table's lines: what was found, what stands beside it, and whether that is enough.

use serde_json::{Value, json};

use super::super::super::error::CliError;
use super::super::super::output::Output;
use super::super::spread::Spread;
use super::TableArgs;
use super::rows::{self, Figure, Row, Source, Times};

/// The reports of a row's command and of its yardstick, one for each round.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) found: Vec<Value>,
    pub(super) beside: Vec<Value>,
}

/// Writes the table's head.
pub(super) fn head(output: &mut Output) -> Result<(), CliError> {
    if output.is_json() {
        return Ok(());
    }
    output
        .line("| what | found | beside it | ratio | goal | reached | row: command; beside it |")?;
    output.line("|---|---|---|---|---|---|---|")?;
    output.finish()
}

/// Writes the lines of a row.
pub(super) fn row(
    row: &Row,
    arguments: &TableArgs,
    measured: &Measured,
    output: &mut Output,
) -> Result<(), CliError> {
    let commands = commands(row, arguments);
    let mut named = format!("{}: `{}`", row.name, commands.join("`; `"));
    for figure in row.figures {
        let line = Line::of(row, figure, measured)?;
        if output.is_json() {
            output.json(&line.view(row, &commands))?;
        } else {
            // The lines of one row have one command: the first says it.
            output.line(&line.text(std::mem::take(&mut named)))?;
        }
    }
    // Whoever ends this early has what was found until then.
    output.finish()
}

/// The row's commands as they can be typed.
fn commands(row: &Row, arguments: &TableArgs) -> Vec<String> {
    let all = std::iter::once(row.command).chain(row.yardstick);
    let typed = |command| rows::words(command, arguments.rounds, arguments.scale).join(" ");
    all.map(|command| format!("bench {}", typed(command)))
        .collect()
}

/// One figure in all rounds.
struct Line<'a> {
    figure: &'a Figure,
    found: Spread,
    beside: Option<Spread>,
    ratio: Option<Spread>,
}

impl<'a> Line<'a> {
    fn of(row: &Row, figure: &'a Figure, measured: &Measured) -> Result<Self, CliError> {
        let found = read(&measured.found, figure.found, row.times)?;
        let other = if row.yardstick.is_some() {
            &measured.beside
        } else {
            &measured.found
        };
        let beside = figure.beside.map(|source| read(other, source, row.times));
        let beside = beside.transpose()?;
        let ratio = beside.as_ref().map(|beside| {
            let pairs = found.values().iter().zip(beside.values());
            Spread::of(pairs.map(|(found, beside)| found / beside))
        });
        Ok(Self {
            figure,
            found,
            beside,
            ratio,
        })
    }

    fn is_met(&self) -> Option<bool> {
        let median = |spread: &Option<Spread>| spread.as_ref().map(Spread::median);
        let (ratio, beside) = (median(&self.ratio), median(&self.beside));
        self.figure.goal.is_met(self.found.median(), ratio, beside)
    }

    fn text(&self, command: String) -> String {
        let unit = self.figure.unit;
        let with_unit = |spread: &Spread| short(spread, unit);
        let reached = self
            .is_met()
            .map_or("", |is_met| if is_met { "yes" } else { "no" });
        let cells = [
            self.figure.what.to_owned(),
            with_unit(&self.found),
            self.beside.as_ref().map(with_unit).unwrap_or_default(),
            self.ratio
                .as_ref()
                .map(|ratio| short(ratio, ""))
                .unwrap_or_default(),
            self.figure.goal.to_string(),
            reached.to_owned(),
            command,
        ];
        format!("| {} |", cells.join(" | "))
    }

    fn view(&self, row: &Row, commands: &[String]) -> Value {
        json!({
            "row": row.name,
            "what": self.figure.what,
            "unit": self.figure.unit,
            "found": self.found.view(),
            "beside": self.beside.as_ref().map(Spread::view),
            "ratio": self.ratio.as_ref().map(Spread::view),
            "goal": self.figure.goal.to_string(),
            "is_reached": self.is_met(),
            "commands": commands,
        })
    }
}

/// Reads a figure from all reports. A figure that a command has repeated itself counts as its median, unless the row is run once.
fn read(reports: &[Value], source: Source, times: Times) -> Result<Spread, CliError> {
    let Source(pointer, factor) = source;
    let mut spread = Spread::default();
    for report in reports {
        let missing = || CliError::failed(format!("a report has no {pointer}: {report}"), None);
        let place = report.pointer(pointer).ok_or_else(missing)?;
        let values: Option<Vec<f64>> = match (place.get("runs"), place.get("median"), times) {
            (Some(runs), _, Times::Once) => runs
                .as_array()
                .map(|runs| runs.iter().filter_map(Value::as_f64).collect()),
            (_, Some(median), Times::EachRound) => median.as_f64().map(|median| vec![median]),
            _ => place.as_f64().map(|value| vec![value]),
        };
        for value in values.ok_or_else(missing)? {
            spread.add(value * factor);
        }
    }
    Ok(spread)
}

/// A median with the smallest and the largest, with as many digits as mean something.
fn short(spread: &Spread, unit: &str) -> String {
    let digits = |value: f64| match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        medium if medium >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    let (min, median, max) = (spread.min(), spread.median(), spread.max());
    let unit = if unit.is_empty() {
        String::new()
    } else {
        format!(" {unit}")
    };
    if spread.count() == 1 {
        return format!("{}{unit}", digits(median));
    }
    format!("{}{unit} ({}-{})", digits(median), digits(min), digits(max))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;
    use crate::cli::bench::table::goal::Goal;

    const FIGURE: Figure = Figure {
        what: "a rate",
        unit: "GB/s",
        found: Source("/rate", 1e-9),
        beside: Some(Source("/figures/limit", 1.0)),
        goal: Goal::RatioAtLeast(0.5),
    };

    fn row(times: Times) -> Row {
        Row {
            name: "r",
            command: "produce",
            yardstick: Some("limit"),
            times,
            figures: &[],
        }
    }

    fn limit(values: &[f64]) -> Value {
        json!({"figures": {"limit": Spread::of(values.iter().copied()).view()}})
    }

    #[test]
    fn a_ratio_is_that_of_each_round_and_the_middle_one_decides() {
        let measured = Measured {
            found: [1e9, 3e9, 2e9].map(|rate| json!({"rate": rate})).to_vec(),
            beside: [&[4.0][..], &[9.0, 5.0, 1.0], &[4.0]].map(limit).to_vec(),
        };
        let line = Line::of(&row(Times::EachRound), &FIGURE, &measured).unwrap();
        assert_eq!(line.ratio, Some(Spread::of([0.25, 0.6, 0.5])));
        assert_eq!(line.is_met(), Some(true));
        let text = line.text("r: `bench x`".to_owned());
        assert_eq!(
            text,
            "| a rate | 2.00 GB/s (1.00-3.00) | 4.00 GB/s (4.00-5.00) | 0.50 (0.25-0.60) | >= 0.5 of it | yes | r: `bench x` |"
        );
    }

    #[test]
    fn a_command_that_is_run_once_gives_its_own_runs() {
        let found = read(
            &[limit(&[3.0, 1.0])],
            Source("/figures/limit", 2.0),
            Times::Once,
        );
        assert_eq!(found.unwrap(), Spread::of([6.0, 2.0]));
        let missing = read(&[json!({})], Source("/rate", 1.0), Times::EachRound);
        assert_eq!(
            missing.unwrap_err().to_string(),
            "a report has no /rate: {}"
        );
    }
}
