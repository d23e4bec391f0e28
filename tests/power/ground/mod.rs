//! Where a broker's data stand: a plain directory, or a small ext4 image of its own whose power can be cut.
//!
//! Whatever ends the test, nothing stays behind. A shell waits for the end of a pipe that this process holds; when the
//! ground is dropped, or the process dies in whatever way, it ends the broker by the id that stands beside the image, takes
//! the mount and the loop device away and removes the directory. What a machine crash left is removed at the next start.

mod tight;

use std::fs::{self, File};
use std::hash::Hasher;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::Advice;

use crate::random::Random;
use crate::shutdown;

/// All directories of this suite begin so.
const NAME: &str = "redrive-power-";

/// `$1` is the directory of a ground. Reads to the end of its input, then removes everything.
const REMOVER: &str = r#"
trap '' INT TERM HUP
dir=$1
cat > /dev/null
pid=$(cat "$dir/pid" 2>/dev/null)
if [ -n "$pid" ] && tr '\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null | grep -qF "$dir/"; then kill -9 "$pid"; fi
tries=0
while mountpoint -q "$dir/mnt" && [ $tries -lt 50 ]; do
  umount "$dir/mnt" 2>/dev/null || sleep 0.1
  tries=$((tries + 1))
done
mountpoint -q "$dir/mnt" && umount -l "$dir/mnt"
for image in "$dir/image" "$dir/memory/image"; do
  if [ -f "$image" ]; then losetup -j "$image" | cut -d: -f1 | xargs -r losetup -d; fi
done
if mountpoint -q "$dir/memory"; then umount "$dir/memory" || umount -l "$dir/memory"; fi
rm -rf --one-file-system "$dir"
"#;

/// A name, what the file system is made with, and what it is mounted with.
type Kind = (&'static str, &'static [&'static str], &'static str);

/// How the file systems are made and mounted, in turn: what holds on the default must hold on the others.
const KINDS: [Kind; 4] = [
    ("ext4", &[], "defaults"),
    ("ext4, blocks of 1 KiB", &["-b", "1024"], "defaults"),
    ("ext4, data=writeback", &[], "data=writeback"),
    ("ext4, nodelalloc", &[], "nodelalloc"),
];

/// Size of an image, in bytes.
const IMAGE_BYTES: u64 = 48 << 20;

/// A place for a broker's data.
#[derive(Debug)]
pub(crate) struct Ground {
    dir: PathBuf,
    device: Option<Device>,
    remover: Child,
}

#[derive(Debug)]
struct Device {
    path: String,
    options: &'static str,
    kind: &'static str,
}

/// Says whether power can be cut here; where it cannot, it says so loudly, also where a passing test prints nothing.
pub(crate) fn is_there(test: &str) -> bool {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    let Some(what) = MISSING.get_or_init(|| missing().or_else(refused)) else {
        return true;
    };
    // The macros write to where the test runner hides it.
    let line = format!("NOT RUN: {test} needs {what}\n");
    std::io::stderr().write_all(line.as_bytes()).ok();
    false
}

/// Tries it once: a container may have everything and not be allowed to.
fn refused() -> Option<String> {
    let cut = Ground::try_image("probe", 0).and_then(|ground| {
        ground.try_cut()?;
        ground.power_up();
        Ok(())
    });
    cut.err()
        .map(|said| format!("to be allowed to mount and to cut: {said}"))
}

/// Says what is not there.
fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("root, to mount a file system".to_owned());
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("loop devices (/dev/loop-control)".to_owned());
    }
    let tools = [
        "mkfs.ext4",
        "losetup",
        "mount",
        "umount",
        "mountpoint",
        "fstrim",
    ];
    let is_there = |tool: &&str| {
        let dirs = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
        dirs.iter().any(|dir| Path::new(dir).join(tool).exists())
    };
    let tool = tools.iter().find(|tool| !is_there(tool))?;
    Some(format!("the program {tool}"))
}

/// Removes what an earlier run left that did not come to its own remover.
pub(crate) fn remove_leftovers() {
    for base in [base(true), base(false)] {
        let Ok(entries) = fs::read_dir(&base) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name
                .strip_prefix(NAME)
                .and_then(|rest| rest.split('-').next());
            let Some(owner) = owner else { continue };
            if !Path::new("/proc").join(owner).exists() {
                eprintln!("removing {name}, which an earlier run left");
                remover(&entry.path()).wait().ok();
            }
        }
    }
}

/// Memory for images: a loop device gives no more durability than the file behind it, and none is needed.
fn base(is_image: bool) -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if is_image && memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    }
}

fn remover(dir: &Path) -> Child {
    Command::new("sh")
        .args(["-c", REMOVER, "sh"])
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell starts")
}

/// Runs a program to its end and returns what it printed, or what went wrong.
fn attempt(command: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(command)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{command}: {error}"))?;
    let (status, stderr) = (output.status, String::from_utf8_lossy(&output.stderr));
    if status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(format!("{command} {arguments:?}: {status}: {stderr}"))
    }
}

/// Makes an ext4 on an image.
fn make_file_system(image: &Path, (_, made_with, _): Kind) -> Result<(), String> {
    let mut arguments = vec!["-q", "-F", "-m", "0", "-J", "size=4"];
    arguments.extend(made_with);
    arguments.push(image.to_str().unwrap());
    attempt("mkfs.ext4", &arguments)?;
    Ok(())
}

impl Ground {
    fn begin(label: &str, is_image: bool) -> Self {
        let name = format!("{NAME}{}-{label}", std::process::id());
        let dir = base(is_image).join(name);
        fs::create_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let remover = remover(&dir);
        fs::create_dir(dir.join("mnt")).unwrap();
        Self {
            dir,
            device: None,
            remover,
        }
    }

    /// Makes a plain directory. The label must not be in use.
    pub(crate) fn plain(label: &str) -> Self {
        Self::begin(label, false)
    }

    /// Makes and mounts a file system of a kind that `number` chooses.
    pub(crate) fn image(label: &str, number: u64) -> Self {
        Self::try_image(label, number).unwrap_or_else(|said| panic!("{said}"))
    }

    fn try_image(label: &str, number: u64) -> Result<Self, String> {
        let mut ground = Self::begin(label, true);
        let image = ground.dir.join("image");
        File::create(&image).unwrap().set_len(IMAGE_BYTES).unwrap();
        let kind = KINDS[usize::try_from(number).unwrap() % KINDS.len()];
        make_file_system(&image, kind)?;
        ground.attach(&image, kind)?;
        Ok(ground)
    }

    /// Puts a loop device over an image and mounts it.
    fn attach(&mut self, image: &Path, (kind, _, options): Kind) -> Result<(), String> {
        let image = image.to_str().unwrap();
        self.device = Some(Device {
            path: attempt("losetup", &["--find", "--show", image])?,
            options,
            kind,
        });
        self.mount()
    }

    /// What kind of file system it is.
    pub(crate) fn kind(&self) -> &'static str {
        self.device
            .as_ref()
            .map_or("directory", |device| device.kind)
    }

    /// Where everything is mounted.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.join("mnt")
    }

    /// The broker's data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    /// Notes the broker's process, so that it is ended whatever happens to this one.
    pub(crate) fn note_pid(&self, pid: u32) {
        fs::write(self.dir.join("pid"), pid.to_string()).unwrap();
    }

    /// Where the broker's errors go: beside the image, so that a cut does not take them.
    pub(crate) fn errors(&self) -> PathBuf {
        self.dir.join("errors")
    }

    fn mount(&self) -> Result<(), String> {
        let root = self.root();
        let device = self.device.as_ref().unwrap();
        let arguments = ["-t", "ext4", "-o", device.options];
        let mut arguments = arguments.to_vec();
        arguments.extend([device.path.as_str(), root.to_str().unwrap()]);
        attempt("mount", &arguments)?;
        Ok(())
    }

    /// Cuts the power. The broker's process sees errors from now on.
    pub(crate) fn cut(&self) {
        self.try_cut().unwrap_or_else(|said| panic!("{said}"));
    }

    fn try_cut(&self) -> Result<(), String> {
        let cut = File::open(self.root()).and_then(|root| shutdown::cut(&root));
        cut.map_err(|error| format!("the power is not cut: {error}"))
    }

    /// Brings the power back after a cut, once no process has a file open: the journal is replayed.
    pub(crate) fn power_up(&self) {
        // Another thread's child has our open files for a moment, between its fork and its exec.
        let mut tries = 0;
        while let Err(said) = attempt("umount", &[self.root().to_str().unwrap()]) {
            tries += 1;
            assert!(tries < 200, "{said}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        self.wait_until_forgotten();
        self.mount().unwrap_or_else(|said| panic!("{said}"));
    }

    /// Waits until the kernel has let the file system go. A process that has copied this mount namespace meanwhile holds it, and
    /// a mount would find it again as it is: without power.
    fn wait_until_forgotten(&self) {
        let device = self.device.as_ref().unwrap();
        let name = Path::new(&device.path).file_name().unwrap();
        let known = Path::new("/proc/fs/ext4").join(name);
        for _ in 0..2_000 {
            if !known.exists() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        panic!(
            "{} is unmounted here and in use all the same: another mount namespace holds it",
            device.path
        );
    }

    /// Has the kernel write some unsynced pages and commit what the journal has, as it does by itself at any time: a cut
    /// then leaves later writes without earlier ones.
    pub(crate) fn stir(&self, random: &mut Random) {
        let mut files = Vec::new();
        collect(&self.data(), &mut files);
        for path in files {
            if random.below(2) == 0 {
                continue;
            }
            let Ok(file) = File::open(&path) else {
                continue;
            };
            let length = file.metadata().map_or(0, |metadata| metadata.len());
            let from = random.below(length / 1024 + 1) * 1024;
            let count = std::num::NonZeroU64::new(1024 * (1 + random.below(16)));
            rustix::fs::fadvise(&file, from, count, Advice::DontNeed).ok();
        }
        if random.below(2) == 0
            && let Ok(file) = File::create(self.root().join("stir"))
        {
            file.sync_all().ok();
        }
    }

    /// A hash of everything in the data directory: names, lengths and bytes.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut files = Vec::new();
        collect(&self.data(), &mut files);
        files.sort();
        let mut hasher = std::hash::DefaultHasher::new();
        for path in files {
            let bytes = fs::read(&path).unwrap_or_default();
            let name = path.strip_prefix(self.data()).unwrap();
            hasher.write(name.to_string_lossy().as_bytes());
            hasher.write_usize(bytes.len());
            hasher.write_u32(crc32fast::hash(&bytes));
        }
        hasher.finish()
    }

    /// Copies the data directory and the broker's errors to where a person can look at them.
    pub(crate) fn keep(&self, to: &Path) {
        let files = [self.data(), self.errors()];
        fs::create_dir_all(to).ok();
        for file in files {
            let _copied = Command::new("cp").arg("-r").arg(file).arg(to).status();
        }
    }
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect(&entry.path(), files),
            Ok(_) => files.push(entry.path()),
            Err(_) => {}
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        self.remover.wait().ok();
    }
}

#[cfg(test)]
mod tests;
