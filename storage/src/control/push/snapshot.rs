//! The state's bytes in a snapshot; the table is in [`super`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::flow_override::FlowOverride;
use super::queue::Queue;
use super::schedule::Schedule;
use super::signing_keys::SigningKeys;
use super::state::PushState;
use super::url_group::UrlGroup;
use crate::control::fields::{Fields, Output};
use crate::error::Corruption;

/// Bytes of an empty name.
const NAME_BYTES_MIN: u64 = 4;

impl PushState {
    pub(in crate::control) fn encode(&self, out: &mut Output) {
        encode_map(out, &self.queues, Queue::encode);
        encode_map(out, &self.url_groups, |group, out| group.encode(out));
        out.u64(self.next_schedule_number);
        encode_map(out, &self.schedules, |schedule, out| schedule.encode(out));
        encode_map(out, &self.flow_keys, FlowOverride::encode);
        out.optional(self.signing_keys.as_ref(), |out, keys| keys.encode(out));
    }

    pub(in crate::control) fn decode(fields: &mut Fields<'_>) -> Result<Self, Corruption> {
        let state = Self {
            queues: Arc::new(decode_map(
                fields,
                "queue",
                Queue::ENCODED_BYTES_MIN,
                Queue::decode,
            )?),
            url_groups: Arc::new(decode_map(
                fields,
                "url group",
                UrlGroup::ENCODED_BYTES_MIN,
                |fields| UrlGroup::decode(fields).map(Arc::new),
            )?),
            next_schedule_number: fields.u64()?,
            schedules: Arc::new(decode_map(
                fields,
                "schedule",
                Schedule::ENCODED_BYTES_MIN,
                |fields| Schedule::decode(fields).map(Arc::new),
            )?),
            flow_keys: Arc::new(decode_map(
                fields,
                "flow key",
                FlowOverride::ENCODED_BYTES_MIN,
                FlowOverride::decode,
            )?),
            signing_keys: fields.optional("signing keys", SigningKeys::decode)?,
        };
        let mut numbers = state.schedules.values().map(|schedule| schedule.number);
        match numbers.find(|number| *number >= state.next_schedule_number) {
            Some(value) => Err(Corruption::Field {
                field: "schedule number",
                value,
            }),
            None => Ok(state),
        }
    }
}

fn encode_map<T>(out: &mut Output, map: &BTreeMap<String, T>, encode: impl Fn(&T, &mut Output)) {
    out.count(map.len());
    for (name, value) in map {
        out.text(name);
        encode(value, out);
    }
}

/// Decodes a list of names and values, each value of at least `value_bytes_min` bytes.
fn decode_map<T>(
    fields: &mut Fields<'_>,
    field: &'static str,
    value_bytes_min: u64,
    decode: impl Fn(&mut Fields<'_>) -> Result<T, Corruption>,
) -> Result<BTreeMap<String, T>, Corruption> {
    let mut map = BTreeMap::new();
    for index in 0..fields.count(NAME_BYTES_MIN.saturating_add(value_bytes_min))? {
        let name = fields.text(field)?;
        let value = decode(fields)?;
        if map.insert(name, value).is_some() {
            // The place of the one that stands there twice.
            let value = u64::from(index);
            return Err(Corruption::Field { field, value });
        }
    }
    Ok(map)
}
