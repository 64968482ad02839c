//! What was measured: operations, latencies, and what the server used meanwhile.

use std::fmt::Write;
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::args::Args;

/// The figures of a phase.
pub(crate) struct Report {
    pub(crate) operations: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: String,
    pub(crate) elapsed: Duration,
    pub(crate) server: Option<ServerUse>,
    bytes: u64,
    latency_ns: Histogram<u64>,
}

impl Default for Report {
    fn default() -> Self {
        let latency_ns = match Histogram::new(3) {
            Ok(histogram) => histogram,
            Err(error) => panic!("three digits are valid: {error}"),
        };
        Self {
            operations: 0,
            errors: 0,
            first_error: String::new(),
            elapsed: Duration::ZERO,
            server: None,
            bytes: 0,
            latency_ns,
        }
    }
}

impl Report {
    pub(crate) fn succeed(&mut self, latency: Duration, bytes: u64) {
        self.operations += 1;
        self.bytes += bytes;
        let _ = self.latency_ns.record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn fail(&mut self, error: String) {
        self.errors += 1;
        if self.first_error.is_empty() {
            self.first_error = error;
        }
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.operations += other.operations;
        self.errors += other.errors;
        self.bytes += other.bytes;
        if self.first_error.is_empty() {
            self.first_error = other.first_error;
        }
        let _ = self.latency_ns.add(&other.latency_ns);
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn figures(&self) -> Vec<(&'static str, f64)> {
        let seconds = self.elapsed.as_secs_f64().max(1e-9);
        let quantile = |q| self.latency_ns.value_at_quantile(q) as f64 / 1e3;
        let mut figures = vec![
            ("operations_per_s", self.operations as f64 / seconds),
            ("mib_per_s", self.bytes as f64 / seconds / f64::from(1 << 20)),
            ("p50_us", quantile(0.5)),
            ("p99_us", quantile(0.99)),
            ("p999_us", quantile(0.999)),
            ("max_us", self.latency_ns.max() as f64 / 1e3),
        ];
        if let Some(server) = &self.server {
            let operations = self.operations.max(1) as f64;
            figures.push(("server_cpu_us_per_operation", server.cpu_ns as f64 / 1e3 / operations));
            figures.push(("server_resident_mib", server.resident_kib as f64 / 1024.0));
        }
        figures
    }

    /// One line for people.
    pub(crate) fn line(&self, args: &Args) -> String {
        let mut line =
            format!("{:?}: {} operations, {} errors", args.operation, self.operations, self.errors);
        if self.errors > 0 {
            let _ = write!(line, " ({})", self.first_error);
        }
        for (name, value) in self.figures() {
            let _ = write!(line, ", {name} {value:.1}");
        }
        line
    }

    pub(crate) fn write_files(&self, args: &Args) -> io::Result<()> {
        if let Some(path) = &args.json {
            let mut text =
                format!("{{\"operations\":{},\"errors\":{}", self.operations, self.errors);
            for (name, value) in self.figures() {
                let _ = write!(text, ",\"{name}\":{value:.3}");
            }
            text.push_str("}\n");
            std::fs::write(path, text)?;
        }
        if let Some(path) = &args.hgrm {
            let mut text =
                String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
            let mut total = 0;
            for step in self.latency_ns.iter_quantiles(5) {
                total += step.count_since_last_iteration();
                let quantile = step.quantile_iterated_to();
                let value_us = Duration::from_nanos(step.value_iterated_to()).as_secs_f64() * 1e6;
                let _ = writeln!(
                    text,
                    "{value_us:12.3} {quantile:2.12} {total:10} {:14.2}",
                    1.0 / (1.0 - quantile)
                );
            }
            std::fs::write(path, text)?;
        }
        Ok(())
    }
}

/// What the server used: CPU over all its threads, and resident memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerUse {
    cpu_ns: u64,
    resident_kib: u64,
}

impl ServerUse {
    pub(crate) fn read(pid: u32) -> Result<Self, String> {
        let fault = |error: io::Error| format!("process {pid}: {error}");
        let mut cpu_ns = 0;
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).map_err(fault)? {
            let path = task.map_err(fault)?.path().join("schedstat");
            // A thread may end meanwhile.
            let text = std::fs::read_to_string(path).unwrap_or_default();
            cpu_ns += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(fault)?;
        let resident_kib = status
            .lines()
            .find_map(|line| {
                line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.trim().parse().ok()
            })
            .unwrap_or(0);
        Ok(Self { cpu_ns, resident_kib })
    }

    /// CPU since an earlier reading, and the memory of now.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns), resident_kib: self.resident_kib }
    }
}
