//! The style that a machine can check: layers, sizes, headers, characters, and who may touch files and sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may panic"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Most lines of a file before its tests. The aim is 120.
const PRODUCTION_LINES_MAX: usize = 400;

/// Files that hold one responsibility in more lines, with the reason.
const LONG_FILES: [(&str, &str); 0] = [];

struct Source {
    path: PathBuf,
    /// The path below the crate's `src`, with slashes.
    name: String,
    text: String,
}

impl Source {
    fn is_test(&self) -> bool {
        self.name.ends_with("tests.rs")
            || self.name.contains("/tests/")
            || self.name.ends_with("samples.rs")
    }

    /// The text before the tests.
    fn production(&self) -> &str {
        self.text.split("#[cfg(test)]\nmod tests {").next().unwrap()
    }

    fn module(&self) -> &str {
        self.name.split(['/', '.']).next().unwrap()
    }
}

fn sources(root: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
    let mut all = Vec::new();
    collect(&root, &root, &mut all);
    assert!(all.len() > 10, "no sources below {}", root.display());
    all
}

fn collect(root: &Path, dir: &Path, all: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_string_lossy()
                .replace('\\', "/");
            let text = fs::read_to_string(&path).unwrap();
            all.push(Source { path, name, text });
        }
    }
}

fn report(what: &str, problems: &[String]) {
    assert!(problems.is_empty(), "{what}:\n  {}", problems.join("\n  "));
}

/// Modules in the order of their declaration, lowest layer first.
fn layers(root: &str) -> Vec<String> {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(root)
        .join("lib.rs");
    let text = fs::read_to_string(lib).unwrap();
    let declared = |line: &str| {
        let rest = line
            .strip_prefix("pub mod ")
            .or_else(|| line.strip_prefix("mod "))?;
        rest.strip_suffix(';').map(str::to_owned)
    };
    text.lines().filter_map(declared).collect()
}

#[test]
fn modules_import_downwards_only() {
    for root in ["src", "storage/src"] {
        let layers = layers(root);
        let height = |module: &str| layers.iter().position(|layer| layer == module);
        let mut problems = Vec::new();
        for source in sources(root).iter().filter(|source| !source.is_test()) {
            let Some(own) = height(source.module()) else {
                continue;
            };
            for (at, line) in source.production().lines().enumerate() {
                let line = line.trim_start();
                if line.starts_with("//") {
                    continue;
                }
                for imported in line.split("crate::").skip(1) {
                    let module: String = imported
                        .chars()
                        .take_while(|c| c.is_alphanumeric() || *c == '_')
                        .collect();
                    if height(&module).is_some_and(|other| other > own) {
                        problems.push(format!(
                            "{}:{} imports {module} from above",
                            source.path.display(),
                            at + 1
                        ));
                    }
                }
            }
        }
        report(
            "a module imports only modules that lib.rs lists above it",
            &problems,
        );
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    let all = ["src", "storage/src"].into_iter().flat_map(sources);
    let problems: Vec<_> = all
        .filter(|source| !source.is_test() && !source.text.starts_with("//!"))
        .map(|source| source.path.display().to_string())
        .collect();
    report("a file opens with //!", &problems);
}

#[test]
fn files_stay_short() {
    let all = ["src", "storage/src"].into_iter().flat_map(sources);
    let problems: Vec<_> = all
        .filter(|source| !source.is_test())
        .map(|source| (source.production().lines().count(), source))
        .filter(|(lines, source)| {
            let is_known = LONG_FILES
                .iter()
                .any(|(name, _)| source.path.ends_with(name));
            *lines > PRODUCTION_LINES_MAX && !is_known
        })
        .map(|(lines, source)| {
            format!(
                "{} has {lines} lines before its tests",
                source.path.display()
            )
        })
        .collect();
    report("a file has at most 400 lines before its tests", &problems);
}

#[test]
fn sources_are_ascii_and_leave_nothing_open() {
    let mut problems = Vec::new();
    for source in ["src", "storage/src"].into_iter().flat_map(sources) {
        for (at, line) in source.text.lines().enumerate() {
            if !line.is_ascii() {
                problems.push(format!("{}:{} is not ASCII", source.path.display(), at + 1));
            }
            for word in ["FIXME", "XXX", "#[ignore"] {
                if line.contains(word) {
                    problems.push(format!("{}:{} has {word}", source.path.display(), at + 1));
                }
            }
        }
    }
    report("sources are finished", &problems);
}

#[test]
fn only_the_disk_touches_files_in_storage() {
    let problems: Vec<_> = sources("storage/src")
        .iter()
        .filter(|source| !source.is_test() && source.module() != "disk")
        .filter(|source| {
            source.production().contains("std::fs") || source.production().contains("File::")
        })
        .filter(|source| source.production().contains("std::fs"))
        .map(|source| source.path.display().to_string())
        .collect();
    report("std::fs stays behind the Disk trait", &problems);
}

/// Files that open connections or make HTTP clients, with the reason. A delivery goes through the guard alone.
const CONNECTING_FILES: [(&str, &str); 8] = [
    ("delivery/guard/dial.rs", "dials what the guard has checked"),
    ("delivery/guard/connector.rs", "is the guard"),
    ("delivery/guard/mod.rs", "re-exports the dialler for tests"),
    (
        "delivery/client/http_client.rs",
        "has the guard for its connector",
    ),
    (
        "client/connection/mod.rs",
        "goes to the broker that its user names",
    ),
    ("cli/http.rs", "goes to the broker that its user names"),
    ("cli/bench/limit.rs", "goes to this machine, to measure it"),
    (
        "cli/bench/read_limit.rs",
        "goes to this machine, to measure it",
    ),
    (
        "cli/bench/push/sender.rs",
        "goes to the broker and to its own sink, to measure them",
    ),
];

/// What opens a connection or makes an HTTP client.
const CONNECTING_WORDS: [&str; 11] = [
    "TcpStream::connect",
    "TcpSocket",
    "UdpSocket",
    "UnixStream",
    "socket2::Socket",
    "connect_timeout(",
    "HttpConnector",
    "Client::builder",
    "client::conn::",
    "SystemDial",
    "reqwest",
];

#[test]
fn only_the_guard_dials_for_a_delivery() {
    let mut problems = Vec::new();
    for source in ["src", "storage/src"].into_iter().flat_map(sources) {
        if source.is_test() {
            continue;
        }
        let text = source.production();
        let word = CONNECTING_WORDS.iter().find(|word| text.contains(**word));
        let is_known = CONNECTING_FILES
            .iter()
            .any(|(name, _)| source.name == *name);
        match word {
            Some(word) if !is_known => {
                problems.push(format!("{} has {word}", source.path.display()));
            }
            None if is_known => problems.push(format!(
                "{} connects no more: strike it off the list",
                source.path.display()
            )),
            _ => {}
        }
    }
    report("only the guard opens connections for deliveries", &problems);
}

#[test]
fn unsafe_code_stands_in_one_file() {
    let problems: Vec<_> = ["src", "storage/src"]
        .into_iter()
        .flat_map(sources)
        .filter(|source| source.text.contains("unsafe {") && source.name != "disk/map.rs")
        .map(|source| source.path.display().to_string())
        .collect();
    report("unsafe code stands in disk/map.rs alone", &problems);
}

#[test]
fn the_readme_has_the_configuration_reference() {
    let readme =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, rest) = readme
        .split_once("<!-- configuration -->\n")
        .expect("the README opens its reference");
    let (table, _) = rest
        .split_once("<!-- /configuration -->")
        .expect("the README closes its reference");
    assert_eq!(
        table.trim(),
        redrive::config::reference_markdown().trim(),
        "paste the output of `redrive config reference` into the README"
    );
}
