use super::*;
use crate::event::testing::record;

fn text(metrics: &Metrics) -> String {
    let mut text = Exposition::new();
    metrics.expose(&mut text);
    text.finish()
}

/// The value of a sample, by its name and labels.
fn value(text: &str, sample: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

#[test]
fn every_operation_and_outcome_is_there() {
    let mut metrics = Metrics::new(1);
    for operation in Operation::ALL {
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            for _ in 0..=index {
                metrics.record(&record(operation, outcome));
            }
        }
    }
    let text = text(&metrics);
    for operation in Operation::ALL {
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            let (operation, outcome) = (operation.name(), outcome.name());
            let sample = format!(
                "vaultaire_requests_total{{operation=\"{operation}\",outcome=\"{outcome}\"}}"
            );
            assert_eq!(value(&text, &sample), Some(index as f64 + 1.0), "{sample}");
        }
        let count = format!(
            "vaultaire_request_duration_seconds_count{{operation=\"{}\"}}",
            operation.name()
        );
        assert_eq!(value(&text, &count), Some(21.0));
    }
    assert_eq!(value(&text, "vaultaire_events_total"), Some(21.0 * 21.0));
}

#[test]
fn the_numbers_of_the_enums_are_their_places() {
    for (index, operation) in Operation::ALL.into_iter().enumerate() {
        assert_eq!(operation as usize, index);
    }
    for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
        assert_eq!(outcome as usize, index);
    }
    for (index, (stage, _)) in STAGE_NAMES.into_iter().enumerate() {
        assert_eq!(stage as usize, index);
    }
}

#[test]
fn classes_are_cumulative_and_their_bounds_inclusive() {
    let mut metrics = Metrics::new(1);
    for total_ns in [10_000, 10_001, 25_000, u64::MAX] {
        metrics.record(&Record { total_ns, ..record(Operation::Get, Outcome::Ok) });
    }
    let text = text(&metrics);
    let up_to = |le: &str| {
        let name = ["vaultaire_request_duration_seconds", "_bucket"].concat();
        value(&text, &format!("{name}{{operation=\"get\",le=\"{le}\"}}"))
    };
    assert_eq!(up_to("0.00001"), Some(1.0));
    assert_eq!(up_to("0.000025"), Some(3.0));
    assert_eq!(up_to("600"), Some(3.0));
    assert_eq!(up_to("+Inf"), Some(4.0));
}

#[test]
fn quantiles_are_near_and_sums_exact() {
    let mut metrics = Metrics::new(1);
    for micros in 1..=1000 {
        let mut one = record(Operation::Put, Outcome::Ok);
        one.total_ns = micros * 1000;
        one.stages_ns[Stage::SyncWait as usize] = micros * 500;
        metrics.record(&one);
    }
    let text = text(&metrics);
    let near = |sample: &str, wanted: f64| {
        let found = value(&text, sample).unwrap();
        assert!((found / wanted - 1.0).abs() < 0.02, "{sample}: {found}, not {wanted}");
    };
    near("vaultaire_request_quantiles_seconds{operation=\"put\",quantile=\"0.5\"}", 500e-6);
    near("vaultaire_request_quantiles_seconds{operation=\"put\",quantile=\"0.999\"}", 999e-6);
    let stage = "operation=\"put\",stage=\"sync_wait\"";
    near(&format!("vaultaire_stage_duration_seconds{{{stage},quantile=\"0.9\"}}"), 450e-6);
    assert_eq!(
        value(&text, "vaultaire_request_duration_seconds_sum{operation=\"put\"}"),
        Some(0.5005)
    );
    assert_eq!(
        value(&text, &format!("vaultaire_stage_duration_seconds_count{{{stage}}}")),
        Some(1000.0)
    );
    assert!(!text.contains("stage=\"auth\""), "a stage that nobody passed through");
}

#[test]
fn bytes_statuses_errors_cores_and_cache() {
    let mut metrics = Metrics::new(2);
    let mut one = record(Operation::Get, Outcome::Ok);
    one.bytes_out = 100;
    one.cache_hit = true;
    one.core = 1;
    metrics.record(&one);
    metrics.record(&one);
    let mut lost = record(Operation::Get, Outcome::ClientAbort);
    lost.status = 60_000;
    lost.core = 9;
    metrics.record(&lost);
    let mut refused = record(Operation::Put, Outcome::Refused);
    refused.status = 503;
    refused.error_code = "SlowDown";
    refused.bytes_in = 7;
    metrics.record(&refused);
    metrics.set_dropped(5);
    let text = text(&metrics);
    for (sample, wanted) in [
        ("vaultaire_sent_bytes_total{operation=\"get\"}", 200.0),
        ("vaultaire_received_bytes_total{operation=\"put\"}", 7.0),
        ("vaultaire_cache_hits_total{operation=\"get\"}", 2.0),
        ("vaultaire_responses_total{status=\"200\"}", 2.0),
        ("vaultaire_responses_total{status=\"503\"}", 1.0),
        ("vaultaire_responses_total{status=\"0\"}", 1.0),
        ("vaultaire_errors_total{code=\"SlowDown\"}", 1.0),
        ("vaultaire_core_requests_total{core=\"1\"}", 2.0),
        ("vaultaire_core_requests_total{core=\"0\"}", 1.0),
        ("vaultaire_events_dropped_total", 5.0),
    ] {
        assert_eq!(value(&text, sample), Some(wanted), "{sample}");
    }
}

#[test]
fn a_batch_is_counted_once() {
    let mut metrics = Metrics::new(1);
    for batch_id in [7, 7, 8, 7, 0] {
        let one = Record { batch_id, queue_depth: 4, ..record(Operation::Put, Outcome::Ok) };
        metrics.record(&one);
    }
    let text = text(&metrics);
    assert_eq!(value(&text, "vaultaire_commits_total"), Some(4.0));
    assert_eq!(value(&text, "vaultaire_commit_batches_total"), Some(2.0));
    assert_eq!(value(&text, "vaultaire_commit_queue_depth_sum"), Some(16.0));
    assert_eq!(value(&text, "vaultaire_commit_queue_depth_max"), Some(4.0));
}

#[test]
fn remembered_batches_are_bounded() {
    let mut metrics = Metrics::new(1);
    let count = BATCHES_REMEMBERED as u64 * 3;
    for batch_id in 1..=count {
        metrics.record(&Record { batch_id, ..record(Operation::Put, Outcome::Ok) });
    }
    assert_eq!(metrics.batches, count);
    assert_eq!(metrics.batches_known.len(), BATCHES_REMEMBERED);
    assert_eq!(metrics.batches_order.len(), BATCHES_REMEMBERED);
}

#[test]
fn every_family_has_its_help_and_type_once_and_before_its_samples() {
    let mut metrics = Metrics::new(1);
    for operation in Operation::ALL {
        let mut one = record(operation, Outcome::Ok);
        one.stages_ns = [1; STAGES];
        one.error_code = "NoSuchKey";
        metrics.record(&one);
    }
    crate::event::testing::check_exposition(&text(&metrics));
}
