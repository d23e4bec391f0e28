//! Installs the pinned clients below the target directory with their ordinary package tools, once; later runs find them there.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The clients whose behaviour is the contract.
const PYTHON_PACKAGE: &str = "qstash==3.4.0";
const NPM_PACKAGE: &str = "@upstash/qstash";
const NPM_VERSION: &str = "2.12.0";

/// Oldest versions that run the clients.
const PYTHON_MIN: (u32, u32) = (3, 9);
const NODE_MIN: (u32, u32) = (18, 0);

const NEED_PYTHON: &str = "these tests run the Python client: install python3 (3.9 or later) with its venv and pip modules \
                           (Debian and Ubuntu: apt-get install python3 python3-venv)";
const NEED_NODE: &str =
    "these tests run the TypeScript client: install Node.js (18 or later) with npm";

/// Directory of everything that is installed.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdk")
}

/// Returns the interpreter that has the Python client.
pub(crate) fn python() -> &'static Path {
    static DONE: OnceLock<PathBuf> = OnceLock::new();
    DONE.get_or_init(|| once("python", PYTHON_PACKAGE, install_python).join("bin/python"))
}

/// Returns the directory whose `node_modules` have the TypeScript client.
pub(crate) fn javascript() -> &'static Path {
    static DONE: OnceLock<PathBuf> = OnceLock::new();
    let package = format!("{NPM_PACKAGE}@{NPM_VERSION}");
    DONE.get_or_init(|| once("javascript", &package, install_javascript))
}

/// Installs into a directory unless its mark says that this has been done. A lock makes test processes take turns.
fn once(name: &str, package: &str, install: fn(&Path)) -> PathBuf {
    fs::create_dir_all(root()).unwrap();
    let lock = File::create(root().join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let directory = root().join(name);
    let mark = directory.join("installed");
    if fs::read_to_string(&mark).is_ok_and(|text| text == package) {
        return directory;
    }
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            panic!("{}: {error}", directory.display())
        }
        _ => {}
    }
    fs::create_dir_all(&directory).unwrap();
    install(&directory);
    fs::write(&mark, package).unwrap();
    directory
}

fn install_python(directory: &Path) {
    require("python3", PYTHON_MIN, NEED_PYTHON);
    run(
        Command::new("python3").args(["-m", "venv"]).arg(directory),
        NEED_PYTHON,
    );
    let mut install = Command::new(directory.join("bin/python"));
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        PYTHON_PACKAGE,
    ]);
    run(
        &mut install,
        "installing the Python client needs its package registry",
    );
}

fn install_javascript(directory: &Path) {
    require("node", NODE_MIN, NEED_NODE);
    require("npm", (0, 0), NEED_NODE);
    let package =
        format!(r#"{{"private": true, "dependencies": {{"{NPM_PACKAGE}": "{NPM_VERSION}"}}}}"#);
    fs::write(directory.join("package.json"), package).unwrap();
    let mut install = Command::new("npm");
    install.args([
        "install",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--loglevel=error",
    ]);
    run(
        install.current_dir(directory),
        "installing the TypeScript client needs its package registry",
    );
}

/// Fails with what to install unless the program is there and new enough.
fn require(program: &str, min: (u32, u32), need: &str) {
    let output = Command::new(program).arg("--version").output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; {need}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version =
        version(&text).unwrap_or_else(|| panic!("{program} --version says {text:?}; {need}"));
    assert!(
        version >= min,
        "{program} {}.{} is too old; {need}",
        version.0,
        version.1
    );
}

/// Reads `v20.1.3` and `Python 3.11.7`.
fn version(text: &str) -> Option<(u32, u32)> {
    let digits = text.split_whitespace().last()?.trim_start_matches('v');
    let mut parts = digits.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn run(command: &mut Command, need: &str) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; {need}"));
    assert!(
        output.status.success(),
        "{command:?} failed; {need}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn versions_of_the_tools_are_read() {
    assert_eq!(version("Python 3.11.7\n"), Some((3, 11)));
    assert_eq!(version("v20.20.2\n"), Some((20, 20)));
    assert_eq!(version("11.19.1"), Some((11, 19)));
    assert_eq!(version("3"), None);
    assert_eq!(version(""), None);
}

#[test]
#[should_panic(
    expected = "is too old; these tests run the TypeScript client: install Node.js (18 or later) with npm"
)]
fn an_old_node_is_named() {
    require("node", (9_999, 0), NEED_NODE);
}

#[test]
#[should_panic(expected = "install python3 (3.9 or later)")]
fn a_missing_python_is_named() {
    require("python3-that-is-nowhere", PYTHON_MIN, NEED_PYTHON);
}
