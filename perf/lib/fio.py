"""fio, as the limit of what the disk gives."""

import json
import shutil
import subprocess

from servers import pinned


def find():
    return shutil.which("fio")


def run(core, folder, *options):
    line = [find(), "--name=limit", f"--directory={folder}", "--direct=1", "--ioengine=io_uring", "--fallocate=none",
            "--group_reporting", "--output-format=json", *options]
    done = subprocess.run(line, capture_output=True, text=True, preexec_fn=pinned(core))
    if done.returncode != 0:
        raise RuntimeError(f"fio: {done.stderr[-500:]}")
    return json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]


def read_files(core, folder, size, count, depth):
    """MiB a second, reading files of `size` bytes once, `depth` reads of 1 MiB in flight."""
    job = run(core, folder, "--rw=read", "--bs=1M", f"--filesize={size}", f"--nrfiles={count}",
              "--openfiles=16", "--file_service_type=sequential", f"--iodepth={depth}", "--invalidate=1")
    return job["read"]["bw_bytes"] / (1 << 20)


def write_files(core, folder, size, count, writers):
    """MiB a second, `writers` at once writing new files of `size` bytes, each synced before the next."""
    job = run(core, folder, "--rw=write", "--bs=1M", f"--filesize={size}", f"--nrfiles={max(1, count // writers)}",
              "--openfiles=1", "--file_service_type=sequential", f"--numjobs={writers}", "--iodepth=4",
              "--create_on_open=1", "--fsync_on_close=1", "--unlink=1")
    return job["write"]["bw_bytes"] / (1 << 20)


def commit_us(core, folder):
    """Median microseconds of a bare commit: 4 KiB written over a pre-written file and synced, by the cheaper of
    O_DSYNC and fdatasync."""
    common = ("--bs=4k", "--size=64M", "--iodepth=1", "--overwrite=1")
    run(core, folder, "--rw=write", "--bs=1M", "--size=64M", "--end_fsync=1")
    middle = lambda side: side["percentile"]["50.000000"] / 1e3
    dsync = run(core, folder, "--rw=write", "--runtime=3", "--time_based", "--sync=dsync", *common)
    synced = run(core, folder, "--rw=write", "--runtime=3", "--time_based", "--fdatasync=1", *common)
    return min(middle(dsync["write"]["clat_ns"]),
               middle(synced["write"]["clat_ns"]) + middle(synced["sync"]["lat_ns"]))
