//! The plot: for each number a panel with a bar for each server, on a logarithmic scale, with the range of the rounds.

use std::fmt::Write as _;

use crate::report::{COLUMNS, Results};

const PANEL_WIDTH: f64 = 620.0;
const NAME_WIDTH: f64 = 330.0;
const BAR_WIDTH: f64 = PANEL_WIDTH - NAME_WIDTH - 90.0;
const LINE: f64 = 18.0;

/// Draws all columns.
pub fn svg(results: &Results) -> String {
    let variants = results.variants();
    let panel_height = 34.0 + LINE * variants.len() as f64;
    let height = panel_height * COLUMNS.len().div_ceil(2) as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        PANEL_WIDTH * 2.0
    );
    for (at, column) in COLUMNS.iter().enumerate() {
        let x = PANEL_WIDTH * (at % 2) as f64;
        let y = panel_height * (at / 2) as f64;
        let _ok = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" font-weight=\"bold\">{} (logarithmic)</text>",
            x + 8.0,
            y + 18.0,
            column.title
        );
        let spreads: Vec<_> = variants
            .iter()
            .map(|of| results.spread(*of, column.key))
            .collect();
        let numbers = || spreads.iter().flatten();
        let low = numbers()
            .map(|spread| spread.min)
            .fold(f64::MAX, f64::min)
            .max(1e-9);
        let high = numbers()
            .map(|spread| spread.max)
            .fold(low * 1.01, f64::max);
        // One decade below the smallest, so that its bar can be seen.
        let place = |number: f64| {
            let from = low.log10() - 0.5;
            (number.max(1e-9).log10() - from) / (high.log10() - from) * BAR_WIDTH
        };
        for (row, (variant, spread)) in variants.iter().zip(&spreads).enumerate() {
            let Some(spread) = spread else { continue };
            let top = y + 26.0 + LINE * row as f64;
            let left = x + NAME_WIDTH;
            let color = match variant.name().split([',', ' ']).next() {
                Some("Redrive") => "#c0392b",
                Some("NATS") => "#2980b9",
                _ => "#7f8c8d",
            };
            let width = place(spread.median);
            let (from, to) = (left + place(spread.min), left + place(spread.max));
            let middle = top + LINE / 2.0 - 2.0;
            let name = variant.name();
            let _ok = writeln!(
                out,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>\
                 <rect x=\"{left}\" y=\"{top}\" width=\"{width:.1}\" height=\"{}\" fill=\"{color}\"/>\
                 <line x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{middle}\" y2=\"{middle}\" stroke=\"black\"/>\
                 <text x=\"{:.1}\" y=\"{}\">{}</text>",
                left - 6.0,
                top + 11.0,
                LINE - 4.0,
                to.max(left + width) + 4.0,
                top + 11.0,
                column.shown(spread.median),
            );
        }
    }
    out.push_str("</svg>\n");
    out
}
