//! The Prometheus text format, version 0.0.4: families in order, each with its help and type once.
//!
//! See <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write;

/// The content type of the format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// Text under construction.
pub(super) struct Exposition {
    text: String,
    family: String,
}

impl Exposition {
    pub(super) fn new() -> Self {
        Self { text: String::with_capacity(32 << 10), family: String::new() }
    }

    /// Begins the family `vaultaire_` + `name`; its samples follow.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        self.bare_family(&format!("vaultaire_{name}"), kind, help);
    }

    /// Begins a family whose name is common to all programs.
    pub(super) fn bare_family(&mut self, name: &str, kind: Kind, help: &str) {
        name.clone_into(&mut self.family);
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {}", kind.name()));
    }

    /// A sample of the present family.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: u64) {
        self.suffixed("", labels, value);
    }

    /// A sample in seconds.
    pub(super) fn seconds(&mut self, labels: &[(&str, &str)], ns: u64) {
        self.suffixed_seconds("", labels, ns);
    }

    /// A sample whose name is the family's with a suffix.
    pub(super) fn suffixed(&mut self, suffix: &str, labels: &[(&str, &str)], value: u64) {
        let labels = braced(labels);
        let family = std::mem::take(&mut self.family);
        self.line(format_args!("{family}{suffix}{labels} {value}"));
        self.family = family;
    }

    /// As [`Exposition::suffixed`], in seconds.
    pub(super) fn suffixed_seconds(&mut self, suffix: &str, labels: &[(&str, &str)], ns: u64) {
        let (labels, value) = (braced(labels), seconds(ns));
        let family = std::mem::take(&mut self.family);
        self.line(format_args!("{family}{suffix}{labels} {value}"));
        self.family = family;
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// Nanoseconds as seconds, exactly and without trailing zeros.
pub(super) fn seconds(ns: u64) -> String {
    let (whole, fraction) = (ns / 1_000_000_000, ns % 1_000_000_000);
    if fraction == 0 {
        return whole.to_string();
    }
    let text = format!("{whole}.{fraction:09}");
    text.trim_end_matches('0').to_owned()
}

fn braced(labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let mut text = String::from("{");
    for (index, (name, value)) in labels.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{comma}{name}=\"{value}\"");
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format() {
        let mut text = Exposition::new();
        text.family("a_total", Kind::Counter, "What\nit \\ is.");
        text.sample(&[], 1);
        text.sample(&[("x", "a\"b\\c\nd"), ("y", "")], 2);
        text.bare_family("t", Kind::Summary, "T.");
        text.seconds(&[("quantile", "0.5")], 1_500_000_000);
        text.suffixed("_count", &[], 3);
        assert_eq!(
            text.finish(),
            "# HELP vaultaire_a_total What\\nit \\\\ is.\n# TYPE vaultaire_a_total counter\n\
             vaultaire_a_total 1\nvaultaire_a_total{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 2\n\
             # HELP t T.\n# TYPE t summary\nt{quantile=\"0.5\"} 1.5\nt_count 3\n"
        );
    }

    #[test]
    fn seconds_are_exact() {
        for (ns, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (10_000, "0.00001"),
            (1_000_000_000, "1"),
            (60_000_000_001, "60.000000001"),
            (u64::MAX, "18446744073.709551615"),
        ] {
            assert_eq!(seconds(ns), text);
        }
    }
}
