//! What was measured: operations, latencies, and what the server and the generator used meanwhile.

use std::fmt::Write;
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::args::Args;
use crate::mix::Verb;

/// Latencies with three digits, in nanoseconds.
pub(crate) struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        match Histogram::new(3) {
            Ok(histogram) => Self(histogram),
            Err(error) => panic!("three digits are valid: {error}"),
        }
    }
}

impl Latency {
    fn record(&mut self, latency: Duration) {
        let _ = self.0.record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn figures(&self) -> [(&'static str, f64); 5] {
        let quantile = |q| self.0.value_at_quantile(q) as f64 / 1e3;
        [
            ("p50_us", quantile(0.5)),
            ("p90_us", quantile(0.9)),
            ("p99_us", quantile(0.99)),
            ("p999_us", quantile(0.999)),
            ("max_us", self.0.max() as f64 / 1e3),
        ]
    }
}

/// The figures of a phase.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) operations: u64,
    pub(crate) errors: u64,
    pub(crate) first_errors: Vec<String>,
    pub(crate) elapsed: Duration,
    pub(crate) server: Option<ServerUse>,
    /// CPU of the generator's threads.
    pub(crate) load_cpu_ns: u64,
    bytes: u64,
    latency: Latency,
    /// How late requests began, in open loop: what the generator, or a lack of free connections, adds.
    late: Latency,
    of_verbs: [Option<Box<(u64, Latency)>>; Verb::ALL.len()],
}

const FIRST_ERRORS: usize = 5;

impl Report {
    /// Counts a request that was answered as it should be.
    pub(crate) fn answered(&mut self, verb: Verb, latency: Duration, bytes: u64) {
        self.bytes += bytes;
        let (count, latencies) = &mut **self.of_verbs[verb as usize].get_or_insert_default();
        *count += 1;
        latencies.record(latency);
    }

    /// Counts what makes up one or more operations.
    pub(crate) fn done(&mut self, operations: u64, latency: Duration) {
        self.operations += operations;
        self.latency.record(latency);
    }

    pub(crate) fn began_late(&mut self, by: Duration) {
        self.late.record(by);
    }

    pub(crate) fn fail(&mut self, error: String) {
        self.errors += 1;
        if self.first_errors.len() < FIRST_ERRORS && !self.first_errors.contains(&error) {
            self.first_errors.push(error);
        }
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.operations += other.operations;
        self.errors += other.errors;
        self.bytes += other.bytes;
        self.load_cpu_ns += other.load_cpu_ns;
        for error in other.first_errors {
            if self.first_errors.len() < FIRST_ERRORS && !self.first_errors.contains(&error) {
                self.first_errors.push(error);
            }
        }
        let _ = self.latency.0.add(&other.latency.0);
        let _ = self.late.0.add(&other.late.0);
        for (verb, others) in self.of_verbs.iter_mut().zip(other.of_verbs) {
            if let Some(others) = others {
                let (count, latencies) = &mut **verb.get_or_insert_default();
                *count += others.0;
                let _ = latencies.0.add(&others.1.0);
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn figures(&self, args: &Args) -> Vec<(&'static str, f64)> {
        let seconds = self.elapsed.as_secs_f64().max(1e-9);
        let operations = self.operations.max(1) as f64;
        let mut figures = vec![
            ("seconds", seconds),
            ("operations_per_s", self.operations as f64 / seconds),
            ("mib_per_s", self.bytes as f64 / seconds / f64::from(1 << 20)),
        ];
        figures.extend(self.latency.figures());
        if args.rate.is_some() {
            figures.push(("began_late_p99_us", self.late.figures()[2].1));
        }
        figures.push(("load_cpu_us_per_operation", self.load_cpu_ns as f64 / 1e3 / operations));
        if let Some(server) = &self.server {
            let cpu_ns = server.cpu_ns as f64;
            figures.push(("server_cpu_us_per_operation", cpu_ns / 1e3 / operations));
            figures.push(("server_cores_busy", cpu_ns / 1e9 / seconds));
            figures.push(("server_resident_mib", server.resident_kib as f64 / 1024.0));
            figures.push(("server_peak_mib", server.peak_kib as f64 / 1024.0));
        }
        figures
    }

    /// A few lines for people.
    pub(crate) fn lines(&self, args: &Args) -> String {
        let mut text =
            format!("{:?}: {} operations, {} errors", args.operation, self.operations, self.errors);
        if self.errors > 0 {
            let _ = write!(text, " ({})", self.first_errors.join("; "));
        }
        for (name, value) in self.figures(args) {
            let _ = write!(text, ", {name} {value:.1}");
        }
        let verbs: Vec<_> = self.verbs().collect();
        if verbs.len() > 1 {
            for (verb, count, latency) in verbs {
                let _ = write!(text, "\n  {}: {count}", verb.name());
                for (name, value) in latency.figures() {
                    let _ = write!(text, ", {name} {value:.1}");
                }
            }
        }
        text
    }

    fn verbs(&self) -> impl Iterator<Item = (Verb, u64, &Latency)> {
        let pairs = Verb::ALL.into_iter().zip(&self.of_verbs);
        pairs.filter_map(|(verb, of)| of.as_deref().map(|(count, latency)| (verb, *count, latency)))
    }

    pub(crate) fn write_files(&self, args: &Args) -> io::Result<()> {
        if let Some(path) = &args.json {
            std::fs::write(path, self.json(args))?;
        }
        if let Some(path) = &args.hgrm {
            std::fs::write(path, self.hgrm())?;
        }
        Ok(())
    }

    fn json(&self, args: &Args) -> String {
        let mut text = format!(
            "{{\"operation\":\"{:?}\",\"operations\":{},\"errors\":{},\"first_errors\":[",
            args.operation, self.operations, self.errors
        );
        for (index, error) in self.first_errors.iter().enumerate() {
            text.push_str(if index == 0 { "" } else { "," });
            quote(&mut text, error);
        }
        text.push(']');
        for (name, value) in self.figures(args) {
            let _ = write!(text, ",\"{name}\":{value:.3}");
        }
        text.push_str(",\"verbs\":{");
        for (index, (verb, count, latency)) in self.verbs().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(text, "{comma}\"{}\":{{\"requests\":{count}", verb.name());
            for (name, value) in latency.figures() {
                let _ = write!(text, ",\"{name}\":{value:.3}");
            }
            text.push('}');
        }
        text.push_str("}}\n");
        text
    }

    /// The text form that HdrHistogram's tools plot.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn hgrm(&self) -> String {
        let histogram = &self.latency.0;
        let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
        let mut total = 0;
        for step in histogram.iter_quantiles(5) {
            total += step.count_since_last_iteration();
            let quantile = step.quantile_iterated_to();
            let value_us = step.value_iterated_to() as f64 / 1e3;
            let _ = write!(text, "{value_us:12.3} {quantile:2.12} {total:10}");
            if quantile < 1.0 {
                let _ = write!(text, " {:14.2}", 1.0 / (1.0 - quantile));
            }
            text.push('\n');
        }
        let _ = writeln!(
            text,
            "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n\
             #[Max     = {:12.3}, Total count    = {:12}]\n\
             #[Buckets = {:12}, SubBuckets     = {:12}]",
            histogram.mean() / 1e3,
            histogram.stdev() / 1e3,
            histogram.max() as f64 / 1e3,
            histogram.len(),
            histogram.buckets(),
            histogram.distinct_values().checked_div(histogram.buckets().into()).unwrap_or(0),
        );
        text
    }
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// What the server used: CPU over all its threads, and memory; the processes that it started count with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerUse {
    cpu_ns: u64,
    resident_kib: u64,
    peak_kib: u64,
}

impl ServerUse {
    pub(crate) fn read(pid: u32) -> Result<Self, String> {
        let fault = |error: io::Error| format!("process {pid}: {error}");
        let mut all = Self { cpu_ns: 0, resident_kib: 0, peak_kib: 0 };
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).map_err(fault)? {
            all.cpu_ns += schedstat_ns(&task.map_err(fault)?.path().join("schedstat"));
        }
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(fault)?;
        all.resident_kib = field(&status, "VmRSS:").unwrap_or(0);
        all.peak_kib = field(&status, "VmHWM:").unwrap_or(0);
        for child in children(pid).map_err(fault)? {
            let child = Self::read(child)?;
            all.cpu_ns += child.cpu_ns;
            all.resident_kib += child.resident_kib;
            all.peak_kib += child.peak_kib;
        }
        Ok(all)
    }

    /// CPU since an earlier reading, and the memory of now.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns), ..self }
    }
}

/// The processes whose parent is `pid`.
fn children(pid: u32) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        // A process that has ended meanwhile is no child any more.
        let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
        if let Some(number) = number
            && field(&status, "PPid:") == Some(pid.into())
        {
            found.push(number);
        }
    }
    Ok(found)
}

/// A number in a status file of /proc.
fn field(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

/// CPU of the calling thread so far.
pub(crate) fn thread_cpu_ns() -> u64 {
    schedstat_ns(std::path::Path::new("/proc/thread-self/schedstat"))
}

/// The first figure of a schedstat file; 0 for a thread that has ended.
fn schedstat_ns(path: &std::path::Path) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_quoted_for_json() {
        let mut text = String::new();
        quote(&mut text, "a \"b\"\n\\");
        assert_eq!(text, "\"a \\\"b\\\"\\u000a\\\\\"");
    }

    #[test]
    fn the_distribution_ends_at_the_slowest() {
        let mut report = Report::default();
        for micros in 1..=1000 {
            report.done(1, Duration::from_micros(micros));
        }
        let text = report.hgrm();
        let last = text.lines().rfind(|line| !line.starts_with('#'));
        assert!(last.is_some_and(|line| line.contains("1.000000000000       1000")), "{text}");
    }
}
