//! URL groups: which endpoints they have, and that a publish to one is for all of them or none.

use std::collections::{BTreeMap, BTreeSet};

use super::known::Known;
use crate::log_model::Broken;

/// A publish to a group.
#[derive(Debug, Default)]
struct Fanout {
    group: String,
    /// URLs that it goes to if it goes anywhere, and those that it may go to.
    must: BTreeSet<String>,
    may: BTreeSet<String>,
    /// It may still be done.
    is_open: bool,
    is_answered: bool,
    arrived: BTreeSet<String>,
}

/// Groups and what was published to them.
#[derive(Debug, Default)]
pub(crate) struct GroupModel {
    /// By group and URL.
    endpoints: BTreeMap<(String, String), Known>,
    fanouts: BTreeMap<u64, Fanout>,
    pub(super) published: u64,
}

impl GroupModel {
    pub(crate) fn broker_has_ended(&mut self) {
        for known in self.endpoints.values_mut() {
            known.broker_has_ended();
        }
        for fanout in self.fanouts.values_mut() {
            fanout.is_open = false;
        }
    }

    /// An endpoint is to be added or removed.
    pub(crate) fn change_tried(&mut self, group: &str, url: &str) {
        let key = (group.to_owned(), url.to_owned());
        self.endpoints.entry(key).or_default().tried();
        for fanout in self.fanouts.values_mut() {
            if fanout.is_open && fanout.group == group {
                fanout.must.remove(url);
                fanout.may.insert(url.to_owned());
            }
        }
    }

    pub(crate) fn change_answered(&mut self, group: &str, url: &str, is_there: bool) {
        let key = (group.to_owned(), url.to_owned());
        self.endpoints.entry(key).or_default().answered(is_there);
    }

    /// The first answer of a life about a group: the URLs that it has.
    pub(crate) fn found(&mut self, group: &str, urls: &BTreeSet<String>) -> Result<(), Broken> {
        for url in urls {
            let key = (group.to_owned(), url.clone());
            self.endpoints.entry(key).or_default();
        }
        for ((name, url), known) in &mut self.endpoints {
            if name == group {
                let held = known.found(urls.contains(url));
                held.map_err(|error| format!("endpoint {url} of {group}: {error}"))?;
            }
        }
        Ok(())
    }

    /// A message is published to a group.
    pub(crate) fn publish(&mut self, token: u64, group: &str) {
        let of_group = self.endpoints.iter().filter(|((name, _), _)| name == group);
        let urls = |is_wanted: fn(Known) -> bool| {
            let wanted = of_group.clone().filter(|(_, known)| is_wanted(**known));
            wanted.map(|((_, url), _)| url.clone()).collect()
        };
        let fanout = Fanout {
            group: group.to_owned(),
            must: urls(|known| known == Known::Yes),
            may: urls(|known| known != Known::No),
            is_open: true,
            ..Fanout::default()
        };
        self.fanouts.insert(token, fanout);
    }

    /// The publish was answered with these URLs, and the places of their messages.
    pub(crate) fn published(
        &mut self,
        token: u64,
        answered: &[(String, (u32, u64))],
    ) -> Result<(), Broken> {
        self.published += 1;
        let Some(fanout) = self.fanouts.get_mut(&token) else {
            return Ok(());
        };
        let urls: BTreeSet<_> = answered.iter().map(|(url, _)| url.clone()).collect();
        let is_right = urls.len() == answered.len()
            && fanout.must.is_subset(&urls)
            && urls.is_subset(&fanout.may);
        let is_one_batch = answered.windows(2).all(|two| {
            let (one, next) = (two[0].1, two[1].1);
            one.0 == next.0 && one.1 + 1 == next.1
        });
        if !is_right || !is_one_batch || urls.is_empty() {
            return Err(format!(
                "{token} was published as {answered:?}, and is {fanout:?}"
            ));
        }
        (fanout.is_open, fanout.is_answered) = (false, true);
        fanout.must.clone_from(&urls);
        fanout.may = urls;
        Ok(())
    }

    /// The publish was answered with an earlier one's messages: nothing goes anywhere for it.
    pub(super) fn repeated(&mut self, token: u64) {
        if let Some(fanout) = self.fanouts.get_mut(&token) {
            fanout.is_open = false;
            fanout.must.clear();
            fanout.may.clear();
        }
    }

    /// The publish was refused because there is no such group.
    pub(crate) fn unknown(&mut self, token: u64) -> Result<(), Broken> {
        let Some(fanout) = self.fanouts.get_mut(&token) else {
            return Ok(());
        };
        if !fanout.must.is_empty() {
            return Err(format!("{token} went to no group, and is {fanout:?}"));
        }
        fanout.is_open = false;
        fanout.may.clear();
        Ok(())
    }

    /// A message of a publish reaches an endpoint.
    pub(crate) fn arrived(&mut self, token: u64, url: &str) -> Result<(), Broken> {
        let Some(fanout) = self.fanouts.get_mut(&token) else {
            return Ok(());
        };
        if !fanout.may.contains(url) {
            return Err(format!("{token} reaches {url}, and is {fanout:?}"));
        }
        fanout.arrived.insert(url.to_owned());
        Ok(())
    }

    /// What nobody was told of has gone to all endpoints or to none; what was answered is looked after message by message.
    /// Called when nothing is pending.
    pub(crate) fn check_ends(&self) -> Result<(), Broken> {
        let is_torn = |fanout: &Fanout| {
            let is_some = !fanout.arrived.is_empty();
            !fanout.is_answered && is_some && !fanout.must.is_subset(&fanout.arrived)
        };
        match self.fanouts.iter().find(|(_, fanout)| is_torn(fanout)) {
            Some((token, fanout)) => Err(format!("{token} went to some: {fanout:?}")),
            None => Ok(()),
        }
    }
}
