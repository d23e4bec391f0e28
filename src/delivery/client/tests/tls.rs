//! TLS: who is trusted, and what happens when nobody is.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, SupportedProtocolVersion};
use storage::dead_letter::{AttemptResult, ErrorClass};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::harness::*;
use crate::config::DestinationConfig;
use crate::delivery::client::HttpClient;
use crate::delivery::guard::{Guard, GuardLimits, SystemDial, client_config};

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Authority {
        pem,
        issuer: Issuer::new(params, key),
    }
}

/// A server for `a.example` and this machine's address, whose certificate `authority` vouches for.
async fn server(
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[u8],
) -> Server {
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    let address = SanType::IpAddress(Ipv4Addr::LOCALHOST.into());
    params.subject_alt_names.push(address);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await?;
            let mut bytes = Vec::new();
            while !bytes.ends_with(b"{}") {
                stream.read_buf(&mut bytes).await?;
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await?;
            stream.read_buf(&mut bytes).await?;
            Ok(())
        }
    })
    .await
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn client(ca_file: Option<&Path>) -> HttpClient {
    let tls = client_config(ca_file).unwrap();
    let resolver = FakeResolver::saying(&[&["127.0.0.1"]]);
    let limits = GuardLimits::default();
    let guard = Guard::with(
        rules(true, &[]),
        tls,
        limits,
        resolver,
        Arc::new(SystemDial),
    );
    HttpClient::with_guard(guard)
}

fn url(host: &str, address: SocketAddr) -> String {
    format!("https://{host}:{}/", address.port())
}

const BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

#[tokio::test]
async fn a_private_authority_is_trusted_only_when_its_file_is_given() {
    let authority = authority();
    let ca_file = file(&authority.pem);
    for version in BOTH {
        let server = server(&authority, &[version], b"http/1.1").await;
        for host in ["a.example", "A.EXAMPLE.", "127.0.0.1", "0x7f.1"] {
            let url = url(host, server.address);
            let answer = attempt(&client(Some(ca_file.path())), &url).await;
            assert_eq!(
                answer.result,
                AttemptResult::Status(200),
                "{}",
                text(&answer)
            );
            let answer = attempt(&client(None), &url).await;
            assert_error(&answer, ErrorClass::TLS, "UnknownIssuer");
        }
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let authority = authority();
    let ca_file = file(&authority.pem);
    let server = server(&authority, &BOTH, b"http/1.1").await;
    for host in ["b.example", "x.a.example", "127.0.0.2"] {
        let answer = attempt(&client(Some(ca_file.path())), &url(host, server.address)).await;
        let part = format!("TLS with {host} failed");
        // 127.0.0.2 is this machine as well, but nobody listens there.
        let (class, part) = match host {
            "127.0.0.2" => (ErrorClass::CONNECT, "cannot connect"),
            _ => (ErrorClass::TLS, part.as_str()),
        };
        assert_error(&answer, class, part);
    }
}

#[tokio::test]
async fn another_protocol_than_http_1_1_is_not_agreed_on() {
    let authority = authority();
    let ca_file = file(&authority.pem);
    let server = server(&authority, &BOTH, b"h2").await;
    let answer = attempt(
        &client(Some(ca_file.path())),
        &url("a.example", server.address),
    )
    .await;
    assert_error(&answer, ErrorClass::TLS, "");
}

#[tokio::test]
async fn plain_http_where_tls_is_expected_is_an_error_of_tls() {
    let plain = Server::start(|mut stream| async move {
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await?;
        swallow(&mut stream).await
    })
    .await;
    let answer = attempt(&client(None), &url("a.example", plain.address)).await;
    assert_error(&answer, ErrorClass::TLS, "TLS with a.example failed");
    let closing = Server::start(|_stream| async { Ok(()) }).await;
    let answer = attempt(&client(None), &url("a.example", closing.address)).await;
    assert_error(&answer, ErrorClass::TLS, "TLS with a.example failed");
}

#[test]
fn a_file_that_holds_no_authorities_is_refused_by_its_name() {
    let leaf = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (text, expected) in [
        ("", "there is none in it"),
        ("hello", "there is none in it"),
        ("-----BEGIN CERTIFICATE-----\n", "is no PEM file"),
        (leaf, "certificate 1 cannot be an authority"),
    ] {
        let file = file(text);
        let error = HttpClient::new(&DestinationConfig {
            allow_private: false,
            allowed: Vec::new(),
            ca_file: Some(file.path().to_owned()),
        })
        .unwrap_err()
        .to_string();
        assert!(error.contains(expected), "{error}");
        assert!(
            error.contains(&file.path().display().to_string()),
            "{error}"
        );
    }
    let error = client_config(Some(Path::new("/nowhere/ca.pem"))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read destinations.ca_file = /nowhere/ca.pem"
    );
}
