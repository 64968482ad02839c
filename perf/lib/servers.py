"""The servers that are compared: how each is started on a core, and what it uses.

A server is pinned to its core at nice -20 (as far as the caller may); the ones that are not being measured are
stopped with SIGSTOP, so that their background work costs the measured one nothing.
"""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from s3 import Client

ROOT = Path(__file__).resolve().parents[2]
ACCESS_KEY, SECRET_KEY = "perf-access-key", "perf-secret-access-key"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pinned(*cores):
    """What a child does before its program starts: go to the cores, with priority where that is allowed."""
    def prepare():
        os.sched_setaffinity(0, set(cores))
        try:
            os.setpriority(os.PRIO_PROCESS, 0, -20)
        except PermissionError:
            pass
    return prepare


class CpuClock:
    """Nanoseconds of CPU that a process and those it has started by now have used, by /proc/PID/task/*/schedstat.

    A thread that ends keeps what was last seen of it, so read often.
    """

    def __init__(self, pid):
        self.pids = family(pid)
        self.of_threads = {}

    def read_ns(self):
        for pid in self.pids:
            try:
                threads = os.listdir(f"/proc/{pid}/task")
            except OSError:
                continue
            for thread in threads:
                try:
                    with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
                        self.of_threads[thread] = int(file.read().split()[0])
                except (OSError, IndexError):
                    pass
        return sum(self.of_threads.values())


def family(pid):
    """The process and its descendants."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    parents[int(name)] = int(file.read().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                pass
    pids = [pid]
    for one in pids:
        pids += [child for child, parent in parents.items() if parent == one]
    return pids


def memory_kib(pid, field):
    total = 0
    for one in family(pid):
        try:
            with open(f"/proc/{one}/status") as file:
                total += next((int(line.split()[1]) for line in file if line.startswith(field)), 0)
        except OSError:
            pass
    return total


class Sampler(threading.Thread):
    """Reads a CPU clock ten times a second, so that the use within any span of time can be told afterwards."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.clock = CpuClock(pid)
        self.samples = [(time.time(), self.clock.read_ns())]
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(0.1):
            self.samples.append((time.time(), self.clock.read_ns()))

    def stop(self):
        self.ended.set()
        self.join()
        self.samples.append((time.time(), self.clock.read_ns()))

    def at(self, moment):
        before = self.samples[0]
        for after in self.samples[1:]:
            if after[0] >= moment:
                share = (moment - before[0]) / max(after[0] - before[0], 1e-9)
                return before[1] + max(share, 0) * (after[1] - before[1])
            before = after
        return before[1]

    def between_ns(self, begin, end):
        return self.at(end) - self.at(begin)


def flushes(folder):
    """How many flushes the block device below a folder has completed, or None where the kernel does not say."""
    device = os.stat(folder).st_dev
    with open("/proc/diskstats") as file:
        for line in file:
            fields = line.split()
            if (int(fields[0]), int(fields[1])) == (os.major(device), os.minor(device)):
                return int(fields[18]) if len(fields) > 18 else None
    return None


class Server:
    """One running server, with a data folder of its own."""

    #: The program looked for on PATH.
    program = None
    #: Speaks S3; otherwise only unsigned GET of a path.
    speaks_s3 = True

    def __init__(self, work, core):
        """Starts it on a core, or on a list of cores."""
        self.folder = Path(work) / self.name
        self.folder.mkdir(parents=True)
        self.port = free_port()
        self.cores = [core] if isinstance(core, int) else list(core)
        self.log = open(Path(work) / f"{self.name}.log", "ab")
        self.process = None
        self.start()

    @classmethod
    def find(cls):
        return shutil.which(cls.program)

    def command(self):
        raise NotImplementedError

    def environment(self):
        return {}

    def start(self):
        self.process = subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=self.folder,
            env={**os.environ, **self.environment()}, preexec_fn=pinned(*self.cores))
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{self.name} did not start; see {self.log.name}") from None
                time.sleep(0.05)
        while self.speaks_s3 and self.client().send("GET", "/")[0] != 200:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not answer; see {self.log.name}")
            time.sleep(0.1)

    def client(self):
        return Client("127.0.0.1", self.port, ACCESS_KEY, SECRET_KEY)

    @property
    def pid(self):
        return self.process.pid

    def freeze(self):
        for pid in family(self.pid):
            os.kill(pid, signal.SIGSTOP)

    def thaw(self):
        for pid in family(self.pid):
            os.kill(pid, signal.SIGCONT)

    def stop(self):
        self.thaw()
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def resident_mib(self):
        return memory_kib(self.pid, "VmRSS:") / 1024

    def peak_mib(self):
        return memory_kib(self.pid, "VmHWM:") / 1024

    def flushes_per_put(self, count=100):
        """Flushes of the disk for each PUT of 4 KiB, sent one after the other: 1 or more from a server that syncs
        before it answers, next to 0 from one that does not. Anybody else's flushes count too."""
        client = self.client()
        client.send("PUT", "/probe")
        before = flushes(self.folder)
        for number in range(count):
            status, answer = client.send("PUT", f"/probe/{number}", body=os.urandom(4096))
            if status != 200:
                raise RuntimeError(f"{self.name}: PUT: {status} {answer[:200]}")
        after = flushes(self.folder)
        return None if before is None or after is None else (after - before) / count


class Vaultaire(Server):
    name = "vaultaire"
    #: Set by --server.
    binary = ROOT / "target/release/vaultaire"
    extra = []

    @classmethod
    def find(cls):
        return str(cls.binary) if Path(cls.binary).exists() else None

    def command(self):
        return [str(Path(self.binary).resolve()), "serve", "--data", str(self.folder / "data"),
                "--listen", f"127.0.0.1:{self.port}", "--admin", "127.0.0.1:0",
                "--cores", ",".join(map(str, self.cores)), *self.extra]

    def environment(self):
        return {"VAULTAIRE_ACCESS_KEY_ID": ACCESS_KEY, "VAULTAIRE_SECRET_ACCESS_KEY": SECRET_KEY}


class Minio(Server):
    name = program = "minio"

    def command(self):
        return [self.find(), "server", "--quiet", "--address", f"127.0.0.1:{self.port}", str(self.folder)]

    def environment(self):
        return {"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY,
                "MINIO_BROWSER": "off", "MINIO_UPDATE": "off"}


class Versitygw(Server):
    name = program = "versitygw"

    def command(self):
        return [self.find(), "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--region", "us-east-1",
                "--port", f"127.0.0.1:{self.port}", "--quiet", "--keep-alive", "posix", str(self.folder)]


class Rclone(Server):
    name = program = "rclone"

    def command(self):
        return [self.find(), "serve", "s3", "--addr", f"127.0.0.1:{self.port}",
                "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--config", "/dev/null", str(self.folder)]


class Nginx(Server):
    """One worker for each core, with sendfile: the limit for GET."""

    name = program = "nginx"
    speaks_s3 = False

    def command(self):
        user = "user root;" if os.geteuid() == 0 else ""
        (self.folder / "files").mkdir(exist_ok=True)
        masks = " ".join(f"{1 << core:b}" for core in self.cores)
        (self.folder / "nginx.conf").write_text(f"""{user}
worker_processes {len(self.cores)}; worker_cpu_affinity {masks}; daemon off; pid {self.folder}/pid; error_log stderr;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000000;
  open_file_cache max=20000 inactive=600s; open_file_cache_valid 600s;
  client_body_temp_path {self.folder}/t1; proxy_temp_path {self.folder}/t2; fastcgi_temp_path {self.folder}/t3;
  uwsgi_temp_path {self.folder}/t4; scgi_temp_path {self.folder}/t5;
  server {{ listen 127.0.0.1:{self.port} reuseport; location / {{ root {self.folder}/files; }} }}
}}
""")
        return [self.find(), "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", "stderr"]


ALL = [Vaultaire, Minio, Versitygw, Rclone, Nginx]
