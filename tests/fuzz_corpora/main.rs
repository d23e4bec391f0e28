//! The corpora of the fuzz targets as ordinary tests: every file, every prefix of it, and every file with a byte changed.
//!
//! With `REDRIVE_WRITE_CORPORA` set, the seed files are written anew first.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    missing_docs,
    unreachable_pub,
    reason = "tests may panic"
)]

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;
mod seeds;
mod texts;

use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;

fn dir(target: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("fuzz/corpus").join(target)
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = dir(target);
    let mut files: Vec<_> = fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    };
    files.into_iter().map(read).collect()
}

/// Runs a target, and says which input it was that broke a promise.
fn run(body: fn(&[u8]), input: &[u8], what: &str) {
    let result = catch_unwind(|| body(input));
    assert!(result.is_ok(), "{what} breaks a promise: {input:02x?}");
}

#[test]
fn the_seeds_are_the_ones_that_the_code_makes() {
    let is_writing = std::env::var_os("REDRIVE_WRITE_CORPORA").is_some();
    for (target, name, bytes) in seeds::all().into_iter().chain(texts::all()) {
        let path = dir(target).join(name);
        if is_writing {
            fs::create_dir_all(dir(target)).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        let found = fs::read(&path).unwrap_or_default();
        assert_eq!(found, bytes, "{}", path.display());
    }
}

#[test]
fn every_seed_and_its_neighbours_keep_the_promises() {
    for (target, body) in fuzz::TARGETS {
        let files = corpus(target);
        assert!(files.len() > 1, "{target} has no seeds");
        for (path, bytes) in files {
            let what = path.display().to_string();
            run(body, &bytes, &what);
            // Long inputs are taken at every few places, so that all corpora together take seconds.
            let step = bytes.len() / 200 + 1;
            for at in (0..bytes.len()).step_by(step) {
                run(body, &bytes[..at], &format!("{what} cut at {at}"));
                let mut changed = bytes.clone();
                changed[at] ^= 1 << (at % 8);
                run(body, &changed, &format!("{what} changed at {at}"));
            }
        }
    }
}
