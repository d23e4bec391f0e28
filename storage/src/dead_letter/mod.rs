//! Dead letters: what a letter and its resolution look like, which letters are live, and how they are found.

mod fields;
mod hash;
mod sealed;
pub mod limits;
pub mod history;
pub mod fingerprint;
pub mod letter;
pub mod marker;
pub mod live;
pub mod select;
pub mod facets;

#[cfg(test)]
mod samples;
