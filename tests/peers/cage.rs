//! A hard limit on the memory of one process: a memory cgroup of its own where this user may make one, of either version, else a
//! limit on its data segment. The cgroup is removed when it goes out of scope, after its process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the limit stands.
#[derive(Debug)]
pub(crate) enum Cage {
    /// A memory cgroup of version 1.
    V1(PathBuf),
    /// A cgroup of version 2.
    V2(PathBuf),
    /// No cgroup can be made here: the process's own limit on its data. It counts what is reserved and not touched, so it is
    /// wider, and a broker that takes a little too much is not noticed.
    Data,
}

/// What a process's limit on its data leaves for what is reserved and not touched.
const RESERVED_BYTES: u64 = 128 << 20;

static NUMBER: AtomicU64 = AtomicU64::new(0);

impl Cage {
    pub(crate) fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("redrive-peers-{}-{number}", std::process::id());
        let made = |base: &str, limit: &str| {
            let dir = Path::new(base).join(&name);
            std::fs::create_dir(&dir).ok()?;
            let is_writable = std::fs::OpenOptions::new()
                .write(true)
                .open(dir.join(limit))
                .is_ok();
            if !is_writable {
                std::fs::remove_dir(&dir).ok();
            }
            is_writable.then_some(dir)
        };
        if let Some(dir) = made("/sys/fs/cgroup/memory", "memory.limit_in_bytes") {
            return Self::V1(dir);
        }
        match made("/sys/fs/cgroup", "memory.max") {
            Some(dir) => Self::V2(dir),
            None => Self::Data,
        }
    }

    /// Sets the limit, which holds for what [`Cage::around`] starts from now on.
    pub(crate) fn limit(&self, bytes: u64) {
        match self {
            Self::V1(dir) => {
                std::fs::write(dir.join("memory.limit_in_bytes"), bytes.to_string()).unwrap();
            }
            Self::V2(dir) => {
                std::fs::write(dir.join("memory.max"), bytes.to_string()).unwrap();
                std::fs::write(dir.join("memory.swap.max"), "0").ok();
            }
            Self::Data => {}
        }
    }

    /// Wraps a command so that its process runs inside. `data_bytes` counts where there is no cgroup.
    pub(crate) fn around(&self, command: &Command, data_bytes: Option<u64>) -> Command {
        let mut caged = Command::new("sh");
        match (self, data_bytes) {
            (Self::V1(dir) | Self::V2(dir), _) => {
                let script = r#"echo $$ > "$0"/cgroup.procs && exec "$@""#;
                caged.args(["-c", script]).arg(dir);
            }
            (Self::Data, Some(bytes)) => {
                // Threads that come and the parts of the heap reserve more than they touch, and that counts here.
                let kib = ((bytes + RESERVED_BYTES) >> 10).to_string();
                caged.args(["-c", r#"ulimit -d "$0" && exec "$@""#, &kib]);
            }
            (Self::Data, None) => {
                caged.args(["-c", r#"exec "$@""#, "sh"]);
            }
        }
        caged.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => caged.env(name, value),
                None => caged.env_remove(name),
            };
        }
        caged
    }

    /// What a process takes of the limit and cannot give back: not the file pages, which the system drops when it must.
    pub(crate) fn used_bytes(&self, pid: u32) -> u64 {
        let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
        let of = |text: &str, name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap()
                .split_whitespace()
                .next()
                .unwrap()
                .parse()
                .unwrap()
        };
        match self {
            Self::V1(dir) => {
                let all: u64 = read(dir.join("memory.usage_in_bytes"))
                    .trim()
                    .parse()
                    .unwrap();
                all.saturating_sub(of(&read(dir.join("memory.stat")), "cache "))
            }
            Self::V2(dir) => {
                let all: u64 = read(dir.join("memory.current")).trim().parse().unwrap();
                all.saturating_sub(of(&read(dir.join("memory.stat")), "file "))
            }
            Self::Data => {
                let status = read(PathBuf::from(format!("/proc/{pid}/status")));
                of(&status, "VmData:") << 10
            }
        }
    }

    /// How often the system has killed what is inside, as far as it says.
    pub(crate) fn kill_count(&self) -> u64 {
        let path = match self {
            Self::V1(dir) => dir.join("memory.oom_control"),
            Self::V2(dir) => dir.join("memory.events"),
            Self::Data => return 0,
        };
        let text = std::fs::read_to_string(path).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill ").map(str::to_owned));
        line.map_or(0, |count| count.trim().parse().unwrap())
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        let (Self::V1(dir) | Self::V2(dir)) = self else {
            return;
        };
        // A process that has ended leaves a moment later.
        for _ in 0..200 {
            if std::fs::remove_dir(&*dir).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
