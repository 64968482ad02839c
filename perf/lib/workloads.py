"""The work that is compared, and what this server is meant to reach in it."""

import os
import time
from dataclasses import dataclass
from typing import Callable, Optional

import fio
import servers

#: Who serves 10 MiB from files or from a log, and who only files.
S3 = ("vaultaire", "minio", "versitygw", "rclone")
OURS = ("vaultaire",)


@dataclass
class Workload:
    """One line of the comparison. `flags` go to the generator; `bucket`, `sizes` and `keys` say what is filled first
    (nothing without a bucket)."""

    name: str
    title: str
    note: str
    flags: list
    bucket: str = ""
    sizes: str = "4KiB"
    keys: int = 10_000
    servers: tuple = S3
    #: Not run unless it is named.
    is_extra: bool = False
    #: Restart and drop the page cache before each run.
    is_cold: bool = False
    #: Fill again before each run: the run uses the keys up.
    is_used_up: bool = False
    limit: Optional[Callable] = None
    how: Optional[Callable] = None
    seconds: Optional[Callable] = None

    def suits(self, kind):
        return kind.name in self.servers

    def run(self, bench, server, results):
        if self.how:
            return self.how(self, bench, server, results)
        return self.measure(bench, server)

    def key_count(self, bench, server):
        return self.keys

    def prepare(self, bench, server):
        if not self.bucket:
            return
        if self.is_used_up:
            bench.filled.discard((server.name, self.bucket))
        bench.fill(server, self.bucket, self.sizes, self.key_count(bench, server))
        if self.is_cold:
            bench.restart(server)
            bench.drop_caches()

    def measure(self, bench, server, *more):
        self.prepare(bench, server)
        seconds = self.seconds(bench.args) if self.seconds else bench.args.seconds
        flags = [*self.flags, "--sizes", self.sizes, "--keys", str(self.key_count(bench, server)),
                 "--bucket", self.bucket or self.name, "--duration-s", str(seconds)]
        if self.bucket:
            flags.append("--prepared")
        return bench.load(server, [*flags, *more])


class Listing(Workload):
    """This server lists among a million keys, peers among as many as can be written in a while."""

    def key_count(self, bench, server):
        return bench.args.list_keys if server.name in OURS else bench.args.peer_list_keys


def open_loop(workload, bench, server, results):
    """At half of the rate that the same server reached in closed loop in this run."""
    closed = results.get("get-4k", {}).get(server.name)
    if not closed:
        closed = [WORKLOADS[0].measure(bench, server)]
    peak = sorted(run["operations_per_s"] for run in closed)[len(closed) // 2]
    return workload.measure(bench, server, "--rate", f"{peak / 2:.0f}")


def two_cores(workload, bench, server, results):
    """Another process of the server, on both cores, with the same work."""
    both = [bench.args.server_core, bench.args.load_core]
    kind = type("Both", (type(server),), {"name": f"{server.name}-two"})
    folder = f"{bench.work}/two-{time.monotonic_ns()}"
    other = kind(folder, both)
    try:
        bench.fill(other, workload.bucket, workload.sizes, workload.keys)
        return workload.measure(bench, other)
    finally:
        bench.filled.discard((other.name, workload.bucket))
        other.stop()


def cold_read_limit(bench):
    folder = os.path.join(bench.work, "fio-read")
    os.makedirs(folder, exist_ok=True)
    return {"mib_per_s": fio.read_files(bench.args.server_core, folder, 10 << 20, 200, 32)}


def write_limit(bench):
    folder = os.path.join(bench.work, "fio-write")
    os.makedirs(folder, exist_ok=True)
    return {"mib_per_s": fio.write_files(bench.args.server_core, folder, 10 << 20, 320, 16)}


def commit_limit(bench):
    folder = os.path.join(bench.work, "fio-commit")
    os.makedirs(folder, exist_ok=True)
    return {"p50_us": fio.commit_us(bench.args.server_core, folder)}


def put(payload, concurrency):
    return ["put", "--payload", payload, "--concurrency", str(concurrency)]


WORKLOADS = [
    Workload("get-4k", "GET 4 KiB, signed, cached", "10,000 keys, 32 connections; nginx unsigned",
             ["get"], "small", servers=S3 + ("nginx",)),
    Workload("get-10m", "GET 10 MiB, cached", "64 keys, 16 connections",
             ["get", "--concurrency", "16"], "large", "10MiB", 64, servers=S3 + ("nginx",)),
    Workload("get-10m-cold", "GET 10 MiB, cold", "200 keys, each once, 16 connections, after a restart with the page "
             "cache dropped; fio reads files of that size with as much in flight",
             ["get", "--concurrency", "16", "--once", "--warm-up-s", "0"], "cold", "10MiB", 200,
             servers=S3 + ("nginx",), is_cold=True, limit=cold_read_limit),
    Workload("put-4k", "PUT 4 KiB, durable, 64 writers", "unsigned payload", put("unsigned", 64)),
    Workload("put-4k-long", "PUT 4 KiB, durable, 64 writers, long", "so long that pre-writing and reclaim count",
             put("unsigned", 64), keys=200_000, is_extra=True, seconds=lambda args: args.long_seconds),
    Workload("put-4k-one", "PUT 4 KiB, durable, one writer", "fio: a bare commit into a pre-written file",
             put("unsigned", 1), limit=commit_limit),
    Workload("put-10m-chunks", "PUT 10 MiB, durable, 16 writers, signed chunks", "",
             put("chunks", 16), sizes="10MiB", keys=64),
    Workload("put-10m", "PUT 10 MiB, durable, 16 writers, unsigned payload",
             "fio writes new files of that size, each synced", put("unsigned", 16), sizes="10MiB", keys=64,
             limit=write_limit),
    Listing("list-1000", "LIST 1,000", "pages of 1,000 from a random place; see --list-keys and --peer-list-keys",
            ["list", "--concurrency", "8"], "list"),
    Listing("list-delimiter", "LIST by delimiter", "256 common prefixes over all the keys",
            ["list", "--concurrency", "8", "--delimiter", "/"], "list"),
    Workload("list-1000-small", "LIST 1,000 of 10,000", "the same among few keys: it should cost the same",
             ["list", "--concurrency", "8"], "small"),
    Workload("head", "HEAD", "10,000 keys, 32 connections", ["head"], "small"),
    Workload("delete", "DELETE, durable, 64 at once", "20,000 keys of 4 KiB, each once",
             ["delete", "--concurrency", "64", "--warm-up-s", "0"], "delete", keys=20_000, is_used_up=True),
    Workload("delete-many", "DELETE in batches of 1,000, durable", "20,000 keys of 4 KiB, 8 batches at once; an operation "
             "is a key", ["delete-many", "--batch", "1000", "--concurrency", "8", "--warm-up-s", "0"], "delete-many",
             keys=20_000, is_used_up=True),
    Workload("mixed", "Mix of 64 KiB", "45 % GET, 30 % HEAD, 15 % PUT, 10 % DELETE",
             ["mixed"], "mixed", "64KiB", 2_000),
    Workload("multipart", "Multipart, 4 parts of 5 MiB", "8 uploads at once; an operation is an upload",
             ["multipart", "--concurrency", "8", "--parts", "4"], sizes="5MiB", keys=32),
    Workload("open-loop", "GET 4 KiB in open loop", "at half of the closed loop's rate, latency from the intended start",
             ["get", "--concurrency", "64"], "small", servers=S3 + ("nginx",), how=open_loop),
    Workload("two-cores", "GET 4 KiB on two cores", "one hot container, the load on one of the two",
             ["get"], "small", servers=OURS + ("nginx",), how=two_cores),
    Workload("connections", "GET 4 KiB with 1,000 connections", "for the memory",
             ["get", "--concurrency", "1000"], "small"),
]


def targets(middle, notes):
    """Rows of work, what, target, reached and whether it is; only what was measured."""
    rows = []
    cpu, rate = "server_cpu_us_per_operation", "operations_per_s"

    def of(name, server, what):
        return middle.get(name, {}).get(server, {}).get(what)

    def add(work, what, ours, theirs, most=None, least=None):
        if not ours or not theirs:
            return
        ratio = ours / theirs
        if most is not None:
            shown = lambda value: f"1/{1 / value:.1f}" if value < 0.5 else f"{value:.2f}"
            rows.append([work, what, f"at most {shown(most)}", shown(ratio), "yes" if ratio <= most else "no"])
        else:
            rows.append([work, what, f"at least {least:g}", f"{ratio:.2f}", "yes" if ratio >= least else "no"])

    def ours_and(name, other, what):
        return of(name, "vaultaire", what), of(name, other, what)

    work = "GET 4 KiB, signed, cached"
    add(work, "CPU, of nginx's", *ours_and("get-4k", "nginx", cpu), most=1.0)
    add(work, "CPU, of MinIO's", *ours_and("get-4k", "minio", cpu), most=1 / 20)
    work = "GET 10 MiB, cached"
    add(work, "CPU, of nginx's", *ours_and("get-10m", "nginx", cpu), most=0.85)
    add(work, "CPU, of versitygw's", *ours_and("get-10m", "versitygw", cpu), most=1.0)
    add(work, "throughput, of nginx's", *ours_and("get-10m", "nginx", rate), least=1.0)
    add(work, "throughput, of versitygw's", *ours_and("get-10m", "versitygw", rate), least=1.0)
    add("GET 10 MiB, cold", "throughput, of fio's", *ours_and("get-10m-cold", "fio", "mib_per_s"), least=0.95)
    for name in ("put-4k", "put-4k-long"):
        work = "PUT 4 KiB, durable, 64 writers" + (", long" if name.endswith("long") else "")
        add(work, "CPU, of MinIO's", *ours_and(name, "minio", cpu), most=1 / 25)
        add(work, "operations a second, of MinIO's", *ours_and(name, "minio", rate), least=15)
    add("PUT 4 KiB, one writer", "median latency, of a bare commit",
        *ours_and("put-4k-one", "fio", "p50_us"), most=1.3)
    work = "PUT 10 MiB, durable, 16 writers, MD5 on"
    add(work, "CPU, of MinIO's, signed chunks", *ours_and("put-10m-chunks", "minio", cpu), most=1 / 3)
    add(work, "CPU, of MinIO's, unsigned payload", *ours_and("put-10m", "minio", cpu), most=1 / 8)
    add("PUT 10 MiB, durable, 16 writers", "throughput, of fio's (the target is meant with MD5 off)",
        *ours_and("put-10m", "fio", "mib_per_s"), least=0.8)
    add("LIST 1,000", "CPU, of MinIO's", *ours_and("list-1000", "minio", cpu), most=1 / 30)
    add("LIST 1,000", "CPU among many keys, of among few", of("list-1000", "vaultaire", cpu),
        of("list-1000-small", "vaultaire", cpu), most=1.2)
    add("HEAD", "CPU in us", of("head", "vaultaire", cpu), 1, most=9)
    add("DELETE", "CPU, of MinIO's", *ours_and("delete", "minio", cpu), most=1 / 25)
    add("Scaling", "CPU on two cores, of on one", of("two-cores", "vaultaire", cpu),
        of("get-4k", "vaultaire", cpu), most=1.1)
    add("Scaling", "the same of nginx, which shares nothing between its workers", of("two-cores", "nginx", cpu),
        of("get-4k", "nginx", cpu), most=1.1)
    add("Open loop at half of the peak", "p99.9 in ms", (of("open-loop", "vaultaire", "p999_us") or 0) / 1e3, 1, most=2)
    start = notes.get("vaultaire", {}).get("resident after start, MiB")
    add("Memory", "resident after start, MiB", start, 1, most=100)
    add("Memory", "peak under 1,000 connections, MiB (the budget is 256)",
        of("connections", "vaultaire", "server_peak_mib"), 1, most=256 + 100)
    return rows
