//! The harness loses data as a power cut does, keeps what was synced, and leaves nothing behind.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::*;
use crate::process::Process;

const BLOCK: usize = 4096;

/// A harness that cannot lose data proves nothing.
#[test]
fn a_cut_loses_what_is_not_synced_and_nothing_else() -> io::Result<()> {
    if !is_there("the harness's own test") {
        return Ok(());
    }
    for number in 0..4 {
        let ground = Ground::image(&format!("self-{number}"), number);
        let path = |name: &str| ground.root().join(name);
        let mut file = File::create(path("kept"))?;
        file.write_all(b"synced")?;
        file.sync_all()?;
        File::open(ground.root())?.sync_all()?;
        file.write_all(b" and not")?;
        fs::rename(path("kept"), path("renamed"))?;
        let mut new = File::create(path("new"))?;
        new.write_all(b"new")?;
        drop((file, new));
        ground.cut();
        assert!(File::create(path("later")).is_err(), "{}", ground.kind());
        ground.power_up();
        let path = |name: &str| ground.root().join(name);
        let names: Vec<_> = ["kept", "renamed", "new", "later"]
            .into_iter()
            .filter(|name| path(name).exists())
            .collect();
        assert_eq!(names, ["kept"], "{}", ground.kind());
        assert_eq!(fs::read(path("kept"))?, b"synced", "{}", ground.kind());
    }
    Ok(())
}

/// What a sync said before the cut holds. What one says that was under way need not: its pages are lost and it succeeds, for
/// the kernel does not report that a reserved extent was not made a written one. No machine without power says anything,
/// so nothing is taken as told from the cut on.
#[test]
fn a_sync_that_came_back_before_the_cut_is_kept() -> io::Result<()> {
    if !is_there("the harness's own test") {
        return Ok(());
    }
    let block = |number: u64| [u8::try_from(number % 255 + 1).unwrap(); BLOCK];
    let mut untrue = 0;
    let mut random = Random::new(1);
    for round in 0..24 {
        let ground = Ground::image(&format!("sync-{round}"), round);
        let path = ground.root().join("file");
        let file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path)?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 4 << 20)?;
        file.sync_all()?;
        let synced = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&synced);
        let writer = std::thread::spawn(move || {
            for number in 0..1_000 {
                let at = number * BLOCK as u64;
                if file.write_all_at(&block(number), at).is_err() || file.sync_data().is_err() {
                    break;
                }
                counted.store(number + 1, Ordering::SeqCst);
            }
        });
        let enough = random.below(200);
        while synced.load(Ordering::SeqCst) < enough && !writer.is_finished() {
            std::thread::yield_now();
        }
        let before = synced.load(Ordering::SeqCst);
        ground.cut();
        writer.join().unwrap();
        ground.power_up();
        let bytes = fs::read(ground.root().join("file"))?;
        let is_kept = |number: &u64| {
            bytes.chunks(BLOCK).nth(usize::try_from(*number).unwrap()) == Some(&block(*number)[..])
        };
        assert_eq!(
            (0..before).find(|number| !is_kept(number)),
            None,
            "{}",
            ground.kind()
        );
        untrue += (before..synced.load(Ordering::SeqCst))
            .filter(|number| !is_kept(number))
            .count();
    }
    eprintln!("{untrue} syncs that were under way in 24 cuts succeeded and were lost");
    Ok(())
}

const GROUND_TEST: &str = "ground::tests::nothing_stays_behind_when_the_suite_is_killed";
const GROUND_MARK: &str = "REDRIVE_TEST_GROUND";

#[test]
fn nothing_stays_behind_when_the_suite_is_killed() {
    if !is_there("the harness's own test") {
        return;
    }
    if std::env::var_os(GROUND_MARK).is_some() {
        let ground = Ground::image("killed", 0);
        let broker = Process::spawn(&ground, None);
        println!("ground {}", ground.dir.display());
        std::thread::park();
        drop(broker);
        return;
    }
    let mut suite = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", GROUND_TEST, "--nocapture"])
        .env(GROUND_MARK, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(suite.stdout.take().unwrap()).lines();
    let dir = lines.find_map(|line| Some(line.ok()?.split_once("ground /")?.1.to_owned()));
    let dir = PathBuf::from(format!("/{}", dir.unwrap()));
    let pid = fs::read_to_string(dir.join("pid")).unwrap();
    assert!(
        fs::read_to_string("/proc/mounts")
            .unwrap()
            .contains(dir.to_str().unwrap())
    );
    suite.kill().unwrap();
    suite.wait().unwrap();
    let began = Instant::now();
    while dir.exists() {
        assert!(
            began.elapsed() < Duration::from_mins(1),
            "{} stays",
            dir.display()
        );
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains(dir.to_str().unwrap()), "{mounts}");
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).into_owned();
    assert!(!command.contains(dir.to_str().unwrap()), "{command}");
    let devices = attempt("losetup", &["--list", "--output", "BACK-FILE"]).unwrap();
    assert!(!devices.contains(dir.to_str().unwrap()), "{devices}");
}
