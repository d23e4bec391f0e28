//! Any operations, against a disk that is a map of files.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    Create(u8),
    Write(u8, Vec<u8>, u16),
    SetLen(u8, u16),
    Allocate(u8, u16),
    Sync(u8),
    Rename(u8, u8),
    Remove(u8),
    SyncDir,
}

fn op() -> impl Strategy<Value = Op> {
    let name = 0..4_u8;
    let bytes = (any::<u8>(), 1..1500_usize).prop_map(|(byte, count)| vec![byte; count]);
    prop_oneof![
        name.clone().prop_map(Op::Create),
        (name.clone(), bytes, 0..3000_u16).prop_map(|(n, b, p)| Op::Write(n, b, p)),
        (name.clone(), 0..3000_u16).prop_map(|(n, l)| Op::SetLen(n, l)),
        (name.clone(), 0..3000_u16).prop_map(|(n, l)| Op::Allocate(n, l)),
        name.clone().prop_map(Op::Sync),
        (name.clone(), name.clone()).prop_map(|(a, b)| Op::Rename(a, b)),
        name.prop_map(Op::Remove),
        Just(Op::SyncDir),
    ]
}

fn unsynced_op() -> impl Strategy<Value = Op> {
    op().prop_filter("a sync", |op| !matches!(op, Op::Sync(_) | Op::SyncDir))
}

type Model = BTreeMap<PathBuf, Vec<u8>>;

fn path_of(name: u8) -> PathBuf {
    PathBuf::from(format!("/{name}"))
}

fn run_on_disk(disk: &SimDisk, op: &Op) -> bool {
    let with = |name: &u8, act: &dyn Fn(&dyn DiskFile) -> io::Result<()>| {
        let file = disk.open(&path_of(*name), OpenMode::Write);
        file.and_then(|file| act(file.as_ref())).is_ok()
    };
    match op {
        Op::Create(n) => disk.open(&path_of(*n), OpenMode::CreateNew).is_ok(),
        Op::Write(n, b, p) => with(n, &|file| file.write_all_at(b, u64::from(*p))),
        Op::SetLen(n, l) => with(n, &|file| file.set_len(u64::from(*l), Site::RecoveryCut)),
        Op::Allocate(n, l) => with(n, &|file| file.allocate(u64::from(*l))),
        Op::Sync(n) => with(n, &|file| file.sync(Site::Append)),
        Op::Rename(a, b) => disk
            .rename(&path_of(*a), &path_of(*b), Site::DataDir)
            .is_ok(),
        Op::Remove(n) => disk.remove(&path_of(*n)).is_ok(),
        Op::SyncDir => disk.sync_dir(root(), Site::DataDir).is_ok(),
    }
}

fn run_on_model(model: &mut Model, op: &Op) -> bool {
    match op {
        Op::Create(n) if model.contains_key(&path_of(*n)) => false,
        Op::Create(n) => model.insert(path_of(*n), Vec::new()).is_none(),
        Op::Write(n, b, p) => model.get_mut(&path_of(*n)).is_some_and(|file| {
            let start = usize::from(*p);
            file.resize(file.len().max(start + b.len()), 0);
            file[start..start + b.len()].copy_from_slice(b);
            true
        }),
        Op::SetLen(n, l) => model.get_mut(&path_of(*n)).is_some_and(|file| {
            file.resize(usize::from(*l), 0);
            true
        }),
        Op::Allocate(n, l) => model.get_mut(&path_of(*n)).is_some_and(|file| {
            file.resize(file.len().max(usize::from(*l)), 0);
            true
        }),
        Op::Sync(n) => model.contains_key(&path_of(*n)),
        Op::Rename(a, b) => match model.remove(&path_of(*a)) {
            None => false,
            Some(file) => {
                model.insert(path_of(*b), file);
                true
            }
        },
        Op::Remove(n) => model.remove(&path_of(*n)).is_some(),
        Op::SyncDir => true,
    }
}

fn image(disk: &SimDisk) -> Model {
    let paths = disk.paths().into_iter();
    paths
        .map(|path| (path.clone(), disk.read_file(&path).unwrap()))
        .collect()
}

proptest! {
    #[test]
    fn disk_without_a_crash_is_a_plain_one(ops in prop::collection::vec(op(), 0..60)) {
        let disk = SimDisk::new(1);
        let mut model = Model::new();
        for op in &ops {
            prop_assert_eq!(run_on_disk(&disk, op), run_on_model(&mut model, op));
            prop_assert_eq!(&image(&disk), &model);
        }
        prop_assert_eq!(image(&disk.reboot(Survival::Everything)), model);
    }

    #[test]
    fn what_was_synced_survives_every_power_cut(
        ops in prop::collection::vec(op(), 0..40),
        later in prop::collection::vec(unsynced_op(), 0..6),
        seed: u64,
    ) {
        let disk = SimDisk::new(1);
        for op in &ops {
            run_on_disk(&disk, op);
        }
        for path in disk.paths() {
            disk.open(&path, OpenMode::Write).unwrap().sync(Site::Append).unwrap();
        }
        disk.sync_dir(root(), Site::DataDir).unwrap();
        let synced = image(&disk);
        prop_assert_eq!(&image(&disk.reboot(Survival::Random(seed))), &synced);
        for op in &later {
            run_on_disk(&disk, op);
        }
        prop_assert_eq!(&image(&disk.reboot(Survival::Nothing)), &synced);
        let once = disk.reboot(Survival::Random(seed));
        prop_assert_eq!(image(&once.reboot(Survival::Nothing)), image(&once));
    }
}
