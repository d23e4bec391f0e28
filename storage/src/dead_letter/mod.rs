//! Dead letters: what a letter and its resolution look like, which letters are live, and how they are found.

mod hash;
mod sealed;
pub mod limits;
pub mod history;
pub mod fingerprint;
pub mod letter;
mod lineage;
pub mod marker;
pub mod live;
pub mod select;
pub mod facets;
mod places;
mod view;
mod fold;
mod batches;
mod log;

pub(crate) use batches::batch_length;
pub use fingerprint::Fingerprint;
pub use history::{Attempt, AttemptResult, ErrorClass, History};
pub use letter::{DeadLetter, Destination, Disposition, Lineage, Receiver, Source};
pub use live::LiveCounts;
pub use log::DeadLetterLog;
pub use marker::{Marker, Resolution};
pub use places::FacetsTask;
pub use view::{DeadLetterView, PlacedLetter};

#[cfg(test)]
mod samples;

#[cfg(test)]
mod tests;
