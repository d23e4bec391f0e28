//! Who is answered: token, `Host`, `Origin`, `Sec-Fetch-Site`.

use hyper::Method;
use redrive::config::development;

use crate::harness::{Broker, created_topics};

const TOPICS: &str = "/admin/v1/topics";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configured_token_must_be_shown() {
    let broker = Broker::start_with(&[("token", "right-token-of-ours")]).await;
    let right = ("authorization", "Bearer right-token-of-ours");
    let wrong = ("authorization", "Bearer wrong-token");
    let foreign = [
        right,
        ("host", "broker.example"),
        ("origin", "https://console.example"),
        ("sec-fetch-site", "cross-site"),
    ];
    for (target, headers, status) in [
        (TOPICS, vec![right], 200),
        (
            "/admin/v1/topics?qstash_token=right-token-of-ours",
            vec![],
            200,
        ),
        (TOPICS, vec![], 401),
        (TOPICS, vec![wrong], 401),
        ("/admin/v1/topics?qstash_token=wrong", vec![], 401),
        (
            TOPICS,
            vec![("authorization", &*format!("Bearer {}", development::TOKEN))],
            401,
        ),
        ("/metrics", vec![], 401),
        ("/metrics", vec![right], 200),
        // Nothing is told about what is served.
        ("/admin/v1/nope", vec![], 401),
        ("/admin/v1/nope", vec![right], 404),
        ("/v2/messages", vec![], 401),
        ("/healthz", vec![], 200),
        ("/readyz", vec![], 200),
        ("/openapi.json", vec![], 200),
        // With a token of its own a broker may be called by any name and from any page that knows the token.
        (TOPICS, foreign.to_vec(), 200),
    ] {
        let answer = broker.send(Method::GET, target, &headers, "").await;
        assert_eq!(answer.status, status, "{target} {headers:?} {answer:?}");
        if status == 401 {
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
            assert!(answer.error(401).contains("token"));
        }
    }
    let created = broker.post(TOPICS, r#"{"name": "a"}"#).await;
    created.error(401);
    let listed = broker
        .send(Method::GET, TOPICS, &[right], "")
        .await
        .expect(200);
    assert_eq!(created_topics(&listed).len(), 0);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_web_page_drives_a_broker_with_development_credentials() {
    let broker = Broker::start().await;
    let token = format!("Bearer {}", development::TOKEN);
    for (headers, status) in [
        (vec![], 201),
        (vec![("authorization", token.as_str())], 201),
        (vec![("authorization", "Bearer wrong")], 401),
        (vec![("host", "localhost:1")], 201),
        (vec![("host", "rebound.example")], 403),
        (
            vec![
                ("host", "rebound.example"),
                ("authorization", token.as_str()),
            ],
            403,
        ),
        (vec![("origin", "http://localhost:3000")], 201),
        (vec![("origin", "https://evil.example")], 403),
        (vec![("origin", "null")], 403),
        (vec![("sec-fetch-site", "cross-site")], 403),
        (vec![("sec-fetch-site", "same-origin")], 201),
    ] {
        let answer = broker
            .send(Method::POST, TOPICS, &headers, r#"{"name": "a"}"#)
            .await;
        assert_eq!(answer.status, status, "{headers:?} {answer:?}");
        let deleted = broker.delete("/admin/v1/topics/a").await.status;
        assert_eq!(deleted == 204, status == 201, "{headers:?}");
    }
    for target in ["/healthz", "/readyz", "/openapi.json", "/metrics", "/nope"] {
        let answer = broker
            .send(Method::GET, target, &[("host", "rebound.example")], "")
            .await;
        assert!(answer.error(403).contains("rebound.example"), "{target}");
    }
    broker.stop().await;
}
