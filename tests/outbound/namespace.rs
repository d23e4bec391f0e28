//! A network of the test's own, in which every address of the internet is this machine: whatever is dialled is reached.
//!
//! The test starts itself again in namespaces of its own (network, mounts, processes). All that is set up there, and all that
//! runs there, ends with the process.

use std::path::Path;
use std::process::{Command, Stdio};

/// Set in the process inside.
const INSIDE: &str = "OUTBOUND_INSIDE";

/// Where the resolver of the namespace asks.
pub(crate) const NAME_SERVER: &str = "127.0.0.53";

/// Runs `test` in a network of its own, if this machine lets one be made. Says loudly if it does not.
pub(crate) fn inside(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        set_up();
        return test();
    }
    if let Err(reason) = is_possible() {
        println!("\n*** NOT RUN: {name}: {reason} ***\n");
        eprintln!("\n*** NOT RUN: {name}: {reason} ***\n");
        return;
    }
    let status = unshare()
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed inside: {status}");
}

/// The command that makes the namespaces; everything inside is killed when the first process there ends.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args([
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    command.stdin(Stdio::null());
    command
}

fn is_possible() -> Result<(), String> {
    let script =
        "ip link set lo up && test -e /proc/net/if_inet6 && ip -6 addr add 2600::1/128 dev lo";
    let tried = unshare().args(["sh", "-c", script]).output();
    let output = tried.map_err(|error| format!("unshare does not run ({error})"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!(
        "no network namespace with IPv4 and IPv6 can be made here ({text})"
    ))
}

fn set_up() {
    run("ip", &["link", "set", "lo", "up"]);
    // Every address is local, so that a connection to any of them is accepted by whoever listens on its port.
    run("ip", &["route", "add", "local", "0.0.0.0/0", "dev", "lo"]);
    run("ip", &["-6", "route", "add", "local", "::/0", "dev", "lo"]);
    // What a connection to an IPv6 address comes from.
    run("ip", &["-6", "addr", "add", "2600::1/128", "dev", "lo"]);
    let dir = tempfile::tempdir().unwrap();
    let files = [
        (
            "/etc/resolv.conf",
            format!("nameserver {NAME_SERVER}\noptions timeout:30 attempts:1\n"),
        ),
        (
            "/etc/hosts",
            "127.0.0.1 localhost localhost.localdomain machine\n::1 localhost ip6-localhost\n10.3.3.3 in-hosts.test\n"
                .to_owned(),
        ),
        ("/etc/nsswitch.conf", "hosts: files dns\n".to_owned()),
    ];
    for (target, text) in files {
        if !Path::new(target).exists() {
            assert_ne!(target, "/etc/resolv.conf", "there is none to replace");
            continue;
        }
        let source = dir.path().join(target.trim_start_matches("/etc/"));
        std::fs::write(&source, text).unwrap();
        run("mount", &["--bind", source.to_str().unwrap(), target]);
    }
    // The mounts keep the files when the directory goes.
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status();
    assert!(status.unwrap().success(), "{program} {arguments:?}");
}
