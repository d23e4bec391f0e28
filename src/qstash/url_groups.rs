//! `/v2/topics`: URL groups and their endpoints.

use serde::Deserialize;
use storage::control::push::{Endpoint, UrlGroup};

use super::call::{Answer, Call, done, ok};
use super::headers::cut_url;
use super::limits::ENDPOINTS_PER_REQUEST_MAX;
use super::views::{EndpointJson, UrlGroupJson};
use crate::broker::EndpointMatch;
use crate::delivery::destination::Destination;
use crate::http::ApiError;
use crate::http::parameters::json;
use crate::names::UrlGroupName;

/// Endpoints to add or to remove.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Endpoints {
    endpoints: Vec<EndpointAsked>,
}

/// An endpoint, by its name, its URL, or both.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointAsked {
    name: Option<String>,
    url: Option<String>,
}

/// Lists the URL groups.
pub(super) async fn list(call: Call) -> Answer {
    let groups = call.broker.list_url_groups().into_iter();
    let groups = groups.map(|(name, group)| view(name, &group));
    ok(&groups.collect::<Vec<_>>())
}

/// Returns a URL group.
pub(super) async fn get(call: Call) -> Answer {
    let name = parse(&call.name)?;
    let group = call.broker.url_group(&name);
    let group = group.map_err(|refusal| call.refused(&refusal))?;
    ok(&view(name.to_string(), &group))
}

/// Deletes a URL group.
pub(super) async fn delete(call: Call) -> Answer {
    let name = parse(&call.name)?;
    call.blocking(move |broker| broker.delete_url_group(&name))
        .await?;
    done()
}

/// Adds endpoints.
pub(super) async fn add(call: Call) -> Answer {
    let name = parse(&call.name)?;
    let asked = asked(&call.body)?.into_iter().enumerate();
    let added: Result<Vec<_>, _> = asked.map(|(at, one)| endpoint(at, one)).collect();
    let added = added?;
    call.blocking(move |broker| broker.add_endpoints(&name, &added))
        .await?;
    done()
}

/// Removes endpoints.
pub(super) async fn remove(call: Call) -> Answer {
    let name = parse(&call.name)?;
    let matches = |one: EndpointAsked| EndpointMatch {
        name: given(one.name),
        url: given(one.url),
    };
    let removed: Vec<_> = asked(&call.body)?.into_iter().map(matches).collect();
    call.blocking(move |broker| broker.remove_endpoints(&name, &removed))
        .await?;
    done()
}

fn asked(body: &[u8]) -> Result<Vec<EndpointAsked>, ApiError> {
    let Endpoints { endpoints } = json(body)?;
    if endpoints.len() > ENDPOINTS_PER_REQUEST_MAX {
        return Err(ApiError::bad_request(format!(
            "endpoints has {} members, it may have {ENDPOINTS_PER_REQUEST_MAX}",
            endpoints.len()
        )));
    }
    Ok(endpoints)
}

fn endpoint(at: usize, asked: EndpointAsked) -> Result<Endpoint, ApiError> {
    let url = given(asked.url).ok_or_else(|| {
        ApiError::bad_request(format!(
            "endpoints[{at}] has no url, it must have one such as https://example.com/api"
        ))
    })?;
    let destination = Destination::parse(&url).map_err(|error| {
        ApiError::bad_request(format!(
            "endpoints[{at}].url is {:?}: {error}",
            cut_url(&url)
        ))
    })?;
    Ok(Endpoint {
        name: given(asked.name),
        url: destination.as_str().to_owned(),
    })
}

/// An empty text is none.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn parse(name: &str) -> Result<UrlGroupName, ApiError> {
    UrlGroupName::parse(name).map_err(|error| ApiError::bad_request(error.to_string()))
}

fn view(name: String, group: &UrlGroup) -> UrlGroupJson {
    let endpoint = |endpoint: &Endpoint| EndpointJson {
        name: endpoint.name.clone(),
        url: endpoint.url.clone(),
    };
    UrlGroupJson {
        name,
        created_at: group.created.0,
        updated_at: group.updated.0,
        endpoints: group.endpoints.iter().map(endpoint).collect(),
    }
}
