//! URL groups and their endpoints.

use storage::control::push::Endpoint;

use super::{DEVELOPMENT, Machine, NOW, code};
use crate::broker::EndpointMatch;
use crate::names::UrlGroupName;
use crate::protocol::error_code::ErrorCode;

fn endpoint(name: &str, url: &str) -> Endpoint {
    Endpoint {
        name: (!name.is_empty()).then(|| name.to_owned()),
        url: url.to_owned(),
    }
}

fn matching(name: Option<&str>, url: Option<&str>) -> EndpointMatch {
    EndpointMatch {
        name: name.map(str::to_owned),
        url: url.map(str::to_owned),
    }
}

#[test]
fn url_groups_are_there_while_they_have_endpoints() {
    let machine = Machine::new(DEVELOPMENT);
    let shops = UrlGroupName::parse("shops").unwrap();
    let first = [endpoint("a", "u1"), endpoint("", "u2")];
    machine.assert_writes(true, |b| b.add_endpoints(&shops, &first).unwrap());
    machine.assert_writes(false, |b| b.add_endpoints(&shops, &first).unwrap());
    let later = machine.tick();
    let more = [endpoint("a", "u3"), endpoint("c", "u4")];
    machine.assert_writes(true, |b| b.add_endpoints(&shops, &more).unwrap());

    let machine = machine.restart();
    let group = machine.broker.url_group(&shops).unwrap();
    assert_eq!((group.created, group.updated), (NOW, later));
    let all = [endpoint("a", "u3"), endpoint("", "u2"), endpoint("c", "u4")];
    assert_eq!(group.endpoints, all);
    assert_eq!(machine.broker.list_url_groups().len(), 1);

    let removed = [
        matching(None, Some("u2")),
        matching(Some("c"), Some("u3")),
        matching(Some("nobody"), None),
    ];
    let left = machine.assert_writes(true, |b| b.remove_endpoints(&shops, &removed).unwrap());
    let left = left.unwrap();
    assert_eq!(left.endpoints, [all[0].clone(), all[2].clone()]);
    machine.assert_writes(false, |b| b.remove_endpoints(&shops, &removed).unwrap());
    let rest = [matching(Some("a"), None), matching(None, Some("u4"))];
    assert_eq!(machine.broker.remove_endpoints(&shops, &rest), Ok(None));
    assert_eq!(code(machine.broker.url_group(&shops)), ErrorCode::NotFound);

    machine.broker.add_endpoints(&shops, &first).unwrap();
    machine.broker.delete_url_group(&shops).unwrap();
    let machine = machine.restart();
    assert_eq!(machine.broker.list_url_groups().len(), 0);
}

#[test]
fn endpoints_that_a_group_cannot_have_are_refused() {
    let machine = Machine::new(DEVELOPMENT);
    let broker = &machine.broker;
    let shops = UrlGroupName::parse("shops").unwrap();
    let no = [matching(Some("a"), None)];
    assert_eq!(
        code(broker.remove_endpoints(&shops, &no)),
        ErrorCode::NotFound
    );
    assert_eq!(code(broker.delete_url_group(&shops)), ErrorCode::NotFound);
    let urls: Vec<_> = (0..101).map(|at| endpoint("", &format!("u{at}"))).collect();
    for refused in [
        &urls[..],
        &[],
        &[endpoint("", "")],
        &[endpoint("", &"u".repeat(8193))],
    ] {
        let answer = broker.add_endpoints(&shops, refused);
        assert_eq!(code(answer), ErrorCode::InvalidSettings);
    }
    broker.add_endpoints(&shops, &urls[..100]).unwrap();
    let one_more = broker.add_endpoints(&shops, &urls[100..]);
    assert_eq!(code(one_more), ErrorCode::InvalidSettings);
    for refused in [&[][..], &[EndpointMatch::default()]] {
        let answer = broker.remove_endpoints(&shops, refused);
        assert_eq!(code(answer), ErrorCode::InvalidSettings);
    }
    assert_eq!(broker.url_group(&shops).unwrap().endpoints.len(), 100);
}
