//! What must hold of pushed messages: every one that was accepted comes to one end, within the attempts that it has.

use std::collections::BTreeMap;

/// What the broker counts of its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Balance {
    pub(crate) accepted: u64,
    pub(crate) pending: u64,
    pub(crate) in_flight: u64,
    pub(crate) delivered: u64,
    pub(crate) cancelled: u64,
    pub(crate) dead_lettered: u64,
}

/// A live dead letter of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeadMessage {
    pub(crate) letter: String,
    pub(crate) message: String,
    pub(crate) body: String,
}

/// What is published under one body, which no other publication has.
#[derive(Debug)]
struct Publication {
    /// Attempts that it has: the first one and its retries.
    attempts_max: u64,
    /// Attempts of the first message that its destination refuses.
    refused: u64,
    /// The message id that publish was answered with, or that came to the destination first.
    first: Option<String>,
    is_acknowledged: bool,
    /// Message ids that were seen, with what is known of each.
    messages: BTreeMap<String, Message>,
    /// Crashes before it was published.
    born: u64,
    /// If it stands in the queue: the bodies there that were acknowledged before it went out and had not ended.
    waits_for: Option<Vec<String>>,
    /// The letter of its first message, once it was seen.
    letter: Option<String>,
    /// Whether a retry of that letter went out, and what it was answered with.
    is_retrying: bool,
    retried: Option<String>,
    /// Attempts that were refused while the power went.
    in_the_dark: u64,
    /// The letter of the retried message, which has died of such an attempt.
    dark_letter: Option<String>,
}

#[derive(Debug, Default)]
struct Message {
    attempts: u64,
    is_delivered: bool,
}

/// Everything that is published to one broker.
#[derive(Debug, Default)]
pub(crate) struct Push {
    publications: BTreeMap<String, Publication>,
    crashes: u64,
}

impl Push {
    /// A message goes out now, to the queue or not.
    pub(crate) fn publishing(
        &mut self,
        body: &str,
        (retries, refused): (u64, u64),
        is_queued: bool,
    ) {
        let before = self.publications.iter().filter(|(_, before)| {
            before.waits_for.is_some() && before.is_acknowledged && !before.has_ended()
        });
        let publication = Publication {
            waits_for: is_queued.then(|| before.map(|(body, _)| body.clone()).collect()),
            attempts_max: retries + 1,
            refused,
            first: None,
            is_acknowledged: false,
            messages: BTreeMap::new(),
            born: self.crashes,
            letter: None,
            is_retrying: false,
            retried: None,
            in_the_dark: 0,
            dark_letter: None,
        };
        self.publications.insert(body.to_owned(), publication);
    }

    /// What was published and not answered, or everything, with the retries that it was given: a client sends it again with
    /// the same deduplication id.
    pub(crate) fn to_repeat(&self, is_all: bool) -> Vec<(String, u64, bool)> {
        let all = self.publications.iter();
        let wanted = all.filter(|(_, publication)| is_all || !publication.is_acknowledged);
        wanted
            .map(|(body, publication)| {
                let retries = publication.attempts_max - 1;
                (body.clone(), retries, publication.waits_for.is_some())
            })
            .collect()
    }

    pub(crate) fn published(&mut self, body: &str, message: &str) -> Result<(), String> {
        let publication = self.known(body)?;
        publication.first.get_or_insert_with(|| message.to_owned());
        publication.is_acknowledged = true;
        publication.check_messages(body, message)
    }

    /// An attempt has come while the power went, and was refused: whether that one was written down nobody knows, and it may have
    /// been the last that the message had.
    pub(crate) fn attempted_in_the_dark(&mut self, body: &str) {
        if let Some(publication) = self.publications.get_mut(body) {
            publication.in_the_dark += 1;
        }
    }

    /// An attempt has come to the destination. Returns whether it takes the message.
    pub(crate) fn attempted(&mut self, message: &str, body: &str) -> (bool, Result<(), String>) {
        let crashes = self.crashes;
        let overtaken = self.overtaken(body);
        let publication = match self.known(body) {
            Ok(publication) => publication,
            Err(broken) => return (true, Err(broken)),
        };
        let first = publication.first.get_or_insert_with(|| message.to_owned());
        let is_first = first == message;
        let seen = publication.messages.entry(message.to_owned()).or_default();
        seen.attempts += 1;
        let is_taken = !is_first || seen.attempts > publication.refused;
        seen.is_delivered |= is_taken;
        let allowed = publication.attempts_max + crashes - publication.born;
        let attempts = seen.attempts;
        let judged = if let Some(before) = overtaken.filter(|_| is_first && attempts == 1) {
            Err(format!(
                "{body} came before {before}, which stands before it in the queue"
            ))
        } else if attempts > allowed {
            Err(format!(
                "message {message} ({body}) has had {attempts} attempts, {allowed} are allowed with {crashes} crashes"
            ))
        } else {
            publication.check_messages(body, message)
        };
        (is_taken, judged)
    }

    /// A message of the queue that must come to its end before this one begins, and has not.
    fn overtaken(&self, body: &str) -> Option<String> {
        let mut waits_for = self.publications.get(body)?.waits_for.iter().flatten();
        let is_open = |before: &&String| {
            let before = self.publications.get(before.as_str());
            before.is_some_and(|before| !before.has_ended())
        };
        waits_for.find(is_open).cloned()
    }

    pub(crate) fn retrying(&mut self, letter: &str) {
        if let Some(publication) = self.of_letter(letter) {
            publication.is_retrying = true;
        }
    }

    /// A retry of a letter was answered with its fresh message.
    pub(crate) fn retried(&mut self, letter: &str, message: &str) -> Result<(), String> {
        let Some(publication) = self.of_letter(letter) else {
            return Err(format!("nobody knows the letter {letter} that was retried"));
        };
        let before = publication.retried.replace(message.to_owned());
        match before {
            Some(before) if before != message => Err(format!(
                "letter {letter} was retried as {before} and as {message}"
            )),
            _ => Ok(()),
        }
    }

    fn of_letter(&mut self, letter: &str) -> Option<&mut Publication> {
        let mut all = self.publications.values_mut();
        all.find(|publication| publication.letter.as_deref() == Some(letter))
    }

    fn known(&mut self, body: &str) -> Result<&mut Publication, String> {
        let publication = self.publications.get_mut(body);
        publication.ok_or_else(|| format!("nobody published {body:?}"))
    }

    pub(crate) fn crashed(&mut self) {
        self.crashes += 1;
    }

    /// Letters that were seen live, for retries: those that were not retried, or all.
    pub(crate) fn letters(&self, is_retried: bool) -> Vec<String> {
        let all = self.publications.values();
        let wanted = all.filter(|publication| publication.retried.is_some() == is_retried);
        wanted
            .filter_map(|publication| publication.letter.clone())
            .collect()
    }

    /// Letters whose retry has an unknown end.
    pub(crate) fn unsettled(&self) -> Vec<String> {
        let all = self.publications.values();
        let unsettled =
            all.filter(|publication| publication.is_retrying && publication.retried.is_none());
        unsettled
            .filter_map(|publication| publication.letter.clone())
            .collect()
    }

    /// Takes in letters that were seen while others were at work on them.
    pub(crate) fn seen(&mut self, letters: &[DeadMessage]) {
        for DeadMessage { letter, body, .. } in letters {
            if let Ok(publication) = self.known(body) {
                publication.letter.get_or_insert_with(|| letter.clone());
            }
        }
    }

    /// Judges the live letters of a broker that nobody asks for anything at this moment; those that are new are taken in.
    pub(crate) fn listed(&mut self, letters: &[DeadMessage]) -> Result<(), String> {
        for DeadMessage {
            letter,
            message,
            body,
        } in letters
        {
            let publication = self.known(body)?;
            if publication.refused + publication.in_the_dark < publication.attempts_max {
                return Err(format!(
                    "message {message} ({body}) is dead, it was to be taken"
                ));
            }
            if publication
                .first
                .as_ref()
                .is_some_and(|first| first != message)
            {
                let known = publication
                    .dark_letter
                    .get_or_insert_with(|| letter.clone());
                if publication.in_the_dark > 0 && publication.is_retrying && known == letter {
                    continue;
                }
                return Err(format!(
                    "message {message} ({body}) is dead, it was to be taken"
                ));
            }
            if publication.retried.is_some() {
                return Err(format!(
                    "letter {letter} of {body} was retried and lives again"
                ));
            }
            match &publication.letter {
                Some(before) if before != letter => {
                    return Err(format!(
                        "message {message} ({body}) died twice: {before}, {letter}"
                    ));
                }
                _ => publication.letter = Some(letter.clone()),
            }
        }
        Ok(())
    }

    /// Judges the sum: it must hold at every moment.
    pub(crate) fn balanced(balance: &Balance) -> Result<(), String> {
        let ends = balance.delivered + balance.cancelled + balance.dead_lettered;
        if balance.accepted == balance.pending + balance.in_flight + ends {
            Ok(())
        } else {
            Err(format!("messages do not add up: {balance:?}"))
        }
    }

    /// Judges everything once no message is on its way and no retry is unsettled.
    pub(crate) fn settled(&self, balance: &Balance) -> Result<(), String> {
        let (mut seen, mut dead) = (0, 0);
        for (body, publication) in &self.publications {
            let is_to_die = publication.refused >= publication.attempts_max;
            seen += publication.messages.len() as u64;
            dead += u64::from(publication.letter.is_some());
            let Some(first) = &publication.first else {
                continue;
            };
            let is_delivered = |id: &str| {
                let message = publication.messages.get(id);
                message.is_some_and(|message| message.is_delivered)
            };
            if !publication.messages.contains_key(first) {
                // All that came of it was refused while the power went, and it died of that.
                if publication.in_the_dark == 0 || publication.letter.is_none() {
                    return Err(format!("message {first} ({body}) is lost"));
                }
                seen += 1;
            }
            if is_to_die && publication.letter.is_none() {
                return Err(format!("message {first} ({body}) has no letter"));
            }
            let has_died_in_the_dark = publication.in_the_dark > 0 && publication.letter.is_some();
            if !is_to_die && !has_died_in_the_dark && !is_delivered(first) {
                return Err(format!("message {first} ({body}) was never delivered"));
            }
            if publication.dark_letter.is_some() {
                dead += 1;
                let fresh = publication.retried.as_ref();
                let has_come = fresh.is_some_and(|id| publication.messages.contains_key(id));
                seen += u64::from(!has_come);
            } else if let Some(fresh) = &publication.retried
                && !is_delivered(fresh)
            {
                return Err(format!(
                    "the retried message {fresh} ({body}) was never delivered"
                ));
            }
        }
        if balance.accepted != seen {
            let accepted = balance.accepted;
            return Err(format!("{accepted} messages are accepted, {seen} came"));
        }
        if balance.dead_lettered != dead {
            let counted = balance.dead_lettered;
            return Err(format!(
                "{counted} messages are dead, there are {dead} letters"
            ));
        }
        Ok(())
    }
}

impl Publication {
    /// Whether its first message has come to its end, as far as the destination can tell.
    fn has_ended(&self) -> bool {
        let first = self
            .first
            .as_ref()
            .and_then(|first| self.messages.get(first));
        let is_to_die = self.refused >= self.attempts_max;
        let attempts = first.map_or(0, |first| first.attempts);
        let may_be_dead = self.in_the_dark > 0 && attempts + self.in_the_dark >= self.attempts_max;
        may_be_dead
            || first.is_some_and(|first| {
                first.is_delivered || (is_to_die && first.attempts >= self.attempts_max)
            })
    }

    /// One message for the publication, and one for its letter's retry.
    fn check_messages(&self, body: &str, message: &str) -> Result<(), String> {
        let is_first = self.first.as_deref() == Some(message);
        let fresh: Vec<_> = self
            .messages
            .keys()
            .filter(|id| self.first.as_ref() != Some(*id))
            .collect();
        let is_asked_for = fresh.len() <= usize::from(self.is_retrying);
        if is_asked_for && (is_first || self.is_retrying) {
            return Ok(());
        }
        let (first, acknowledged) = (&self.first, self.is_acknowledged);
        Err(format!(
            "{body} was published once, as {first:?} (acknowledged: {acknowledged}), and there are {message} and {fresh:?}"
        ))
    }
}
