//! Destinations and the outbound rules: any text is one clear destination or refused, and what the rules let pass is public.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use redrive::config::DestinationConfig;
use redrive::delivery::destination::{Destination, URL_BYTES_MAX};
use redrive::delivery::guard::{AddressRules, Network};
use redrive::delivery::host::Host;

static CLOSED: LazyLock<AddressRules> = LazyLock::new(|| rules(false));
static OPEN: LazyLock<AddressRules> = LazyLock::new(|| rules(true));

/// Takes the bytes for a URL, for a network, and for an address.
pub fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        url(text);
        network(text);
    }
    let (mut v4, mut v6) = ([0; 4], [0; 16]);
    if let Some(bytes) = data.first_chunk() {
        v4 = *bytes;
    }
    if let Some(bytes) = data.first_chunk() {
        v6 = *bytes;
    }
    address(IpAddr::from(v4));
    address(IpAddr::from(v6));
}

fn rules(allow_private: bool) -> AddressRules {
    AddressRules::new(&DestinationConfig {
        allow_private,
        allowed: Vec::new(),
        ca_file: None,
    })
    .unwrap()
}

fn url(text: &str) {
    let Ok(destination) = Destination::parse(text) else {
        return;
    };
    let written = destination.as_str();
    assert!(written.len() <= URL_BYTES_MAX && text.starts_with(written));
    assert!(!written.contains('#'));
    // Read again, as it was written and as it is sent, it is the same place.
    assert_eq!(Destination::parse(written), Ok(destination.clone()));
    let uri = destination.uri();
    let sent = Destination::parse(&uri.to_string()).unwrap();
    assert_eq!(sent.uri(), uri);
    assert_eq!(sent.authority(), destination.authority());
    authority(&destination);
    // The path and the query are the end of what was written.
    let (_, place) = written.split_once("://").unwrap();
    let path = place.find(['/', '?']).map_or("", |at| place.split_at(at).1);
    let target = uri.path_and_query().unwrap().as_str();
    let is_kept = target == path || target.strip_prefix('/') == Some(path);
    assert!(is_kept, "{path:?} is sent as {target:?}");
    assert!(target.bytes().all(|byte| byte.is_ascii_graphic()));
}

fn authority(destination: &Destination) {
    let uri = destination.uri();
    let (host, port) = destination.authority().rsplit_once(':').unwrap();
    assert_eq!(host, destination.host().to_string());
    assert_eq!(uri.host(), Some(host));
    let default = if destination.is_https() { 443 } else { 80 };
    assert_eq!(uri.port_u16().unwrap_or(default).to_string(), port);
    assert_ne!(port, "0");
    assert!(!host.contains('@') && !host.ends_with('.'));
    assert_eq!(host, host.to_ascii_lowercase());
    assert_eq!(Host::parse(host).as_ref(), Ok(destination.host()));
    // What the system takes for an address is one here.
    let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    assert_eq!(matches!(destination.host(), Host::Address(_)), is_address);
}

fn network(text: &str) {
    let Ok(network) = text.parse::<Network>() else {
        return;
    };
    assert_eq!(network.to_string().parse(), Ok(network));
    for end in [network.first(), network.last()] {
        // A network of IPv6 may reach over the mapped addresses, which are in networks of IPv4 alone.
        let is_mapped = end != end.to_canonical();
        assert_ne!(network.contains(end), is_mapped, "{end} of {network}");
    }
}

/// Holds the rules against what the standard library knows of addresses.
fn address(address: IpAddr) {
    let host = Host::Address(address);
    let is_public = CLOSED.check(&host, address).is_ok();
    let is_open = OPEN.check(&host, address).is_ok();
    assert!(is_open || !is_public, "{address}");
    let plain = address.to_canonical();
    assert_eq!(CLOSED.check(&host, plain).is_ok(), is_public, "{address}");
    let is_special = match plain {
        IpAddr::V4(v4) => {
            v4.is_private() || v4.is_link_local() || v4.is_documentation() || v4.octets()[0] == 0
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    };
    let is_nonsense = match plain {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_multicast() || v6.is_unspecified(),
    };
    assert!(
        !is_public || !(is_special || is_nonsense || plain.is_loopback()),
        "{address}"
    );
    assert!(!is_open || !is_nonsense, "{address}");
    if let IpAddr::V6(v6) = plain {
        let is_unicast = v6.segments()[0] >> 13 == 1;
        assert!(!is_public || is_unicast || is_translated(v6), "{address}");
    }
}

fn is_translated(address: Ipv6Addr) -> bool {
    address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0]
}
