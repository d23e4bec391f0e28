//! `/v2/flowControl` and `/v2/globalParallelism`.

use super::call::{Answer, Call, done, ok};
use super::headers::cut;
use super::limits::{FLOW_NUMBER_MAX, PERIOD_MS};
use super::views::{FlowKeyJson, GlobalParallelismJson};
use crate::broker::{FlowPin, FlowUnpin};
use crate::delivery::duration::parse_duration_ms;
use crate::http::ApiError;
use crate::names::FlowKey;

/// Lists the keys.
pub(super) async fn list(call: Call) -> Answer {
    let views = call.broker.flow_views().into_iter();
    ok(&views.map(FlowKeyJson::from).collect::<Vec<_>>())
}

/// Returns a key.
pub(super) async fn get(call: Call) -> Answer {
    let key = parse(&call.name)?;
    let view = call.broker.flow_view(key.as_str());
    let view = view.ok_or_else(|| {
        ApiError::not_found(format!(
            "there is no flow-control key {:?}",
            cut(&call.name)
        ))
    })?;
    ok(&FlowKeyJson::from(view))
}

/// Delivers nothing with a key.
pub(super) async fn pause(call: Call) -> Answer {
    set_paused(&call, true).await
}

/// Delivers messages with a key again.
pub(super) async fn resume(call: Call) -> Answer {
    set_paused(&call, false).await
}

async fn set_paused(call: &Call, is_paused: bool) -> Answer {
    let key = parse(&call.name)?;
    call.blocking(move |broker| broker.pause_flow_key(&key, is_paused))
        .await?;
    done()
}

/// Fixes limits of a key.
pub(super) async fn pin(call: Call) -> Answer {
    let key = parse(&call.name)?;
    let limit = |name: &str| {
        let text = call.query.one(name)?;
        text.map(|text| limit(name, text)).transpose()
    };
    let pin = FlowPin {
        parallelism: limit("parallelism")?,
        rate: limit("rate")?,
        period_ms: call.query.one("period")?.map(period_ms).transpose()?,
    };
    call.blocking(move |broker| broker.pin_flow_key(&key, pin))
        .await?;
    done()
}

/// Lets messages set the limits of a key again.
pub(super) async fn unpin(call: Call) -> Answer {
    let key = parse(&call.name)?;
    let unpin = FlowUnpin {
        parallelism: call.query.switch("parallelism")?,
        rate: call.query.switch("rate")?,
    };
    call.blocking(move |broker| broker.unpin_flow_key(&key, unpin))
        .await?;
    done()
}

/// Begins a new period of a key. A key that nothing has used has no period.
pub(super) async fn reset_rate(call: Call) -> Answer {
    let key = parse(&call.name)?;
    let _is_known = call.broker.reset_rate(key.as_str());
    done()
}

/// Returns how many attempts are under way.
pub(super) async fn global_parallelism(call: Call) -> Answer {
    ok(&GlobalParallelismJson::from(
        call.broker.global_parallelism(),
    ))
}

/// Parses a limit as a message may give it too.
fn limit(name: &str, text: &str) -> Result<u32, ApiError> {
    let number = text.parse().ok();
    number
        .filter(|number| (1..=FLOW_NUMBER_MAX).contains(number))
        .ok_or_else(|| {
            ApiError::bad_request(format!(
                "the query parameter {name} is {:?}, it must be a whole number from 1 to {FLOW_NUMBER_MAX}",
                cut(text)
            ))
        })
}

fn period_ms(text: &str) -> Result<u64, ApiError> {
    let period = parse_duration_ms(text).ok();
    period
        .filter(|period| PERIOD_MS.contains(period))
        .ok_or_else(|| {
            ApiError::bad_request(format!(
                "the query parameter period is {:?}, it must be a time from 1s to 7d, as 60 (seconds) or 1m",
                cut(text)
            ))
        })
}

fn parse(key: &str) -> Result<FlowKey, ApiError> {
    FlowKey::parse(key).map_err(|error| ApiError::bad_request(error.to_string()))
}
