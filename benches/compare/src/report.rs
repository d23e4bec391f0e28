//! What all rounds found: as JSON with every number, as a table of medians with their range, and as a plot.

use std::path::Path;

use serde_json::{Value, json};

use crate::install::Tools;
use crate::turn::{Sizes, Variant};
use crate::{Error, Result, plot};

/// One column: its key in the JSON, its title, its unit's divisor, its digits.
pub struct Column {
    /// Key of the number.
    pub key: &'static str,
    /// Title with the unit.
    pub title: &'static str,
    divisor: f64,
    digits: usize,
}

const fn column(key: &'static str, title: &'static str, divisor: f64, digits: usize) -> Column {
    Column {
        key,
        title,
        divisor,
        digits,
    }
}

impl Column {
    /// Returns a number in the column's unit.
    pub fn shown(&self, number: f64) -> String {
        format!("{:.*}", self.digits, number / self.divisor)
    }
}

/// What is shown.
pub const COLUMNS: [Column; 13] = [
    column("produce_1k", "produce 1 KiB, k records/s", 1e3, 1),
    column("produce_100b", "produce 100 B, k records/s", 1e3, 1),
    column("consume_1k", "consume 1 KiB, k records/s", 1e3, 1),
    column("consume_100b", "consume 100 B, k records/s", 1e3, 1),
    column("single_p50_us", "one at a time p50, us", 1.0, 0),
    column("single_p99_us", "one at a time p99, us", 1.0, 0),
    column("through_1k", "through, k records/s", 1e3, 1),
    column("half_p50_us", "half load p50, us", 1.0, 0),
    column("half_p99_us", "half load p99, us", 1.0, 0),
    column("half_p999_us", "half load p99.9, us", 1.0, 0),
    column("even_p50_us", "40 k/s p50, us", 1.0, 0),
    column("even_p99_us", "40 k/s p99, us", 1.0, 0),
    column("even_p999_us", "40 k/s p99.9, us", 1.0, 0),
];

/// Minimum, median, maximum.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// The middle one; of an even count the larger of the two.
    pub median: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of some numbers.
    pub fn of(mut numbers: Vec<f64>) -> Option<Self> {
        numbers.sort_by(f64::total_cmp);
        Some(Self {
            min: *numbers.first()?,
            median: *numbers.get(numbers.len() / 2)?,
            max: *numbers.last()?,
        })
    }
}

/// What was found so far.
pub struct Results {
    head: Value,
    limits: Vec<Value>,
    turns: Vec<(Variant, Value)>,
    failures: Vec<Value>,
}

impl Results {
    /// Begins with what is known before the first turn.
    pub fn new(rounds: u32, sizes: Sizes, tools: &Tools) -> Self {
        let left_out = tools
            .left_out
            .iter()
            .map(|(peer, why)| json!({ "peer": peer, "why": why }));
        let head = json!({
            "date": crate::install::run(std::process::Command::new("date").arg("-u").arg("+%F %H:%M UTC"))
                .unwrap_or_default(),
            "machine": machine(),
            "rounds": rounds,
            "seconds": sizes.time.as_secs_f64(),
            "bytes_max": sizes.bytes,
            "versions": tools.versions,
            "left_out": left_out.collect::<Vec<_>>(),
        });
        Self {
            head,
            limits: Vec::new(),
            turns: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Adds what the yardstick of this machine gave.
    pub fn add_limits(&mut self, limits: Value) {
        self.limits.push(limits);
    }

    /// Adds a turn.
    pub fn add(&mut self, variant: Variant, found: Value) {
        self.turns.push((variant, found));
    }

    /// Adds a turn that gave nothing, and why.
    pub fn add_failure(&mut self, variant: Variant, round: u32, error: &Error) {
        self.failures.push(json!({
            "server": variant.name(),
            "round": round,
            "why": error.to_string(),
        }));
    }

    /// Returns how many turns gave nothing.
    pub fn failure_count(&self) -> usize {
        self.failures.len()
    }

    /// Returns the variants in the order of the table.
    pub fn variants(&self) -> Vec<Variant> {
        let mut variants: Vec<Variant> = self.turns.iter().map(|(variant, _)| *variant).collect();
        variants.sort_by_key(|variant| *variant as u8);
        variants.dedup();
        variants
    }

    /// Returns what the rounds say about one number of one variant.
    pub fn spread(&self, variant: Variant, key: &str) -> Option<Spread> {
        let of = self.turns.iter().filter(|(of, _)| *of == variant);
        Spread::of(of.filter_map(|(_, found)| found[key].as_f64()).collect())
    }

    /// Writes all three.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let turns = self
            .turns
            .iter()
            .map(|(variant, found)| json!({ "server": variant.name(), "found": found }));
        let all = json!({
            "run": self.head,
            "limits": self.limits,
            "turns": turns.collect::<Vec<_>>(),
            "failures": self.failures,
        });
        std::fs::write(
            directory.join("results.json"),
            serde_json::to_vec_pretty(&all)?,
        )?;
        std::fs::write(directory.join("results.md"), self.markdown())?;
        std::fs::write(directory.join("results.svg"), plot::svg(self))?;
        Ok(())
    }

    /// Returns the tables: medians, with the smallest and the largest in brackets.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "{}, {}, {} rounds\n{}\n\n",
            self.head["date"].as_str().unwrap_or_default(),
            self.head["machine"].as_str().unwrap_or_default(),
            self.limits.len(),
            self.head["versions"],
        );
        for (kind, title) in [("written", "written"), ("synced", "synced")] {
            let rates = self.limits.iter().filter_map(|limit| limit[kind].as_f64());
            if let Some(spread) = Spread::of(rates.collect()) {
                text += &format!(
                    "limit, {title}: {} k records/s of 1 KiB\n",
                    shown(spread, 1e3, 1)
                );
            }
        }
        for columns in COLUMNS.chunks(5) {
            text += "\n| |";
            columns
                .iter()
                .for_each(|column| text += &format!(" {} |", column.title));
            text += "\n|---|";
            columns.iter().for_each(|_| text += "---|");
            text += "\n";
            for variant in self.variants() {
                text += &format!("| {} |", variant.name());
                for column in columns {
                    let spread = self.spread(variant, column.key);
                    let cell = spread.map(|spread| shown(spread, column.divisor, column.digits));
                    text += &format!(" {} |", cell.unwrap_or_default());
                }
                text += "\n";
            }
        }
        text += "\nSettings, as read back from the running servers:\n\n";
        for variant in self.variants() {
            let found = self.turns.iter().find(|(of, _)| *of == variant);
            let effective = found.map(|(_, found)| found["effective"].to_string());
            text += &format!(
                "- {}: `{}`\n",
                variant.name(),
                effective.unwrap_or_default()
            );
        }
        for failure in &self.failures {
            text += &format!(
                "- failed: {} in round {}: {}\n",
                failure["server"], failure["round"], failure["why"]
            );
        }
        for left in self.head["left_out"].as_array().into_iter().flatten() {
            text += &format!("- left out: {}: {}\n", left["peer"], left["why"]);
        }
        text
    }
}

fn shown(spread: Spread, divisor: f64, digits: usize) -> String {
    let [min, median, max] = [spread.min, spread.median, spread.max].map(|number| number / divisor);
    format!("{median:.digits$} ({min:.digits$}-{max:.digits$})")
}

/// The class of the machine: processors, memory, kernel.
fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = memory
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .trim()
                .strip_suffix("kB")?
                .trim()
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{processors} processors, {} GiB, Linux {}",
        kib >> 20,
        kernel.trim()
    )
}
