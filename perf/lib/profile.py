"""What the profiling recipes share: a server of ours under load, looked at by a tool from outside meanwhile."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import servers

#: Seconds of load before and behind the time that is looked at.
LEAD, TAIL = 2.0, 1.0


def arguments(text, more=lambda parser: None):
    """The arguments of a recipe; what follows `--` goes to the load generator."""
    own, load = sys.argv[1:], []
    if "--" in own:
        own, load = own[:own.index("--")], own[own.index("--") + 1:]
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="how long to look")
    parser.add_argument("--server", help="another binary of this server than target/release/vaultaire")
    parser.add_argument("--server-flag", action="append", default=[], help="a flag more for the server")
    parser.add_argument("--load", default=str(servers.ROOT / "target/release/vaultaire-load"), help="the load generator")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--data", default=None, help="folder on the disk to be used (default: TMPDIR or /var/tmp)")
    parser.add_argument("--out", default="perf-results", help="where pictures go")
    more(parser)
    args = parser.parse_args(own)
    args.operation = load or ["get", "--sizes", "4KiB"]
    if args.server:
        servers.Vaultaire.binary = args.server
    servers.Vaultaire.extra = args.server_flag
    for needed in (args.load, servers.Vaultaire.binary):
        if not Path(needed).exists():
            sys.exit(f"{needed} is not there: cargo build --release")
    Path(args.out).mkdir(parents=True, exist_ok=True)
    return args


def needs_perf(*events):
    """Ends with a clear word where perf, or one of its events, is missing."""
    if not shutil.which("perf"):
        sys.exit("perf is not on PATH (Debian: linux-perf)")
    for event in events:
        done = subprocess.run(["perf", "stat", "-e", event, "--", "true"], capture_output=True, text=True)
        if done.returncode != 0 or "<not supported>" in done.stderr:
            sys.exit(f"this machine does not give the event {event}: root is needed, and tracefs below "
                     f"/sys/kernel/tracing\n{done.stderr.strip()[:400]}")


class Server:
    """A server of ours with an empty data folder, for the length of a `with`."""

    def __init__(self, args):
        self.args = args

    def __enter__(self):
        folder = self.args.data or os.environ.get("TMPDIR", "/var/tmp")
        self.work = tempfile.mkdtemp(prefix="vaultaire-profile.", dir=folder)
        self.server = servers.Vaultaire(self.work, self.args.server_core)
        return self

    def __exit__(self, *_):
        self.server.stop()
        shutil.rmtree(self.work, ignore_errors=True)

    @property
    def pid(self):
        return self.server.pid

    def threads(self):
        """The server's threads: id and name."""
        found = {}
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            found[int(thread)] = Path(f"/proc/{self.pid}/task/{thread}/comm").read_text().strip()
        return found

    def command(self, flags):
        return [self.args.load, *flags, "--endpoint", f"127.0.0.1:{self.server.port}",
                "--server-pid", str(self.pid), "--cores", str(self.args.load_core), "--bucket", "profile",
                "--access-key-id", servers.ACCESS_KEY, "--secret-access-key", servers.SECRET_KEY,
                "--json", f"{self.work}/load.json"]

    def run(self, flags):
        """Runs the generator to its end and returns its report."""
        done = subprocess.run(self.command(flags), capture_output=True, text=True,
                              preexec_fn=servers.pinned(self.args.load_core))
        return self.report(done.returncode, done.stdout + done.stderr)

    def report(self, code, said):
        if code != 0:
            raise RuntimeError(said[-1000:])
        return json.loads(Path(f"{self.work}/load.json").read_text())

    def watched(self, look):
        """Calls `look(seconds)` in the middle of a run, the keys filled before; returns what it returned and the
        generator's report, which covers the same time and a little more."""
        sizes = sum(([flag, value] for flag, value in zip(self.args.operation, self.args.operation[1:])
                     if flag in ("--sizes", "--keys")), [])
        flags = list(self.args.operation)
        if flags[0] not in ("put", "multipart"):
            self.run(["fill", *sizes])
            flags.append("--prepared")
        seconds = self.args.seconds
        flags += ["--warm-up-s", str(LEAD - 1), "--duration-s", str(seconds + 1 + TAIL)]
        load = subprocess.Popen(self.command(flags), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                preexec_fn=servers.pinned(self.args.load_core))
        try:
            time.sleep(LEAD)
            seen = look(seconds)
            said, _ = load.communicate(timeout=60 + seconds)
        finally:
            if load.poll() is None:
                load.kill()
                load.wait()
        return seen, self.report(load.returncode, said)


def counted(pid, events, seconds):
    """How often events happened in the threads of a process: {event: {thread name-id: count}}."""
    line = ["perf", "stat", "-x", ";", "--per-thread", "-p", str(pid)]
    for event in events:
        line += ["-e", event]
    done = subprocess.run([*line, "--", "sleep", str(seconds)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"perf stat: {done.stderr[-500:]}")
    found = {event: {} for event in events}
    for row in done.stderr.splitlines():
        fields = row.split(";")
        if len(fields) > 3 and fields[3] in found and fields[1].isdigit() and int(fields[1]):
            found[fields[3]][fields[0]] = int(fields[1])
    return found


def recorded(work, options, seconds):
    """Runs perf record and returns the lines of perf script."""
    data = f"{work}/perf.data"
    done = subprocess.run(["perf", "record", "-q", "-o", data, *options, "--", "sleep", str(seconds)],
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"perf record: {done.stderr[-500:]}")
    return subprocess.run(["perf", "script", "--no-inline", "-i", data], capture_output=True, text=True).stdout
