//! What the kernel says of this process, from `/proc/self`.

use super::exposition::{Exposition, Kind};

/// Clock ticks a second in `/proc`; Linux fixes it for all programs, whatever its own tick is.
const TICKS_PER_SECOND: u64 = 100;

/// Writes the metrics that are common to all programs. What cannot be read is left out.
pub(super) fn expose(text: &mut Exposition) {
    if let Some(ns) = read("/proc/self/stat").as_deref().and_then(cpu_ns) {
        text.bare_family("process_cpu_seconds_total", Kind::Counter, "User and system CPU time.");
        text.seconds(&[], ns);
    }
    let status = read("/proc/self/status").unwrap_or_default();
    let mut gauge = |name, help, field, factor: u64| {
        if let Some(value) = field_of(&status, field) {
            text.bare_family(name, Kind::Gauge, help);
            text.sample(&[], value.saturating_mul(factor));
        }
    };
    gauge("process_resident_memory_bytes", "Resident memory.", "VmRSS:", 1024);
    gauge("process_resident_memory_max_bytes", "Greatest resident memory.", "VmHWM:", 1024);
    gauge("process_virtual_memory_bytes", "Virtual memory.", "VmSize:", 1024);
    gauge("process_threads", "Threads.", "Threads:", 1);
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        text.bare_family("process_open_fds", Kind::Gauge, "Open file descriptors.");
        text.sample(&[], entries.count() as u64);
    }
    let limits = read("/proc/self/limits").unwrap_or_default();
    if let Some(max) = field_of(&limits, "Max open files") {
        text.bare_family("process_max_fds", Kind::Gauge, "Most open file descriptors.");
        text.sample(&[], max);
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The first number on the line that begins with `field`.
fn field_of(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// CPU time in `/proc/PID/stat`: its 14th and 15th fields, counted from behind the name, which may
/// hold spaces and parentheses.
fn cpu_ns(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user.saturating_add(system).saturating_mul(1_000_000_000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let stat = "42 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        assert_eq!(cpu_ns(stat), Some(2_000_000_000));
        assert_eq!(cpu_ns("42 (x"), None);
        assert_eq!(field_of("Name:\tx\nVmRSS:\t  1234 kB\n", "VmRSS:"), Some(1234));
        assert_eq!(
            field_of("Max open files            1024   4096  files", "Max open files"),
            Some(1024)
        );
        assert_eq!(field_of("Max open files  unlimited unlimited", "Max open files"), None);
    }

    #[test]
    fn this_process() {
        let mut text = Exposition::new();
        expose(&mut text);
        let text = text.finish();
        for name in [
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_resident_memory_max_bytes ",
            "process_threads ",
            "process_open_fds ",
        ] {
            assert!(text.contains(&format!("\n{name}")), "{name}: {text}");
        }
    }
}
