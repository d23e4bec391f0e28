//! What the table measures: commands, their yardsticks, and what is to be reached.
//!
//! A command is one of `redrive bench`, as anyone can type it. A number in braces is divided by `--scale`; `{rounds}` is the
//! number of rounds, for commands that repeat what they measure themselves.

use super::goal::Goal;

/// One row's command, and what is read from its report.
#[derive(Debug)]
pub(super) struct Row {
    /// What `--only` calls it.
    pub(super) name: &'static str,
    pub(super) command: &'static str,
    /// What is run in turn with it.
    pub(super) yardstick: Option<&'static str>,
    pub(super) times: Times,
    pub(super) figures: &'static [Figure],
}

/// How often a row's command is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    /// Once in each round, with a broker of its own.
    EachRound,
    /// Once; it has runs of its own.
    Once,
}

/// One line of the table.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) what: &'static str,
    pub(super) unit: &'static str,
    pub(super) found: Source,
    /// In the yardstick's report, or in the same one if the row has no yardstick.
    pub(super) beside: Option<Source>,
    pub(super) goal: Goal,
}

/// Where in a report a figure stands, and by what it is multiplied to be in the line's unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source(pub(super) &'static str, pub(super) f64);

/// Bytes per second of a load, in GB/s.
const BYTES: Source = Source("/bytes_per_second", 1e-9);
/// Records per second of a load, in thousands.
const RECORDS: Source = Source("/records_per_second", 1e-3);
const P50: Source = Source("/p50_us", 1.0);
/// The broker's memory that is no file's, at its largest, in MB.
const MEMORY: Source = Source(super::turn::PRIVATE_BYTES_MAX, 1e-6);

const fn found(what: &'static str, unit: &'static str, found: Source) -> Figure {
    Figure {
        what,
        unit,
        found,
        beside: None,
        goal: Goal::None,
    }
}

impl Figure {
    const fn beside(mut self, beside: Source) -> Self {
        self.beside = Some(beside);
        self
    }

    const fn goal(mut self, goal: Goal) -> Self {
        self.goal = goal;
        self
    }
}

/// The table.
pub(super) const ROWS: &[Row] = &[
    Row {
        name: "written",
        command: "produce --acks written --records {500000}",
        yardstick: Some("limit --acks written --records {500000}"),
        times: Times::EachRound,
        figures: &[found("produce, written, 1,000 x 1 KiB", "GB/s", BYTES)
            .beside(BYTES)
            .goal(Goal::RatioAtLeast(0.9))],
    },
    Row {
        name: "written-1gib",
        command: "produce --acks written --records {500000} --segment-bytes 1GiB",
        yardstick: Some("limit --acks written --records {500000}"),
        times: Times::EachRound,
        figures: &[found("the same in one segment of 1 GiB", "GB/s", BYTES).beside(BYTES)],
    },
    Row {
        name: "synced",
        command: "produce --records {500000}",
        yardstick: Some("limit --records {500000}"),
        times: Times::EachRound,
        figures: &[found("produce, synced, 1,000 x 1 KiB", "GB/s", BYTES)
            .beside(BYTES)
            .goal(Goal::RatioAtLeast(0.8))],
    },
    Row {
        name: "small",
        command: "produce --acks written --size 100B --records {4000000}",
        yardstick: None,
        times: Times::EachRound,
        figures: &[
            found("produce, written, 1,000 x 100 B", "k records/s", RECORDS)
                .goal(Goal::AtLeast(10_000.0)),
        ],
    },
    Row {
        name: "single",
        command: "produce --batch 1 --window 1 --records {20000}",
        yardstick: Some("limit --batch 1 --window 1 --records {20000}"),
        times: Times::EachRound,
        figures: &[found("one record at a time, synced, p50", "us", P50)
            .beside(P50)
            .goal(Goal::AboveByAtMost(100.0))],
    },
    Row {
        name: "rolls",
        command: "produce --batch 1 --window 1 --records {20000} --segment-bytes 1MiB",
        yardstick: None,
        times: Times::EachRound,
        figures: &[
            found(
                "the same across rolls of 1 MiB, p99",
                "us",
                Source("/p99_us", 1.0),
            ),
            found("the same, p99.9", "us", Source("/p999_us", 1.0)),
        ],
    },
    Row {
        name: "partitions",
        command: "produce --partitions 1000 --connections 4 --window 250 --batch 1 --records {400000}",
        yardstick: None,
        times: Times::EachRound,
        figures: &[found(
            "1,000 partitions, one record in flight in each, synced",
            "k records/s",
            RECORDS,
        )
        .goal(Goal::AtLeast(20.0))],
    },
    Row {
        name: "consume",
        command: "consume --acks written --records {1000000}",
        yardstick: Some("limit --read --records {1000000}"),
        times: Times::EachRound,
        figures: &[found("consume from the page cache, 1 KiB", "GB/s", BYTES)
            .beside(BYTES)
            .goal(Goal::RatioAtLeast(0.9))],
    },
    Row {
        name: "tail",
        command: "tail --acks written --records {1000000}",
        yardstick: None,
        times: Times::EachRound,
        figures: &[
            found(
                "from producer to reader at half load, written, p99",
                "ms",
                Source("/figures/paced_p99", 1e-3),
            )
            .goal(Goal::AtMost(1.0)),
            found(
                "half load, written",
                "k records/s",
                Source("/figures/paced", 1e-3),
            ),
        ],
    },
    Row {
        name: "tail-200k",
        command: "tail --acks written --batch 20 --records {800000} --rate 200000",
        yardstick: None,
        times: Times::EachRound,
        figures: &[
            found(
                "the same at 200,000 records/s, p50",
                "ms",
                Source("/figures/paced_p50", 1e-3),
            ),
            found("the same, p99", "ms", Source("/figures/paced_p99", 1e-3)),
        ],
    },
    Row {
        name: "republish-small",
        command: "letters --letters {200000} --size 100B",
        yardstick: None,
        times: Times::EachRound,
        figures: &[
            found(
                "republish, 100 B",
                "k letters/s",
                Source("/figures/republished", 1e-3),
            )
            .goal(Goal::AtLeast(500.0)),
            found(
                "reject, 100 B, 64 connections",
                "k letters/s",
                Source("/figures/rejected", 1e-3),
            ),
        ],
    },
    Row {
        name: "republish",
        command: "letters --letters {200000}",
        yardstick: Some("limit --records {500000}"),
        times: Times::EachRound,
        figures: &[found(
            "republish, 1 KiB",
            "GB/s",
            Source("/figures/republished_bytes", 1e-3),
        )
        .beside(BYTES)
        .goal(Goal::RatioAtLeast(0.3))],
    },
    Row {
        name: "push",
        command: "push --messages {100000}",
        yardstick: None,
        times: Times::EachRound,
        figures: &[
            found(
                "HTTP push, deliveries alone",
                "k messages/s",
                Source("/figures/deliveries_alone", 1e-3),
            )
            .beside(Source("/figures/bare_client", 1e-3))
            .goal(Goal::RatioAtLeast(0.6)),
            found(
                "published in batches to delivered",
                "k messages/s",
                Source("/figures/publish_in_batches_to_delivery", 1e-3),
            )
            .beside(Source("/figures/bare_client", 1e-3)),
            found(
                "published singly to delivered",
                "k messages/s",
                Source("/figures/publish_singly_to_delivery", 1e-3),
            )
            .beside(Source("/figures/bare_client", 1e-3)),
        ],
    },
    Row {
        name: "isolation",
        command: "push --isolation --messages {100000} --runs {rounds}",
        yardstick: None,
        times: Times::Once,
        figures: &[
            found(
                "one hanging destination of a hundred: the others' messages, beside none hanging",
                "k messages/s",
                Source("/figures/hanging_messages_per_second", 1e-3),
            )
            .beside(Source("/figures/sound_messages_per_second", 1e-3)),
            found(
                "the others' p99 at half load, beside none hanging",
                "ms",
                Source("/figures/hanging_p99", 1e-3),
            )
            .beside(Source("/figures/sound_p99", 1e-3)),
        ],
    },
    Row {
        name: "memory",
        command: "memory --partitions 1000",
        yardstick: None,
        times: Times::EachRound,
        figures: &[found(
            "resident with 1,000 partitions at rest",
            "MB",
            Source("/figures/at_rest_after_writing", 1.0),
        )
        .goal(Goal::AtMost(100.0))],
    },
    Row {
        name: "idle",
        command: "memory --partitions 1000 --connections {10000}",
        yardstick: None,
        times: Times::EachRound,
        figures: &[found(
            "the same with 10,000 idle connections",
            "MB",
            Source("/figures/with_idle_connections", 1.0),
        )],
    },
    Row {
        name: "restart",
        command: "restart --bytes {10737418240} --letters {1000000} --pending {100000} --runs {rounds}",
        yardstick: None,
        times: Times::Once,
        figures: &[found(
            "restart after kill -9, 10 partitions, 10 GiB, 1 M letters, 100 k pending",
            "ms",
            Source("/figures/ready", 1.0),
        )
        .goal(Goal::AtMost(1000.0))],
    },
    Row {
        name: "pages",
        command: "letters --letters {10000000} --urls {1000000} --size 2KiB --looks {rounds}",
        yardstick: None,
        times: Times::Once,
        figures: &[
            found(
                "a page of 100 among 10 M letters of 2 KiB, by label, status and fingerprint, p99",
                "ms",
                Source("/figures/label_page_p99", 1e-3),
            )
            .goal(Goal::AtMost(10.0)),
            found(
                "the letters of one of 1 M URLs among these, with status and fingerprint, p99",
                "ms",
                Source("/figures/url_page_p99", 1e-3),
            )
            .goal(Goal::AtMost(10.0)),
            found(
                "the broker's memory at its largest (100 bytes a letter are 1,000 MB)",
                "MB",
                MEMORY,
            )
            .goal(Goal::AtMost(1000.0)),
            found(
                "published in batches, and dead",
                "k letters/s",
                Source("/figures/published_and_dead", 1e-3),
            ),
        ],
    },
];

/// Returns a command's words for so many rounds, with its numbers divided.
pub(super) fn words(command: &str, rounds: u32, scale: u64) -> Vec<String> {
    let word = |word: &str| {
        let inner = word
            .strip_prefix('{')
            .and_then(|word| word.strip_suffix('}'));
        match inner {
            None => word.to_owned(),
            Some("rounds") => rounds.to_string(),
            Some(number) => {
                let number: u64 = number.parse().unwrap_or_default();
                (number / scale.max(1)).max(1).to_string()
            }
        }
    };
    command.split_whitespace().map(word).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use clap::Parser;

    use super::*;
    use crate::cli::args::Cli;

    #[test]
    fn every_command_of_the_table_is_one() {
        for row in ROWS {
            for command in std::iter::once(row.command).chain(row.yardstick) {
                let all = ["redrive", "bench"].map(str::to_owned).into_iter();
                let parsed = Cli::try_parse_from(all.chain(words(command, 5, 1)));
                assert!(parsed.is_ok(), "{command}: {}", parsed.unwrap_err());
            }
        }
    }

    #[test]
    fn numbers_in_braces_are_divided_and_nothing_else() {
        let found = words(
            "restart --bytes {1000} --letters {3} --runs {rounds} --x 7",
            5,
            10,
        );
        let expected = "restart --bytes 100 --letters 1 --runs 5 --x 7";
        assert_eq!(found.join(" "), expected);
    }
}
