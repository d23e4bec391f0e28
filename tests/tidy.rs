//! The style that a machine can check: layers, sizes, headers, characters, and who may touch files and sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
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
const CONNECTING_FILES: [(&str, &str); 9] = [
    ("delivery/guard/dial.rs", "dials what the guard has checked"),
    ("delivery/guard/connector.rs", "is the guard"),
    ("delivery/guard/mod.rs", "re-exports the dialler for tests"),
    (
        "delivery/client/link.rs",
        "speaks HTTP over what the guard has connected",
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
        "cli/bench/post.rs",
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

/// What `.deny.toml` says, which cargo-deny reads as well.
/// Returns the paths that a text cites, as `tests/power`, each with the tests or modules that it names behind it, as `power_cuts`.
fn cited(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut cited: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut is_open = false;
    let mut before = "";
    for (at, part) in text.split('`').enumerate() {
        if at % 2 == 0 {
            before = part;
            continue;
        }
        let is_path = ["tests/", "src/", "storage/"]
            .iter()
            .any(|root| part.starts_with(root));
        let joins = match cited.last() {
            Some((_, names)) if names.is_empty() => ": ",
            _ => ", ",
        };
        is_open = is_path || (is_open && before == joins);
        match cited.last_mut() {
            _ if is_path => cited.push((part, Vec::new())),
            Some((_, names)) if is_open => names.push(part),
            _ => {}
        }
    }
    cited
}

/// A promise whose test is gone, or has another name, is held by nothing.
#[test]
fn what_the_readme_cites_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let cited = cited(&readme);
    assert!(cited.len() > 40, "{cited:?}");
    let mut problems = Vec::new();
    for (path, names) in cited {
        let at = root.join(path);
        let mut sources = Vec::new();
        if at.is_dir() {
            collect(&at, &at, &mut sources);
        } else if let Ok(text) = fs::read_to_string(&at) {
            let name = path.to_owned();
            sources.push(Source {
                path: at,
                name,
                text,
            });
        }
        if sources.is_empty() && !root.join(path).exists() {
            problems.push(format!("there is no {path}"));
        }
        for name in names {
            let is_there = |source: &Source| {
                let mut module = source.name.trim_end_matches(".rs").split('/');
                source.text.contains(&format!("fn {name}(")) || module.next_back() == Some(name)
            };
            if !sources.iter().any(is_there) {
                problems.push(format!("{path} has no {name}"));
            }
        }
    }
    report("the README cites what is not there", &problems);
}

fn allowed(table: &str, list: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".deny.toml");
    let rules: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
    let members = rules[table][list].as_array().unwrap();
    members
        .iter()
        .map(|member| member.as_str().unwrap().to_owned())
        .collect()
}

/// Whether a licence expression (SPDX, or the older `A/B`) can be kept with the licences of `allow` alone.
fn is_permitted(expression: &str, allow: &[String]) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let is_met = either(&mut words, allow);
    assert_eq!(words.next(), None, "{expression} is not understood");
    is_met
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>, allow: &[String]) -> bool {
    let mut is_met = both(words, allow);
    while words.next_if_eq(&"OR").is_some() {
        is_met |= both(words, allow);
    }
    is_met
}

fn both(words: &mut Words<'_>, allow: &[String]) -> bool {
    let mut is_met = one(words, allow);
    while words.next_if_eq(&"AND").is_some() {
        is_met &= one(words, allow);
    }
    is_met
}

fn one(words: &mut Words<'_>, allow: &[String]) -> bool {
    let word = words.next().expect("a licence");
    if word == "(" {
        let is_met = either(words, allow);
        assert_eq!(words.next(), Some(")"));
        return is_met;
    }
    // An exception is a licence of its own, which is not in the list.
    let is_plain = words
        .next_if_eq(&"WITH")
        .and_then(|_| words.next())
        .is_none();
    is_plain && allow.iter().any(|known| known == word)
}

#[test]
fn dependencies_have_licences_that_can_be_kept() {
    let allow = allowed("licenses", "allow");
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("MIT/GPL-3.0-only", true),
        ("MIT AND GPL-3.0-only", false),
        ("GPL-3.0-only OR (ISC AND (MIT OR MPL-2.0))", true),
        ("Apache-2.0 WITH LLVM-exception", false),
    ] {
        assert_eq!(is_permitted(expression, &allow), expected, "{expression}");
    }
    // What is built on this machine is there without a network; cargo-deny looks at all platforms.
    let rustc = std::process::Command::new("rustc").arg("-vV").output();
    let rustc = String::from_utf8(rustc.unwrap().stdout).unwrap();
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: "));
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(["--filter-platform", host.unwrap()])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "{}", packages.len());
    let problems: Vec<_> = packages
        .iter()
        .filter(|package| {
            let licence = package["license"].as_str();
            licence.is_none_or(|licence| !is_permitted(licence, &allow))
        })
        .map(|package| format!("{} {}", package["name"], package["license"]))
        .collect();
    report("licences are among those of .deny.toml", &problems);
}

#[test]
fn dependencies_come_from_the_registry_alone() {
    let registries = allowed("sources", "allow-registry");
    let mut problems = Vec::new();
    for lock in ["Cargo.lock", "fuzz/Cargo.lock"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(lock)).unwrap();
        let lock: toml::Table = text.parse().unwrap();
        for package in lock["package"].as_array().unwrap() {
            let Some(source) = package.get("source").and_then(toml::Value::as_str) else {
                continue;
            };
            let registry = source.strip_prefix("registry+").unwrap_or_default();
            let is_known = registries.iter().any(|known| known == registry);
            if !is_known || package.get("checksum").is_none() {
                problems.push(format!("{} from {source}", package["name"]));
            }
        }
    }
    report("only registries of .deny.toml, with checksums", &problems);
}

#[test]
fn every_fuzz_target_is_listed_everywhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let names = |dir: &str, cut: &str| -> Vec<String> {
        let entries = fs::read_dir(root.join(dir)).unwrap();
        let mut all: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .map(|name| name.trim_end_matches(cut).to_owned())
            .collect();
        all.sort();
        all
    };
    let targets = names("fuzz_targets", ".rs");
    assert_eq!(targets, names("corpus", ".rs"), "each target has seeds");
    let manifest: toml::Table = fs::read_to_string(root.join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let mut binaries: Vec<_> = manifest["bin"]
        .as_array()
        .unwrap()
        .iter()
        .map(|binary| binary["name"].as_str().unwrap().to_owned())
        .collect();
    binaries.sort();
    assert_eq!(targets, binaries, "each target is built");
    let lib = fs::read_to_string(root.join("src/lib.rs")).unwrap();
    for target in targets {
        let line = format!("(\"{target}\", {target}::run)");
        assert!(lib.contains(&line), "{target} runs in the ordinary tests");
    }
}
