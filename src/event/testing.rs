//! Records for tests.

use super::{Operation, Outcome, Record};
use crate::context::{RequestId, STAGES};
use crate::model::TenantId;

/// A record with nothing remarkable.
pub(super) fn record(operation: Operation, outcome: Outcome) -> Record {
    Record {
        ended_ms: 1_700_000_000_123,
        request_id: RequestId(255),
        tenant: TenantId::DEFAULT,
        operation,
        outcome,
        core: 0,
        status: 200,
        error_code: "",
        container_hash: 0,
        key_hash: 0,
        bytes_in: 0,
        bytes_out: 0,
        range_offset: 0,
        range_length: 0,
        total_ns: 12_345,
        stages_ns: [0; STAGES],
        cpu_ns: 0,
        batch_id: 0,
        queue_depth: 0,
        cache_hit: false,
    }
}

/// Checks a scrape line by line: each family is announced once by HELP and TYPE, its samples follow
/// at once, each sample is there once and has a number.
pub(super) fn check_exposition(text: &str) {
    use std::collections::HashSet;
    let (mut families, mut samples) = (HashSet::new(), HashSet::new());
    let mut family: Option<(&str, &str)> = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help");
            assert!(!help.is_empty() && families.insert(name), "{line}");
            let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE ")).expect("a type");
            let (typed, kind) = kind.split_once(' ').expect("a kind");
            assert_eq!(typed, name);
            family = Some((name, kind));
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a value");
        assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
        assert!(samples.insert(sample), "twice: {line}");
        let (name, kind) = family.expect("a family");
        let suffix =
            sample.split('{').next().and_then(|it| it.strip_prefix(name)).expect("its family");
        let fits = match kind {
            "counter" | "gauge" => suffix.is_empty(),
            "summary" => ["", "_sum", "_count"].contains(&suffix),
            "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
            _ => false,
        };
        assert!(fits, "{line} in a {kind}");
    }
    assert!(!samples.is_empty());
}
