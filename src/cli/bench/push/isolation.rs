//! What one destination that hangs does to the others: runs without it and with it, in turn.

use super::super::super::error::CliError;
use super::super::figures::{Figures, per_second};
use super::{Bench, Start};

/// Measures.
pub(super) async fn measure(bench: &mut Bench, runs: u32) -> Result<Figures, CliError> {
    let mut figures = Figures::default();
    // Warms connections up, and says what half the load is.
    let warm = bench
        .run(bench.count, bench.batch, Start::AtOnce, None)
        .await?;
    let rate = per_second(bench.count, warm.board.elapsed()) / 2.0;
    for _ in 0..runs {
        for is_hanging in [false, true] {
            one(bench, is_hanging, rate, &mut figures).await?;
        }
    }
    let change =
        |name: &str, base: &str| (figures.median(name) / figures.median(base) - 1.0) * 100.0;
    let p99 = change("hanging_p99", "sound_p99");
    let throughput = change("hanging_messages_per_second", "sound_messages_per_second");
    figures.add("rate_of_latencies", "msg/s", rate);
    figures.add("change_of_p99", "%", p99);
    figures.add("change_of_messages_per_second", "%", throughput);
    Ok(figures)
}

async fn one(
    bench: &mut Bench,
    is_hanging: bool,
    rate: f64,
    figures: &mut Figures,
) -> Result<(), CliError> {
    let (speed, latency) = if is_hanging {
        (
            "hanging_messages_per_second",
            ["hanging_p50", "hanging_p99", "hanging_p999"],
        )
    } else {
        (
            "sound_messages_per_second",
            ["sound_p50", "sound_p99", "sound_p999"],
        )
    };
    bench.sink.hang(is_hanging);
    let full = bench
        .send(bench.count, bench.batch, Start::AtOnce, None)
        .await?;
    full.board.wait_watched().await?;
    let board = &full.board;
    figures.add(
        speed,
        "msg/s",
        per_second(board.watched_count(), board.elapsed()),
    );
    // What the hanging one has kept is not to be in the way of the next measurement.
    bench.sink.hang(false);
    board.wait_all().await?;
    bench.sink.hang(is_hanging);
    let paced = bench
        .send(bench.count, bench.batch, Start::AtOnce, Some(rate))
        .await?;
    paced.board.wait_watched().await?;
    figures.add_latencies(latency, &paced.board.latencies(std::time::Duration::ZERO)?);
    bench.sink.hang(false);
    paced.board.wait_all().await
}
