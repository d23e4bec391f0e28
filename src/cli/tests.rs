//! The command tree as a whole.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use std::path::Path;

use clap::{CommandFactory, Parser};

use super::*;
use crate::limits::{REJECT_DETAILS_BYTES_MAX, REJECT_REASON_BYTES_MAX};

fn parsed(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("redrive").chain(line.split_whitespace()))
}

#[test]
fn the_command_tree_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn the_documented_commands_parse() {
    for line in [
        "serve",
        "serve --data-dir d --http 127.0.0.1:0 --listen 127.0.0.1:0 --config f --token t",
        "serve --segment-bytes 1MiB --retention-bytes 8MiB --set log.level=debug",
        "topic create t --partitions 8 --durability written --segment-bytes 1MiB --retention-ms none",
        "topic list --json",
        "topic describe t --json",
        "topic alter t --retention-bytes 8MiB",
        "topic delete t --force",
        "produce t f --key-field k --batch 500 --linger-ms 10 --compression zstd",
        "produce t",
        "consume t --from earliest --count 200000",
        "consume t --from @2026-01-31T12:00:00Z --partition 3 --group g --follow",
        "reject t 0 17 --reason no --group g",
        "dlq list t --group g --fingerprint f --died-from 0 --died-to 2026-01-31T12:00:00Z --order newest",
        "dlq get t 0Fa84QlfX3yut8ICwDxtWsc",
        "dlq retry t 0Fa84QlfX3yut8ICwDxtWsc 0Fa84QlfX3yut8ICwINXATk --request-id r",
        "dlq delete t --all",
        "dlq stats t",
        "group describe g",
        "retention run",
        "retention confirm-clock",
        "bench produce --records 10 --size 1024 --batch 10 --connections 2 --acks written --json",
        "bench consume --records 10",
        "bench limit --records 10 --size 1KiB --acks synced",
        "verify --data-dir d",
        "repair --data-dir d --partition 3 --drop 1..5",
        "repair --data-dir d --headers",
        "repair --partition 3 --headers --json",
        "config print --http 127.0.0.1:1",
        "config check f",
        "config reference",
        "completions bash",
        "--addr a:1 --url http://b --token t topic list",
    ] {
        if let Err(error) = parsed(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for line in [
        "",
        "sevre",
        "topic",
        "consume t --from yesterday",
        "topic create t --partitions 0",
        "topic create t --segment-bytes lots",
        "produce t --batch 0",
        "reject t 0 17",
        "reject t 0 17 --reason=",
        "topic create a/b",
        "topic create _a",
        "repair --partition 3 --drop 5..1",
        "repair",
        "repair --partition 3",
        "repair --drop 1..5",
        "repair --headers --partition 3 --drop 1..5",
        "repair --headers --log dead-letter",
        "dlq retry t 0Fa84QlfX3yut8ICwDxtWsc --all",
        "serve --set novalue",
    ] {
        assert_eq!(parsed(line).unwrap_err().exit_code(), 2, "{line}");
    }
    assert_eq!(parsed("--help").unwrap_err().exit_code(), 0);
    assert_eq!(parsed("--version").unwrap_err().exit_code(), 0);
}

#[test]
fn nothing_is_selected_by_saying_nothing() {
    for (line, is_clear) in [
        ("dlq retry t", false),
        ("dlq retry t --limit 5", false),
        ("dlq retry t --all --group g", false),
        ("dlq retry t 0Fa84QlfX3yut8ICwDxtWsc --group g", false),
        ("dlq retry t --all", true),
        ("dlq retry t --status 500", true),
        ("dlq retry t 0Fa84QlfX3yut8ICwDxtWsc", true),
    ] {
        let Command::Dlq(dlq::DlqCommand::Retry { selection, .. }) = parsed(line).unwrap().command
        else {
            panic!("{line}");
        };
        assert_eq!(selection.check().is_ok(), is_clear, "{line}");
    }
}

#[test]
fn every_flag_of_serve_that_the_reference_names_exists() {
    let command = Cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    for flag in crate::config::KEYS.iter().filter_map(|key| key.flag) {
        assert!(
            serve
                .get_arguments()
                .any(|argument| argument.get_long() == Some(flag)),
            "{flag}"
        );
    }
}

#[test]
fn serve_takes_its_token_on_either_side() {
    for line in ["serve --token hunter2", "--token hunter2 serve"] {
        let Command::Serve(arguments) = parsed(line).unwrap().command else {
            panic!("{line}")
        };
        let settings = arguments.settings_over([]).unwrap();
        let config = crate::config::ServeConfig::from_settings(&settings).unwrap();
        assert!(config.access.token.matches(b"hunter2"), "{line}");
        let variable = ("REDRIVE_TOKEN".to_owned(), "other".to_owned());
        let settings = arguments.settings_over([variable]).unwrap();
        let text = crate::config::effective(&settings);
        assert!(
            text.contains("token is set, not shown  # flag --token"),
            "{text}"
        );
    }
}

#[test]
fn an_address_is_a_host_and_a_port() {
    for (addr, is_one) in [
        ("127.0.0.1:7733", true),
        ("localhost:0", true),
        ("[::1]:7733", true),
        ("foo", false),
        (":7733", false),
        ("a:", false),
        ("a:65536", false),
        ("::1", false),
        ("::1:7733", false),
        ("http://a:1", false),
    ] {
        let line = format!("--addr {addr} topic list");
        let checked = parsed(&line).unwrap().connection.check_addr();
        assert_eq!(checked.is_ok(), is_one, "{addr}: {checked:?}");
    }
}

#[test]
fn what_goes_to_http_goes_to_the_broker_that_was_named() {
    let checks = |line: &str, variables: &[(&str, &str)]| {
        let connection = parsed(line).unwrap().connection.over(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        let url = connection.check_url().map_err(|error| error.to_string());
        (url, connection.check_pair().is_ok())
    };
    let url = ("REDRIVE_URL", "http://b");
    for (line, variables, is_url_clear, is_pair_clear) in [
        ("retention run", &[][..], true, true),
        ("retention run", &[("REDRIVE_ADDR", "")], true, true),
        ("retention run", &[("REDRIVE_ADDR", "a:1")], false, false),
        ("retention run --addr a:1", &[], false, false),
        ("retention run --url http://b", &[], true, false),
        ("retention run --addr a:1", &[url], true, true),
        ("retention run --addr a:1 --url http://b", &[], true, true),
    ] {
        let (of_url, of_pair) = checks(line, variables);
        assert_eq!(
            (of_url.is_ok(), of_pair),
            (is_url_clear, is_pair_clear),
            "{line}"
        );
        if let Err(said) = of_url {
            assert!(said.contains("--url") && said.contains("a:1"), "{said}");
        }
    }
}

#[test]
fn an_error_names_only_what_was_given() {
    // The environment is read behind the parser, which would name it in the usage as if it were required.
    let command = Cli::command();
    let global = command
        .get_arguments()
        .filter(|argument| argument.is_global_set());
    for argument in global {
        assert_eq!(argument.get_env(), None, "{argument}");
    }
}

#[test]
fn no_debug_shows_the_token() {
    let cli = parsed("--token hunter2 serve").unwrap();
    assert!(!format!("{cli:?}").contains("hunter2"));
    assert_eq!(cli.connection.token(), "hunter2");
}

/// The start of a broker that nothing was told.
fn start_up() -> StartUp<'static> {
    StartUp {
        http: "127.0.0.1:8080".parse().unwrap(),
        protocol: "127.0.0.1:7733".parse().unwrap(),
        data_dir: Path::new("d"),
        token_source: "default",
        is_development: true,
        allows_private: true,
    }
}

#[test]
fn startup_text_has_credentials_only_in_development() {
    let start = start_up();
    let text = startup_text(&start);
    for line in [
        "QSTASH_URL=http://127.0.0.1:8080",
        "QSTASH_TOKEN=eyJVc2VySUQiOiJkZWZhdWx0VXNlciIsIlBhc3N3b3JkIjoiZGVmYXVsdFBhc3N3b3JkIn0=",
        "QSTASH_CURRENT_SIGNING_KEY=sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r",
        "QSTASH_NEXT_SIGNING_KEY=sig_5ZB6DVzB1wjE8S6rZ7eenA8Pdnhs",
    ] {
        assert!(text.lines().any(|found| found == line), "{text}");
    }
    let text = startup_text(&StartUp {
        is_development: false,
        ..start
    });
    assert!(
        !text.contains("QSTASH") && text.contains("127.0.0.1:7733"),
        "{text}"
    );
}

#[test]
fn startup_text_says_that_private_destinations_are_forbidden_before_a_message_dies_of_it() {
    let start = StartUp {
        allows_private: false,
        ..start_up()
    };
    assert!(startup_text(&start).contains("destinations.allowed"));
    assert_eq!(startup_json(&start)["allows_private"], false);
    assert!(!startup_text(&start_up()).contains("destinations.allowed"));
}

#[test]
fn a_program_is_told_the_addresses_and_where_the_token_is_from() {
    let start = start_up();
    let told = startup_json(&start);
    assert_eq!(told["http"], "http://127.0.0.1:8080");
    assert_eq!(told["protocol"], "127.0.0.1:7733");
    assert_eq!(told["data_dir"], "d");
    assert_eq!(told["token_source"], "default");
    assert_eq!(told["is_development"], true);
    let environment = told["environment"].as_object().unwrap();
    for (name, value) in environment {
        let line = format!("{name}={}", value.as_str().unwrap());
        assert!(startup_text(&start).contains(&line), "{line}");
    }
    assert_eq!(environment.len(), 4);
    let told = startup_json(&StartUp {
        token_source: "flag --token",
        is_development: false,
        ..start
    });
    assert_eq!(told["token_source"], "flag --token");
    assert_eq!(told["environment"], serde_json::json!({}));
}

#[test]
fn the_help_of_config_print_speaks_of_it_and_not_of_serve() {
    let mut cli = Cli::command();
    let config = cli.find_subcommand_mut("config").unwrap();
    let print = config.find_subcommand_mut("print").unwrap();
    let help = print.render_long_help().to_string();
    assert!(help.contains("redrive config print --config"), "{help}");
    assert!(!help.contains("redrive serve"), "{help}");
}

/// Looks at the lines that begin with our command, without where their output goes. Those with another command in front are not
/// looked at.
#[test]
fn the_examples_of_all_helps_parse() {
    fn look(command: &clap::Command, seen: &mut usize) {
        let help = command.get_after_help().map(ToString::to_string);
        for line in help.iter().flat_map(|help| help.lines()) {
            let Some(line) = line.strip_prefix("  redrive ") else {
                continue;
            };
            let line = line.split(" > ").next().unwrap_or(line);
            // What stands in quotes is one word.
            let quoted = line.split(['\'', '"']).enumerate();
            let words = quoted.map(|(at, part)| match at % 2 {
                0 => part.to_owned(),
                _ => part.replace(char::is_whitespace, "_"),
            });
            let parsed = parsed(&words.collect::<String>());
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            *seen += 1;
        }
        for inner in command.get_subcommands() {
            look(inner, seen);
        }
    }
    let mut seen = 0;
    look(&Cli::command(), &mut seen);
    assert!(seen > 15, "{seen} examples");
}

#[test]
fn the_help_of_reject_says_how_long_its_texts_may_be() {
    let mut cli = Cli::command();
    let reject = cli.find_subcommand_mut("reject").unwrap();
    let help = reject.render_long_help().to_string();
    for max in [REJECT_REASON_BYTES_MAX, REJECT_DETAILS_BYTES_MAX] {
        assert!(help.contains(&format!("at most {max} bytes")), "{help}");
    }
}

/// Compares with `tests/fixtures/help.txt`; `REDRIVE_BLESS=1` writes it.
#[test]
fn top_level_help_is_as_recorded() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/help.txt");
    let help = Cli::command()
        .term_width(100)
        .render_long_help()
        .to_string();
    if std::env::var_os("REDRIVE_BLESS").is_some() {
        std::fs::write(path, &help).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), help);
}
