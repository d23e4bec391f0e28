//! The configuration as a whole: layers, refusals, and secrecy.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use std::path::Path;

use super::*;

const PATH: &str = "redrive.toml";

fn resolve(
    file: &str,
    variables: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Settings, ConfigError> {
    let flags: Vec<FlagValue> = flags
        .iter()
        .map(|(key, value)| FlagValue {
            flag: format!("--{key}"),
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        })
        .collect();
    Settings::resolve(
        Some(FileText {
            path: Path::new(PATH),
            text: file,
        }),
        variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        &flags,
    )
}

fn serve(
    file: &str,
    variables: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<ServeConfig, ConfigError> {
    ServeConfig::from_settings(&resolve(file, variables, flags)?)
}

fn refusal(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
    serve(file, variables, flags).unwrap_err().to_string()
}

#[test]
fn defaults_are_the_documented_ones() {
    let config = serve("", &[], &[]).unwrap();
    assert_eq!(config.data_dir, Path::new("./redrive-data"));
    assert_eq!(config.http.address.to_string(), "127.0.0.1:8080");
    assert_eq!(config.protocol.address.to_string(), "127.0.0.1:7733");
    assert!(config.access.is_development);
    assert!(config.access.token.matches(development::TOKEN.as_bytes()));
    assert!(config.destinations.allow_private);
    assert_eq!(config.destinations.ca_file, None);
    assert_eq!(
        config.storage,
        StorageConfig {
            min_free_bytes: 1 << 30,
            sync_threads: 16
        }
    );
    assert_eq!(
        config.topic,
        TopicDefaults {
            durability: Durability::Synced,
            segment_bytes: 128 << 20,
            segment_ms: 86_400_000,
            retention_ms: Some(7 * 86_400_000),
            retention_bytes: None,
            dead_letter_retention_ms: Some(30 * 86_400_000),
            dead_letter_retention_bytes: None,
            record_bytes_max: 1 << 20,
            batch_bytes_max: 8 << 20,
        }
    );
}

#[test]
fn each_layer_overrides_the_one_before_and_is_named_as_the_source() {
    let file = "data_dir = \"/file\"\n[topic]\nsegment_bytes = \"1 MiB\"\nsegment_ms = 3_600_000\n";
    let variables = [
        ("REDRIVE_TOPIC_SEGMENT_BYTES", "2MiB"),
        ("REDRIVE_TOPIC_SEGMENT_MS", "2h"),
    ];
    let settings = resolve(file, &variables, &[("topic.segment_ms", "3h")]).unwrap();
    let config = ServeConfig::from_settings(&settings).unwrap();
    assert_eq!(config.data_dir, Path::new("/file"));
    assert_eq!(config.topic.segment_bytes, 2 << 20);
    assert_eq!(config.topic.segment_ms, 3 * 3_600_000);
    let text = effective(&settings);
    for line in [
        "data_dir = \"/file\"  # redrive.toml, line 1",
        "segment_bytes = \"2MiB\"  # environment variable REDRIVE_TOPIC_SEGMENT_BYTES",
        "segment_ms = \"3h\"  # flag --topic.segment_ms",
        "retention_bytes = \"none\"  # default",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn the_file_of_authorities_is_a_path() {
    let config = serve("[destinations]\nca_file = \"/etc/ca.pem\"\n", &[], &[]).unwrap();
    assert_eq!(
        config.destinations.ca_file.as_deref(),
        Some(Path::new("/etc/ca.pem"))
    );
    let text = refusal("[destinations]\nca_file = \"\"\n", &[], &[]);
    assert!(
        text.contains("destinations.ca_file =  is not a path"),
        "{text}"
    );
}

#[test]
fn the_printed_configuration_is_a_file_with_the_same_meaning() {
    let variables = [
        ("REDRIVE_DESTINATIONS_ALLOWED", "a.example, 10.0.0.0/8"),
        ("REDRIVE_PLAINTEXT", "true"),
    ];
    let settings = resolve("", &variables, &[]).unwrap();
    let again = resolve(&effective(&settings), &[], &[]).unwrap();
    let values = |settings: &Settings| -> Vec<String> {
        settings
            .iter()
            .map(|(key, value, _)| format!("{} {value}", key.name))
            .collect()
    };
    assert_eq!(values(&settings), values(&again));
}

#[test]
fn unknown_key_names_its_line_and_the_nearest_key() {
    let text = refusal(
        "listen = \"127.0.0.1:1\"\n\n[topic]\nsegment_byte = 5\n",
        &[],
        &[],
    );
    assert_eq!(
        text,
        "redrive.toml, line 4: unknown key topic.segment_byte; did you mean topic.segment_bytes?"
    );
    let text = refusal("[colours]\nred = 1\n", &[], &[]);
    assert_eq!(
        text,
        "redrive.toml, line 2: unknown key colours.red; `redrive config reference` lists all keys"
    );
    let text = refusal("zoo = 1\n[colours]\nant = 1\n", &[], &[]);
    assert!(
        text.starts_with("redrive.toml, line 1: unknown key zoo"),
        "{text}"
    );
    let text = refusal("[topics]\n", &[], &[]);
    assert!(
        text.starts_with("redrive.toml, line 1: unknown key topics"),
        "{text}"
    );
}

#[test]
fn unknown_variable_is_refused_but_not_those_that_are_not_ours() {
    let text = refusal("", &[("REDRIVE_LISTN", "x")], &[]);
    assert_eq!(
        text,
        "environment variable REDRIVE_LISTN: unknown key REDRIVE_LISTN; did you mean REDRIVE_LISTEN?"
    );
    let text = refusal("", &[("REDRIVE_NOPE", "x")], &[]);
    assert!(!text.contains("did you mean"), "{text}");
    let others = [
        ("PATH", "/bin"),
        ("REDRIVE_URL", "http://x"),
        ("REDRIVE_ADDR", "x:1"),
        ("REDRIVE_CONFIG", "f"),
        ("REDRIVE_SERVICE_HOST", "10.0.0.1"),
        ("REDRIVE_PORT_7733_TCP", "tcp://10.0.0.1:7733"),
    ];
    assert!(serve("", &others, &[]).is_ok());
}

#[test]
fn wrong_values_name_the_place_the_value_and_what_is_right() {
    for (file, expected) in [
        (
            "http = \"localhost\"",
            "line 1: http = localhost is not an IP address and a port",
        ),
        (
            "\nplaintext = \"maybe\"",
            "line 2: plaintext = maybe is not true or false",
        ),
        (
            "[topic]\nsegment_bytes = 1",
            "line 2: topic.segment_bytes = 1 is not a size from 4KiB to 1GiB",
        ),
        (
            "[topic]\nsegment_bytes = -1",
            "topic.segment_bytes = -1 is not a size",
        ),
        (
            "[topic]\nretention_ms = 1.5",
            "topic.retention_ms = 1.5 is not a duration",
        ),
        (
            "[topic]\ndurability = \"none\"",
            "is not one of synced, written",
        ),
        ("data_dir = [\"a\"]", "data_dir = [a] is not a path"),
        (
            "data_dir = 1979-05-27",
            "data_dir = a datetime is not a path",
        ),
        ("a = ", "redrive.toml, line 1: "),
        ("a = 1\na = 2", "redrive.toml, line 2: "),
    ] {
        let text = refusal(file, &[], &[]);
        assert!(text.contains(expected), "{expected} in {text}");
    }
}

#[test]
fn sizes_that_contradict_each_other_are_refused() {
    let text = refusal("[topic]\nbatch_bytes_max = \"1MiB\"\n", &[], &[]);
    assert!(
        text.contains("topic.record_bytes_max = 1MiB is not at most 896KiB"),
        "{text}"
    );
    let text = refusal("[limits]\nframe_bytes_max = \"1MiB\"\n", &[], &[]);
    assert!(
        text.contains("limits.frame_bytes_max = 1MiB is not at least 8320KiB"),
        "{text}"
    );
}

#[test]
fn an_address_off_loopback_needs_a_token_and_plaintext() {
    for key in ["http", "listen"] {
        for address in [
            "0.0.0.0:9000",
            "[::]:9000",
            "192.0.2.1:9000",
            "[::ffff:192.0.2.1]:9000",
        ] {
            let text = refusal("", &[], &[(key, address)]);
            assert!(
                text.contains("no token is set") && text.contains("127.0.0.1:9000"),
                "{text}"
            );
            let text = refusal("", &[("REDRIVE_TOKEN", "own")], &[(key, address)]);
            assert!(text.contains("plaintext = true"), "{text}");
            let text = refusal(
                "plaintext = true",
                &[("REDRIVE_TOKEN", development::TOKEN)],
                &[(key, address)],
            );
            assert!(text.contains("public development token"), "{text}");
            let config = serve(
                "plaintext = true",
                &[("REDRIVE_TOKEN", "own")],
                &[(key, address)],
            )
            .unwrap();
            assert!(!config.access.is_development);
            assert!(!config.destinations.allow_private);
        }
    }
}

#[test]
fn an_address_that_is_refused_is_named_with_its_place() {
    let token = ("REDRIVE_TOKEN", "own");
    let public = ("REDRIVE_TOKEN", development::TOKEN);
    for variables in [&[][..], &[token], &[public]] {
        let text = refusal("\nhttp = \"0.0.0.0:9000\"\n", variables, &[]);
        let place = "redrive.toml, line 2: http = 0.0.0.0:9000 can be reached";
        assert!(text.starts_with(place), "{text}");
        let flags = [("listen", "0.0.0.0:9000")];
        let text = refusal("", variables, &flags);
        assert!(text.starts_with("flag --listen: listen = "), "{text}");
    }
}

#[test]
fn loopback_needs_nothing_and_a_token_ends_the_development_credentials() {
    for address in [
        "127.0.0.1:1",
        "127.9.9.9:1",
        "[::1]:1",
        "[::ffff:127.0.0.1]:1",
    ] {
        assert!(
            serve("", &[], &[("http", address)])
                .unwrap()
                .access
                .is_development,
            "{address}"
        );
    }
    let config = serve("token = \"own\"", &[], &[]).unwrap();
    assert!(!config.access.is_development);
    assert!(config.access.token.matches(b"own"));
    assert!(!config.access.token.matches(development::TOKEN.as_bytes()));
    let config = serve("", &[("REDRIVE_TOKEN", development::TOKEN)], &[]).unwrap();
    assert!(config.access.is_development);
}

#[test]
fn the_token_is_in_no_output() {
    let token = "hunter2hunter2";
    let settings = resolve(&format!("token = \"{token}\""), &[], &[("token", token)]).unwrap();
    let config = ServeConfig::from_settings(&settings).unwrap();
    let flag = FlagValue {
        flag: "--token".into(),
        key: "token".into(),
        value: token.into(),
    };
    let bad = format!("{token} with a blank");
    let error = resolve("", &[("REDRIVE_TOKEN", &bad)], &[]).unwrap_err();
    for text in [
        effective(&settings),
        format!("{settings:?} {config:?} {flag:?}"),
        format!("{error} {error:?}"),
    ] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert!(effective(&settings).contains("token is set, not shown"));
}

#[test]
fn the_reference_has_a_row_for_every_key() {
    let text = reference_markdown();
    assert_eq!(text.lines().count(), KEYS.len() + 2);
    assert!(
        text.contains("| `data_dir` (`--data-dir`) | `./redrive-data` |"),
        "{text}"
    );
}
