use super::*;
use crate::io::sim::SimDisk;
use crate::runtime::simulated::Random;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Flips a byte of a superblock copy.
fn damage(root: &Path, file: usize, copy: usize) {
    let path = root.join(FILES[file]);
    let mut bytes = SystemFolder.read_start(&path, 2 * COPY_LENGTH).unwrap().unwrap();
    bytes[copy * COPY_LENGTH + 20] ^= 1;
    SystemFolder.write_start_durably(&path, &bytes).unwrap();
}

#[test]
fn starts_count_up_and_ids_are_unique() {
    let root = folder();
    let first = Volume::open(root.path()).unwrap();
    assert_eq!(first.start(), 1);
    assert_eq!(first.next_segment_id(), (1 << 32) | 1);
    assert_eq!(first.next_segment_id(), (1 << 32) | 2);
    let uuid = first.uuid();
    drop(first);
    let second = Volume::open(root.path()).unwrap();
    assert_eq!((second.start(), second.uuid()), (2, uuid));
    assert_eq!(second.next_segment_id(), (2 << 32) | 1);
}

#[test]
fn one_server_at_a_time() {
    let root = folder();
    let _held = Volume::open(root.path()).unwrap();
    let error = Volume::open(root.path()).unwrap_err();
    assert!(matches!(error, VolumeError::Held { .. }));
    assert!(error.to_string().contains(root.path().to_str().unwrap()));
}

#[test]
fn two_good_copies_are_enough_and_are_healed() {
    for (first, second) in [((0, 0), (0, 1)), ((0, 0), (1, 1)), ((1, 0), (1, 1))] {
        let root = folder();
        drop(Volume::open(root.path()).unwrap());
        damage(root.path(), first.0, first.1);
        damage(root.path(), second.0, second.1);
        assert_eq!(Volume::open(root.path()).unwrap().start(), 2);
        damage(root.path(), 0, 0);
        damage(root.path(), 1, 0);
        assert_eq!(Volume::open(root.path()).unwrap().start(), 3);
    }
}

#[test]
fn one_good_copy_is_refused_once_there_is_data() {
    let root = folder();
    drop(Volume::open(root.path()).unwrap());
    SystemFolder.write_start_durably(&root.path().join("data/x"), b"x").unwrap();
    for (file, copy) in [(0, 0), (0, 1), (1, 0)] {
        damage(root.path(), file, copy);
    }
    assert!(matches!(Volume::open(root.path()), Err(VolumeError::Damaged { .. })));
}

#[test]
fn a_start_cut_short_keeps_the_old_number_or_the_new() {
    let root = folder();
    drop(Volume::open(root.path()).unwrap());
    let old =
        SystemFolder.read_start(&root.path().join(FILES[0]), 2 * COPY_LENGTH).unwrap().unwrap();
    drop(Volume::open(root.path()).unwrap());
    let new =
        SystemFolder.read_start(&root.path().join(FILES[0]), 2 * COPY_LENGTH).unwrap().unwrap();
    // The power went while the first file was being written: one copy new, three old.
    let torn = [&new[..COPY_LENGTH], &old[COPY_LENGTH..]].concat();
    SystemFolder.write_start_durably(&root.path().join(FILES[0]), &torn).unwrap();
    SystemFolder.write_start_durably(&root.path().join(FILES[1]), &old).unwrap();
    assert_eq!(Volume::open(root.path()).unwrap().start(), 2);
    // And while the second was: two new, two old.
    SystemFolder.write_start_durably(&root.path().join(FILES[0]), &new).unwrap();
    SystemFolder.write_start_durably(&root.path().join(FILES[1]), &old).unwrap();
    assert_eq!(Volume::open(root.path()).unwrap().start(), 3);
}

#[test]
fn starts_that_are_cut_short_one_after_another_leave_a_folder_that_starts() {
    let root = Path::new("/data");
    let mut random = Random::new(1);
    for _ in 0..400 {
        let mut disk = SimDisk::with_seed(random.number());
        drop(Volume::open_on(&disk, root).unwrap());
        Folder::write_start_durably(&disk, &root.join("data/x"), b"x").unwrap();
        Folder::sync(&disk, &root.join("data")).unwrap();
        for _ in 0..10 {
            disk.snapshot_one_in(1);
            drop(Volume::open_on(&disk, root).unwrap());
            let snapshots = disk.take_snapshots();
            assert!(!snapshots.is_empty());
            disk = snapshots[random.below(snapshots.len())].after_power_cut(&mut random);
        }
    }
}

#[test]
fn copies_of_both_files_are_healed_before_either_is_replaced() {
    let root = Path::new("/data");
    let mut random = Random::new(2);
    for _ in 0..40 {
        let disk = SimDisk::with_seed(random.number());
        drop(Volume::open_on(&disk, root).unwrap());
        Folder::write_start_durably(&disk, &root.join("data/x"), b"x").unwrap();
        Folder::sync(&disk, &root.join("data")).unwrap();
        for (file, copy) in [(0, 0), (1, 1)] {
            disk.spoil(&root.join(FILES[file]), (copy * COPY_LENGTH) as u64, &[0; 32]).unwrap();
        }
        disk.snapshot_one_in(1);
        assert_eq!(Volume::open_on(&disk, root).unwrap().start(), 2);
        for snapshot in disk.take_snapshots() {
            let disk = snapshot.after_power_cut(&mut random);
            drop(Volume::open_on(&disk, root).unwrap());
        }
    }
}

#[test]
fn a_folder_of_an_older_format_becomes_one_of_this() {
    let root = folder();
    drop(Volume::open(root.path()).unwrap());
    std::fs::remove_dir(root.path().join("index")).unwrap();
    let mut copy = encode(Superblock { uuid: [1; 16], start: 9 });
    copy[8..12].copy_from_slice(&1_u32.to_le_bytes());
    let crc = crc_fast::crc32_iscsi(&copy[..COPY_LENGTH - 4]);
    copy[COPY_LENGTH - 4..].copy_from_slice(&crc.to_le_bytes());
    for name in FILES {
        let both = [copy, copy].concat();
        SystemFolder.write_start_durably(&root.path().join(name), &both).unwrap();
    }
    let volume = Volume::open(root.path()).unwrap();
    assert_eq!((volume.start(), volume.uuid()), (10, [1; 16]));
    assert!(root.path().join("index").is_dir());
    let new = SystemFolder.read_start(&root.path().join(FILES[0]), COPY_LENGTH).unwrap().unwrap();
    assert_eq!(new[8..12], 2_u32.to_le_bytes(), "older servers refuse it");
}

#[test]
fn a_newer_format_is_refused() {
    let root = folder();
    drop(Volume::open(root.path()).unwrap());
    let mut copy = encode(Superblock { uuid: [1; 16], start: 9 });
    copy[8..12].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
    let crc = crc_fast::crc32_iscsi(&copy[..COPY_LENGTH - 4]);
    copy[COPY_LENGTH - 4..].copy_from_slice(&crc.to_le_bytes());
    SystemFolder.write_start_durably(&root.path().join(FILES[1]), &[copy, copy].concat()).unwrap();
    let error = Volume::open(root.path()).unwrap_err();
    assert!(matches!(error, VolumeError::Newer { found, .. } if found == FORMAT_VERSION + 1));
}

#[test]
fn no_permission_is_said_plainly() {
    use std::os::unix::fs::PermissionsExt;
    let root = folder();
    let inner = root.path().join("inner");
    SystemFolder.create(&inner).unwrap();
    std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o500)).unwrap();
    // The superuser may do everything.
    if rustix::process::geteuid().is_root() {
        return;
    }
    assert!(matches!(Volume::open(&inner), Err(VolumeError::Denied { .. })));
}

#[test]
fn unused_segments_and_unfinished_files_are_removed_and_nothing_else() {
    use crate::shard::log::LogId;
    use crate::shard::log::format::SegmentHeader;
    let root = folder();
    let volume = Volume::open(root.path()).unwrap();
    let layout = volume.layout().clone();
    let [ahead, recycled, live, damaged] = [(); 4].map(|()| volume.next_segment_id());
    drop(volume);
    let header = SegmentHeader {
        segment: live,
        log: LogId { start: 1, core: 0 },
        position: 0,
        previous_segment: 0,
        first_batch: 1,
        previous_crc: 0,
        salt: 1,
    };
    let mut block = [0; BLOCK];
    header.encode(&mut block);
    let mut rotten = block;
    rotten[100] ^= 1;
    rotten[2100] ^= 1;
    for (segment, bytes) in
        [(ahead, [0; BLOCK]), (recycled, block), (live, block), (damaged, rotten)]
    {
        SystemFolder.write_start_durably(&layout.segment_path(segment), &bytes).unwrap();
    }
    SystemFolder.write_start_durably(&layout.log().join("probe-0.tmp"), b"x").unwrap();
    SystemFolder.write_start_durably(&layout.keys_path(live), b"x").unwrap();
    drop(Volume::open(root.path()).unwrap());
    let mut left = SystemFolder.list(&layout.log()).unwrap();
    left.sort();
    let mut expected =
        [layout.segment_path(live), layout.segment_path(damaged), layout.keys_path(live)]
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    expected.sort();
    assert_eq!(left, expected);
}
