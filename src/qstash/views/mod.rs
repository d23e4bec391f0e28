//! What this surface answers, in JSON. PURE.

mod message;
mod redact;
mod resources;

pub use message::{DeadLetterJson, LogEntryJson, MessageJson};
pub use resources::{
    EndpointJson, FlowKeyJson, GlobalParallelismJson, PublishedJson, QueueJson, ScheduleFacts,
    ScheduleJson, UrlGroupJson,
};

#[cfg(test)]
mod tests;
