//! Which addresses a delivery may go to: the public internet, and what the configuration opens. PURE.

use std::net::IpAddr;

use super::network::{Network, NetworkError};
use super::ranges::{Range, Reach, special};
use crate::config::DestinationConfig;
use crate::delivery::host::{Host, HostError};

/// The outbound rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressRules {
    allow_private: bool,
    names: Vec<String>,
    networks: Vec<Network>,
}

/// An address that the rules forbid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{address} is {}: deliveries do not go there{}",
    .range.usage,
    hint(.range.reach)
)]
pub struct Forbidden {
    /// The address.
    pub address: IpAddr,
    /// What makes it special.
    pub range: Range,
}

/// An entry of `destinations.allowed` that is neither a host nor a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// No network behind all, although there is a slash.
    #[error("destinations.allowed: {entry}")]
    Network {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        source: NetworkError,
    },
    /// No host.
    #[error("destinations.allowed: {entry}")]
    Host {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        source: HostError,
    },
}

impl AddressRules {
    /// Reads the rules.
    ///
    /// # Errors
    /// The first entry of `destinations.allowed` that is neither a host name, nor an address, nor a network.
    pub fn new(config: &DestinationConfig) -> Result<Self, RulesError> {
        let mut rules = Self {
            allow_private: config.allow_private,
            names: Vec::new(),
            networks: Vec::new(),
        };
        for entry in &config.allowed {
            rules.allow(entry)?;
        }
        Ok(rules)
    }

    /// Judges an address that `host` leads to.
    ///
    /// # Errors
    /// [`Forbidden`] with the range that forbids it.
    pub fn check(&self, host: &Host, address: IpAddr) -> Result<(), Forbidden> {
        let address = address.to_canonical();
        let Some(range) = special(address) else {
            return Ok(());
        };
        let is_allowed = match range.reach {
            Reach::Never => false,
            Reach::Private => self.allow_private || self.is_open(host, address),
        };
        if is_allowed {
            Ok(())
        } else {
            Err(Forbidden { address, range })
        }
    }

    fn is_open(&self, host: &Host, address: IpAddr) -> bool {
        let is_named = match host {
            Host::Name(name) => self.names.contains(name),
            Host::Address(_) => false,
        };
        is_named
            || self
                .networks
                .iter()
                .any(|network| network.contains(address))
    }

    fn allow(&mut self, entry: &str) -> Result<(), RulesError> {
        if entry.contains('/') {
            let network = entry.parse().map_err(|source| RulesError::Network {
                entry: entry.to_owned(),
                source,
            })?;
            self.networks.push(network);
            return Ok(());
        }
        // An IPv6 address stands here without brackets as well.
        if let Ok(address) = entry.parse::<IpAddr>() {
            self.networks.push(Network::single(address));
            return Ok(());
        }
        match Host::parse(entry) {
            Ok(Host::Name(name)) => self.names.push(name),
            Ok(Host::Address(address)) => self.networks.push(Network::single(address)),
            Err(source) => {
                return Err(RulesError::Host {
                    entry: entry.to_owned(),
                    source,
                });
            }
        }
        Ok(())
    }
}

fn hint(reach: Reach) -> &'static str {
    match reach {
        Reach::Private => {
            "; destinations.allowed opens single hosts and networks, destinations.allow_private all"
        }
        Reach::Never => "",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::error::Error as _;

    use super::*;

    fn rules(allow_private: bool, allowed: &[&str]) -> AddressRules {
        AddressRules::new(&DestinationConfig {
            allow_private,
            allowed: allowed.iter().map(|&entry| entry.to_owned()).collect(),
            ca_file: None,
        })
        .unwrap()
    }

    fn is_allowed(rules: &AddressRules, host: &str, address: &str) -> bool {
        let host = Host::parse(host).unwrap();
        rules.check(&host, address.parse().unwrap()).is_ok()
    }

    #[test]
    fn without_an_entry_only_the_public_internet_is_allowed() {
        let rules = rules(false, &[]);
        assert!(is_allowed(&rules, "a.example", "1.1.1.1"));
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "::1",
            "::ffff:10.0.0.1",
            "169.254.169.254",
        ] {
            assert!(!is_allowed(&rules, "localhost", address), "{address}");
        }
    }

    #[test]
    fn an_entry_opens_its_host_or_network_and_nothing_else() {
        let allowed = [
            "API.internal.",
            "10.1.0.0/16",
            "192.168.7.9",
            "fd00::/8",
            "::1",
            "0x7f.2",
        ];
        let rules = rules(false, &allowed);
        for (host, address, expected) in [
            ("api.internal", "172.16.0.1", true),
            ("api.internal.", "fe80::1", true),
            ("x.api.internal", "172.16.0.1", false),
            ("internal", "172.16.0.1", false),
            ("b.example", "10.1.255.255", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("b.example", "::ffff:10.1.0.1", true),
            ("b.example", "64:ff9b::10.1.0.1", false),
            ("b.example", "::10.1.0.1", false),
            ("b.example", "10.2.0.0", false),
            ("b.example", "192.168.7.9", true),
            ("b.example", "192.168.7.8", false),
            ("b.example", "fdff::1", true),
            ("b.example", "fc00::1", false),
            ("b.example", "::1", true),
            ("b.example", "127.0.0.2", true),
            ("b.example", "127.0.0.1", false),
        ] {
            assert_eq!(
                is_allowed(&rules, host, address),
                expected,
                "{host} {address}"
            );
        }
    }

    #[test]
    fn what_no_server_has_is_opened_by_nothing() {
        for rules in [
            rules(true, &[]),
            rules(false, &["a.example", "0.0.0.0/0", "::/0"]),
        ] {
            for address in ["10.0.0.1", "::1", "240.0.0.1", "169.254.169.254", "4000::1"] {
                assert!(is_allowed(&rules, "a.example", address), "{address}");
            }
            for address in [
                "0.0.0.0",
                "0.1.2.3",
                "224.0.0.1",
                "239.9.9.9",
                "255.255.255.255",
                "::",
                "ff02::1",
                "::ffff:0.0.0.0",
                "::ffff:224.0.0.1",
                "64:ff9b::255.255.255.255",
                "2002:e000:1::",
            ] {
                assert!(!is_allowed(&rules, "a.example", address), "{address}");
            }
        }
    }

    #[test]
    fn an_entry_that_is_nothing_is_refused_by_name() {
        for (entry, cause) in [
            ("10.1.2.3/8", "the network is 10.0.0.0/8"),
            ("10.0.0.0/99", "not a network"),
            ("*.internal", "'*' cannot stand in a host"),
            ("http://a", "not a network"),
            ("10.0.0.256", "this is none"),
        ] {
            let error = AddressRules::new(&DestinationConfig {
                allow_private: true,
                allowed: vec!["a.example".to_owned(), entry.to_owned()],
                ca_file: None,
            })
            .unwrap_err();
            assert_eq!(error.to_string(), format!("destinations.allowed: {entry}"));
            let source = error.source().unwrap().to_string();
            assert!(source.contains(cause), "{source}");
        }
    }

    #[test]
    fn a_refusal_says_why_and_what_would_open_it() {
        let host = Host::parse("a.example").unwrap();
        let text = |address: &str| {
            let address = address.parse().unwrap();
            rules(false, &[])
                .check(&host, address)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            text("10.0.0.1"),
            "10.0.0.1 is private use (RFC 1918): deliveries do not go there; destinations.allowed opens single hosts and \
             networks, destinations.allow_private all"
        );
        assert!(text("::ffff:10.0.0.1").starts_with("10.0.0.1 is private use"));
        assert_eq!(
            text("ff02::1"),
            "ff02::1 is multicast (RFC 4291): deliveries do not go there"
        );
    }
}
