//! Rounds of schemathesis: any values, values that mean something, and the calls that take things away.

use std::fs;
use std::process::Command;

use crate::broker::TOKEN;
use crate::description::Description;
use crate::install;
use crate::world::World;

/// Examples of each operation besides the systematic ones.
const EXAMPLES: &str = "10";
const SEED: &str = "1";

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance";

const HOOKS: &str = include_str!("hooks.py");

/// Calls that take away what later calls would find.
const REMOVING: &str = r"(retry|/dead-letters/delete)(/|$)";

/// Runs all rounds of a description. The world is filled again before each.
pub(crate) fn run(name: &str, world: &mut World, description: &Description) {
    round(name, "any values", world, description, &[]);
    let values = world.fill();
    let urls = world.urls();
    let filled = description.with_values(&values, &urls);
    let keep = [
        "--exclude-method",
        "DELETE",
        "--exclude-path-regex",
        REMOVING,
    ];
    round(name, "known values", world, &filled, &keep);
    for (what, only) in [
        ("retrying", ["--include-path-regex", REMOVING]),
        ("deleting", ["--include-method", "DELETE"]),
    ] {
        let values = world.fill();
        let filled = description.with_values(&values, &urls);
        round(name, what, world, &filled, &only);
    }
}

fn round(
    name: &str,
    what: &str,
    world: &mut World,
    description: &Description,
    operations: &[&str],
) {
    let variable =
        |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    let examples = variable("REDRIVE_CONFORMANCE_EXAMPLES", EXAMPLES);
    let seed = variable("REDRIVE_CONFORMANCE_SEED", SEED);
    let program = install::schemathesis();
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("hooks.py"), HOOKS).unwrap();
    let file = directory.path().join("description.json");
    fs::write(&file, description.0.to_string()).unwrap();
    let mut command = Command::new(program);
    command
        .current_dir(directory.path())
        .arg("run")
        .arg(&file)
        .args(["--url", &format!("http://{}", world.broker.http)])
        .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
        .args(["--checks", CHECKS, "--phases", "coverage,fuzzing,stateful"])
        .args(["--max-examples", &examples, "--seed", &seed])
        .args(["--generation-database", "none", "--no-shrink"])
        .args(["--continue-on-failure", "--suppress-health-check", "all"])
        .args(["--request-timeout", "60", "--warnings", "off", "--no-color"])
        .args(operations)
        .env("NO_PROXY", "*")
        .env("PYTHONPATH", directory.path())
        .env("SCHEMATHESIS_HOOKS", "hooks");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let cases = said
        .lines()
        .find(|line| line.contains(" generated, "))
        .unwrap_or_default();
    eprintln!("{name}, {what}, seed {seed}: {}", cases.trim());
    assert!(
        output.status.success() && !cases.is_empty(),
        "{name}, {what}, seed {seed}:\n{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    world.broker.assert_sound();
}
