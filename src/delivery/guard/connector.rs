//! From a URL to a connection that the rules allow.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::http::uri::Scheme;
use rustls::ClientConfig;
use rustls::pki_types::{DnsName, ServerName};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::dial::{Dial, SystemDial};
use super::error::ConnectError;
use super::limits::{DIAL_COUNT_MAX, GuardLimits};
use super::resolve::{Resolve, SystemResolver};
use super::rules::AddressRules;
use super::stream::{GuardedStream, Line};
use crate::delivery::host::Host;

/// Makes connections within the outbound rules.
#[derive(Debug)]
pub struct Guard {
    rules: AddressRules,
    tls: Arc<ClientConfig>,
    resolver: Arc<dyn Resolve>,
    dialler: Arc<dyn Dial>,
    limits: GuardLimits,
    places: Arc<Semaphore>,
}

impl Guard {
    /// Makes a guard of the machine's resolver and network.
    pub fn new(rules: AddressRules, tls: Arc<ClientConfig>) -> Self {
        let limits = GuardLimits::default();
        let resolver = Arc::new(SystemResolver::default());
        Self::with(rules, tls, limits, resolver, Arc::new(SystemDial))
    }

    /// Makes a guard of any resolver and network.
    pub fn with(
        rules: AddressRules,
        tls: Arc<ClientConfig>,
        limits: GuardLimits,
        resolver: Arc<dyn Resolve>,
        dialler: Arc<dyn Dial>,
    ) -> Self {
        Self {
            rules,
            tls,
            resolver,
            dialler,
            limits,
            places: Arc::new(Semaphore::new(limits.connection_count_max)),
        }
    }

    /// Connects to the host of `uri`.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing was sent.
    pub async fn connect(&self, uri: &Uri) -> Result<GuardedStream, ConnectError> {
        // Parsed again, so that nothing hangs on who made the URI.
        let host = Host::parse(uri.host().unwrap_or_default()).map_err(ConnectError::Host)?;
        let is_https = uri.scheme() == Some(&Scheme::HTTPS);
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let addresses = self.allowed(&host).await?;
        let place = Arc::clone(&self.places)
            .acquire_owned()
            .await
            .map_err(|_closed| ConnectError::Closed)?;
        let stream = self.dial(&host, addresses, port).await?;
        let line = if is_https {
            Line::Tls(Box::new(self.encrypt(&host, stream).await?))
        } else {
            Line::Plain(stream)
        };
        Ok(GuardedStream::new(line, place))
    }

    /// Returns the addresses of `host` that may be dialled, in the order in which to dial them; at least one.
    async fn allowed(&self, host: &Host) -> Result<Vec<IpAddr>, ConnectError> {
        let found = match host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => self.resolve(name).await?,
        };
        let mut allowed = Vec::new();
        let mut refusal = None;
        for address in found {
            let address = address.to_canonical();
            match self.rules.check(host, address) {
                Ok(()) => allowed.push(address),
                Err(forbidden) => refusal = Some(forbidden),
            }
        }
        match (allowed.is_empty(), refusal) {
            (true, Some(forbidden)) => Err(ConnectError::Forbidden(forbidden)),
            (true, None) => Err(ConnectError::Resolve {
                name: host.to_string(),
                source: io::Error::new(io::ErrorKind::NotFound, "it has no address"),
            }),
            (false, _) => Ok(alternate(allowed)),
        }
    }

    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ConnectError> {
        let lookup = self.resolver.resolve(name);
        let found = within(self.limits.resolve_wait_max, lookup).await;
        found.map_err(|source| ConnectError::Resolve {
            name: name.to_owned(),
            source,
        })
    }

    /// Dials one address after the other, until one answers.
    async fn dial(
        &self,
        host: &Host,
        addresses: Vec<IpAddr>,
        port: u16,
    ) -> Result<TcpStream, ConnectError> {
        let mut failure = ConnectError::Closed;
        for address in addresses.into_iter().take(DIAL_COUNT_MAX) {
            let address = SocketAddr::new(address, port);
            let dialled = within(self.limits.connect_wait_max, self.dialler.dial(address)).await;
            match dialled.and_then(|stream| Ok((stream.peer_addr()?, stream))) {
                Ok((peer, stream)) => {
                    self.verify(host, address, peer)?;
                    // Without it the end of a request waits for an acknowledgement. A connection that broke says so when used.
                    let _is_set = stream.set_nodelay(true).is_ok();
                    return Ok(stream);
                }
                Err(source) => failure = ConnectError::Connect { address, source },
            }
        }
        Err(failure)
    }

    /// Checks where a connection leads, before anything is sent over it.
    fn verify(
        &self,
        host: &Host,
        dialled: SocketAddr,
        found: SocketAddr,
    ) -> Result<(), ConnectError> {
        let peer = found.ip().to_canonical();
        if (peer, found.port()) != (dialled.ip(), dialled.port()) {
            return Err(ConnectError::Redirected { dialled, found });
        }
        Ok(self.rules.check(host, peer)?)
    }

    async fn encrypt(
        &self,
        host: &Host,
        stream: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, ConnectError> {
        let failed = |source| ConnectError::Tls {
            host: host.to_string(),
            source,
        };
        let name = match host {
            Host::Address(address) => ServerName::IpAddress((*address).into()),
            Host::Name(name) => DnsName::try_from(name.clone())
                .map(ServerName::DnsName)
                .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?,
        };
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let handshake = connector.connect(name, stream);
        within(self.limits.tls_wait_max, handshake)
            .await
            .map_err(failed)
    }
}

/// Orders the addresses so that both families get their turn, that of the first one first: where one family leads nowhere,
/// the few that are dialled are not all of it (RFC 8305, 4).
fn alternate(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let is_first_v4 = addresses.first().is_some_and(IpAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv4() == is_first_v4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::new();
    loop {
        let turn = [first.next(), second.next()];
        if turn == [None, None] {
            return ordered;
        }
        ordered.extend(turn.into_iter().flatten());
    }
}

async fn within<T>(wait_max: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(wait_max, work).await.unwrap_or_else(|_elapsed| {
        let text = format!("no answer within {} ms", wait_max.as_millis());
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_get_their_turn() {
        let order = |texts: &[&str]| -> Vec<String> {
            let addresses = texts.iter().map(|text| text.parse().unwrap()).collect();
            alternate(addresses).iter().map(IpAddr::to_string).collect()
        };
        assert_eq!(order(&[]), [""; 0]);
        assert_eq!(order(&["1.1.1.1", "1.1.1.2"]), ["1.1.1.1", "1.1.1.2"]);
        assert_eq!(
            order(&["2::1", "2::2", "2::3", "1.1.1.1", "1.1.1.2"]),
            ["2::1", "1.1.1.1", "2::2", "1.1.1.2", "2::3"]
        );
        assert_eq!(order(&["1.1.1.1", "2::1"]), ["1.1.1.1", "2::1"]);
    }
}
