//! What `redrive bench` prints, and that it leaves nothing behind.

use std::fs;

use crate::broker::{self, Broker, run, stderr, stdout};

#[test]
fn benches_print_the_keys_that_scripts_read() {
    let broker = Broker::start();
    let load = [
        "--records",
        "2500",
        "--size",
        "100",
        "--batch",
        "100",
        "--json",
    ];
    for (what, acks) in [
        ("produce", "written"),
        ("produce", "synced"),
        ("consume", "written"),
        ("limit", "written"),
        ("limit", "synced"),
    ] {
        let mut command = broker.command(&["bench", what, "--acks", acks]);
        command.args(load).current_dir(broker.directory.path());
        let report = broker::json(&run(command));
        for key in [
            "records_per_second",
            "bytes_per_second",
            "p50_us",
            "p99_us",
            "p999_us",
        ] {
            assert!(
                report[key].as_f64().unwrap() > 0.0,
                "{what} {key}: {report}"
            );
        }
        assert_eq!(report["effective"]["durability"], acks);
    }
    let left = fs::read_dir(broker.directory.path())
        .unwrap()
        .filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().contains("bench")
        });
    assert_eq!(left.count(), 0);
    let topics = broker::json(&run(broker.command(&["topic", "list", "--json"])));
    let names: Vec<_> = topics
        .as_array()
        .unwrap()
        .iter()
        .map(|topic| &topic["name"])
        .collect();
    assert_eq!(names, ["_push"], "the broker's own topic alone");
}

#[test]
fn letters_of_messages_are_made_measured_and_deleted() {
    let broker = Broker::start();
    // With a multiple of what reasons and labels there are, the letters of a URL died of the same.
    let load = ["--letters", "1500", "--urls", "500", "--size", "100B"];
    let mut command = broker.command(&["bench", "letters", "--json"]);
    command.args(load);
    let report = broker::json(&run(command));
    let figures = &report["figures"];
    assert_eq!(figures["letters_on_a_url_page"]["median"], 3.0, "{report}");
    assert!(figures["published_and_dead"]["median"].as_f64().unwrap() > 0.0);
    let left = broker::json(&run(broker.command(&["dlq", "list", "_push", "--json"])));
    assert_eq!(left["letters"].as_array().unwrap().len(), 0);
}

#[test]
fn the_table_has_a_line_for_each_figure_and_takes_its_brokers_away() {
    let directory = tempfile::tempdir().unwrap();
    let table = |arguments: &[&str]| {
        let mut command = broker::redrive();
        command.args([
            "bench", "table", "--json", "--rounds", "1", "--scale", "5000",
        ]);
        command.arg("--data-dir").arg(directory.path());
        run({
            command.args(arguments);
            command
        })
    };
    let output = table(&["--only", "synced,republish-small"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let rows: Vec<_> = lines.iter().map(|line| &line["row"]).collect();
    assert_eq!(rows, ["synced", "republish-small", "republish-small"]);
    let synced = &lines[0];
    assert_eq!(synced["commands"][1], "bench limit --records 100");
    for of in ["found", "beside", "ratio"] {
        assert!(synced[of]["median"].as_f64().unwrap() > 0.0, "{synced}");
    }
    assert!(synced["is_reached"].is_boolean(), "{synced}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);

    let output = table(&["--only", "synced,sunk"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("\"sunk\" is no row of the table"), "{text}");
}
