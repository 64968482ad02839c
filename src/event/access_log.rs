//! The access log: one line of JSON per event.
//!
//! Names of containers and keys are not in it, only their hashes: it can be handed around.

use std::fmt::Write;

use super::Record;
use super::metrics::stage_names;

/// Appends the line of one event.
pub fn line(record: &Record, text: &mut String) {
    // Writing to a string does not fail, so nothing is done with the results.
    let time = jiff::Timestamp::from_millisecond(record.ended_ms).unwrap_or_default();
    let _ = write!(
        text,
        "{{\"time\":\"{time:.3}\",\"request_id\":\"{}\",\"tenant\":{},\"operation\":\"{}\",\"outcome\":\"{}\",\"status\":{}",
        record.request_id,
        record.tenant.0,
        record.operation.name(),
        record.outcome.name(),
        record.status,
    );
    if !record.error_code.is_empty() {
        // Codes come from a table of plain words.
        let _ = write!(text, ",\"error\":\"{}\"", record.error_code.escape_default());
    }
    if record.container_hash != 0 {
        let _ = write!(text, ",\"container\":\"{:016x}\"", record.container_hash);
    }
    if record.key_hash != 0 {
        let _ = write!(text, ",\"key\":\"{:016x}\"", record.key_hash);
    }
    let _ = write!(text, ",\"bytes_in\":{},\"bytes_out\":{}", record.bytes_in, record.bytes_out);
    if record.range_length != 0 {
        let _ = write!(text, ",\"range\":[{},{}]", record.range_offset, record.range_length);
    }
    let _ = write!(text, ",\"core\":{},\"total_us\":{}", record.core, Micros(record.total_ns));
    for (name, &ns) in stage_names().zip(&record.stages_ns) {
        if ns != 0 {
            let _ = write!(text, ",\"{name}_us\":{}", Micros(ns));
        }
    }
    if record.cpu_ns != 0 {
        let _ = write!(text, ",\"cpu_us\":{}", Micros(record.cpu_ns));
    }
    if record.batch_id != 0 {
        let _ = write!(
            text,
            ",\"batch\":\"{:x}\",\"queue_depth\":{}",
            record.batch_id, record.queue_depth
        );
    }
    if record.cache_hit {
        text.push_str(",\"cache_hit\":true");
    }
    text.push_str("}\n");
}

/// Nanoseconds as microseconds with three digits behind the point.
struct Micros(u64);

impl std::fmt::Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::testing::record;
    use crate::event::{Operation, Outcome};

    #[test]
    fn a_full_line() {
        let mut full = record(Operation::Put, Outcome::ServerError);
        full.status = 503;
        full.error_code = "SlowDown";
        full.container_hash = 0xabc;
        full.key_hash = u64::MAX;
        full.bytes_in = 10;
        full.range_offset = 5;
        full.range_length = 7;
        full.stages_ns = [1, 0, 0, 0, 0, 2_500, 0];
        full.cpu_ns = 7_000;
        full.batch_id = 255;
        full.queue_depth = 3;
        full.cache_hit = true;
        let mut text = String::new();
        line(&full, &mut text);
        assert_eq!(
            text,
            "{\"time\":\"2023-11-14T22:13:20.123Z\",\"request_id\":\"00000000000000FF\",\"tenant\":0,\
             \"operation\":\"put\",\"outcome\":\"server_error\",\"status\":503,\"error\":\"SlowDown\",\
             \"container\":\"0000000000000abc\",\"key\":\"ffffffffffffffff\",\"bytes_in\":10,\"bytes_out\":0,\
             \"range\":[5,7],\"core\":0,\"total_us\":12.345,\"wait_us\":0.001,\"sync_wait_us\":2.500,\
             \"cpu_us\":7.000,\"batch\":\"ff\",\"queue_depth\":3,\"cache_hit\":true}\n"
        );
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let mut text = String::new();
        line(&record(Operation::Get, Outcome::Ok), &mut text);
        assert_eq!(
            text,
            "{\"time\":\"2023-11-14T22:13:20.123Z\",\"request_id\":\"00000000000000FF\",\"tenant\":0,\
             \"operation\":\"get\",\"outcome\":\"ok\",\"status\":200,\"bytes_in\":0,\"bytes_out\":0,\
             \"core\":0,\"total_us\":12.345}\n"
        );
    }

    #[test]
    fn a_time_that_is_none_does_no_harm() {
        let mut far = record(Operation::Get, Outcome::Ok);
        far.ended_ms = i64::MAX;
        let mut text = String::new();
        line(&far, &mut text);
        assert!(text.starts_with("{\"time\":\"1970-01-01T00:00:00.000Z\""), "{text}");
    }
}
