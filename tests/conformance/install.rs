//! Installs schemathesis below the target directory with python3's own tools, once; later runs find it there.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "schemathesis==4.32.5";

/// Oldest python3 that runs it.
const PYTHON_MIN: (u32, u32) = (3, 10);

const NEED_PYTHON: &str = "these tests run schemathesis: install python3 (3.10 or later) with its venv and pip modules \
                           (Debian and Ubuntu: apt-get install python3 python3-venv)";

/// Returns the program, installed. A lock makes test processes take turns.
pub(crate) fn schemathesis() -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance");
    fs::create_dir_all(&root).unwrap();
    let lock = File::create(root.join("lock")).unwrap();
    lock.lock().unwrap();
    let directory = root.join("python");
    let program = directory.join("bin/schemathesis");
    let mark = directory.join("installed");
    if fs::read_to_string(&mark).is_ok_and(|text| text == PACKAGE) {
        return program;
    }
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            panic!("{}: {error}", directory.display())
        }
        _ => {}
    }
    require("python3");
    let mut venv = Command::new("python3");
    run(venv.args(["-m", "venv"]).arg(&directory), NEED_PYTHON);
    let mut install = Command::new(directory.join("bin/python"));
    install.args(["-m", "pip", "install", "--quiet"]);
    install.args(["--disable-pip-version-check", PACKAGE]);
    run(
        &mut install,
        "installing schemathesis needs its package registry",
    );
    fs::write(&mark, PACKAGE).unwrap();
    program
}

/// Fails with what to install unless python3 is there and new enough.
fn require(program: &str) {
    let output = Command::new(program).arg("--version").output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; {NEED_PYTHON}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = version(&text)
        .unwrap_or_else(|| panic!("{program} --version says {text:?}; {NEED_PYTHON}"));
    assert!(
        found >= PYTHON_MIN,
        "{program} {}.{} is too old; {NEED_PYTHON}",
        found.0,
        found.1
    );
}

/// Reads `Python 3.11.7`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split_whitespace().last()?.split('.');
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
fn versions_of_python_are_read() {
    assert_eq!(version("Python 3.11.7\n"), Some((3, 11)));
    assert_eq!(version("3"), None);
    assert_eq!(version(""), None);
}

#[test]
#[should_panic(expected = "install python3 (3.10 or later)")]
fn a_missing_python_is_named() {
    require("python3-that-is-nowhere");
}
