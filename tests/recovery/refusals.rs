//! Machines and folders that a server cannot run on: it ends at once with 1, and says in one line why and what to do.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::client::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
use crate::device::{Disk, LOOP_DEVICE, Mount, ShutDownDisk, lacks, tool};
use crate::load::create_container;
use crate::process::Process;
use crate::server::{Options, Server, binary, command, command_at};

/// Runs what must not become a server; returns the line that it says.
fn refused(mut command: Command) -> String {
    command.env("VAULTAIRE_LOG", "warn");
    let refusal = Process::run(command).err().expect("no server");
    assert_eq!(refusal.code, Some(1), "{refusal:?}");
    let line = refusal.said.strip_prefix("vaultaire: ").and_then(|said| said.strip_suffix('\n'));
    let line = line.unwrap_or_else(|| panic!("{refusal:?}"));
    assert!(!line.contains('\n'), "one line: {line}");
    line.to_owned()
}

/// As [`refused`], of a server on this folder.
fn refused_on(data: &Path) -> String {
    refused(command(data, &Options::default()))
}

/// Runs on a thread whose children are told by the kernel that they may not use io_uring.
fn without_io_uring<T: Send>(errno: i32, run: impl FnOnce() -> T + Send) -> T {
    let calls = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
    let filter = SeccompFilter::new(
        calls.into_iter().map(|call| (call, Vec::new())).collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno.cast_unsigned()),
        std::env::consts::ARCH.try_into().expect("a known architecture"),
    );
    let program: BpfProgram = filter.expect("a filter").try_into().expect("a program");
    std::thread::scope(|scope| {
        let filtered = scope.spawn(move || {
            seccompiler::apply_filter(&program).expect("filtered");
            run()
        });
        filtered.join().expect("no panic")
    })
}

#[test]
fn without_io_uring_it_says_so_and_runs_only_if_asked() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // A container's usual profile, one that hides the call, and a kernel without it.
    for errno in [libc::EPERM, libc::EACCES, libc::ENOSYS] {
        let said = without_io_uring(errno, || refused_on(&data));
        assert!(said.contains("io_uring") && said.contains("--legacy-runtime"), "{said}");
    }

    let options = Options { legacy_runtime: true, ..Options::default() };
    let server = without_io_uring(libc::EPERM, || Server::start(&data, &options));
    let mut client = server.client();
    create_container(&mut client);
    let stored = client.send("PUT", "/ledger/k", &[], b"bytes").expect("an answer");
    assert_eq!(stored.status, 200, "{}", stored.text());
    drop(server);
    let server = without_io_uring(libc::EPERM, || Server::start(&data, &options));
    let found = server.client().send("GET", "/ledger/k", &[], &[]).expect("an answer");
    assert_eq!((found.status, &found.body[..]), (200, &b"bytes"[..]));
}

#[test]
fn a_folder_that_another_server_holds_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &Options::default());
    let said = refused_on(&data);
    assert!(said.contains("in use by another server"), "{said}");
    assert!(said.contains(data.to_str().unwrap()), "{said}");
    // The first has not noticed.
    create_container(&mut server.client());
}

#[test]
fn a_port_in_use_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("first"), &Options::default());
    let (taken, free, data) =
        (server.address.as_str(), "127.0.0.1:0", folder.path().join("second"));
    for (listen, admin, flag) in [(taken, free, "--listen"), (free, taken, "--admin")] {
        let said = refused(command_at(&data, listen, admin));
        assert!(said.contains(taken), "{said}");
        assert!(said.contains("in use") && said.contains(flag), "{said}");
    }
    create_container(&mut server.client());
}

/// The command that starts a server as another user, who may reach `folder` but owns nothing.
fn as_nobody(folder: &Path, data: &Path) -> Command {
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
    // Where the build lies, the other user may not look.
    let copy = folder.join("vaultaire");
    std::fs::copy(binary(), &copy).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data"])
        .arg(data)
        .env_clear()
        .env("VAULTAIRE_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("VAULTAIRE_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
    command
}

#[test]
#[ignore = "needs root: becomes another user"]
fn a_folder_without_permission_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // Nothing there, and it cannot be made.
    let said = refused(as_nobody(folder.path(), &data));
    assert!(said.contains("no permission for") && said.contains("data"), "{said}");
    // There, and of another user.
    let mut server = Server::start(&data, &Options::default());
    assert_eq!(server.terminate(), Some(0));
    let said = refused(as_nobody(folder.path(), &data));
    assert!(said.contains("no permission for") && said.contains("data"), "{said}");
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn a_file_system_that_is_read_only_is_told() {
    if lacks(&[LOOP_DEVICE]) {
        return;
    }
    let disk = ShutDownDisk::new(256 << 20);
    let data = disk.root().join("data");
    let mut server = Server::start(&data, &Options::default());
    assert_eq!(server.terminate(), Some(0));
    let root = disk.root();
    tool("mount", &["-o", "remount,ro", root.to_str().unwrap()]);
    let said = refused_on(&data);
    assert!(said.contains("ead-only file system") && said.contains("data"), "{said}");
}

#[test]
#[ignore = "needs root: mounts a tmpfs"]
fn a_disk_without_room_for_a_log_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let _mount = Mount::tmpfs(folder.path(), 24);
    let data = folder.path().join("data");
    for _ in 0..2 {
        let said = refused_on(&data);
        assert!(said.contains("full") && said.contains("data"), "{said}");
        // Whoever starts it again and again does not fill the disk by that.
        let left: Vec<_> = std::fs::read_dir(data.join("log")).unwrap().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
