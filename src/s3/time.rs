//! Times on the wire: ISO 8601 in XML, IMF-fixdate in headers (RFC 9110, section 5.6.7).

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822;
use jiff::tz::Offset;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn civil(ms: i64) -> DateTime {
    Offset::UTC.to_datetime(Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// The last digits of a number that is not negative, as many as fit.
fn digits(out: &mut [u8], number: i16) {
    let mut number = usize::try_from(number).unwrap_or_default();
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789"[number % 10];
        number /= 10;
    }
}

/// `2026-01-02T03:04:05.678Z`
#[must_use]
pub(crate) fn iso8601(ms: i64) -> [u8; 24] {
    let t = civil(ms);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    digits(&mut text[..4], t.year());
    digits(&mut text[5..7], t.month().into());
    digits(&mut text[8..10], t.day().into());
    digits(&mut text[11..13], t.hour().into());
    digits(&mut text[14..16], t.minute().into());
    digits(&mut text[17..19], t.second().into());
    digits(&mut text[20..23], t.millisecond());
    text
}

/// `Fri, 02 Jan 2026 03:04:05 GMT`; fractions of the second are cut off.
#[must_use]
pub(crate) fn imf_fixdate(ms: i64) -> String {
    let mut text = Vec::with_capacity(29);
    write_imf_fixdate(ms, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// Appends what [`imf_fixdate`] gives.
pub(crate) fn write_imf_fixdate(ms: i64, out: &mut Vec<u8>) {
    let t = civil(ms);
    let index = |number: i8| usize::try_from(number).unwrap_or_default();
    let mut text = *b"Mon, 00 Jan 0000 00:00:00 GMT";
    let day = DAYS[index(t.weekday().to_monday_zero_offset()) % 7];
    text[..3].copy_from_slice(day.as_bytes());
    digits(&mut text[5..7], t.day().into());
    text[8..11].copy_from_slice(MONTHS[index(t.month() - 1) % 12].as_bytes());
    digits(&mut text[12..16], t.year());
    digits(&mut text[17..19], t.hour().into());
    digits(&mut text[20..22], t.minute().into());
    digits(&mut text[23..25], t.second().into());
    out.extend_from_slice(&text);
}

/// Reads an HTTP date in any of the three forms of RFC 9110, or ISO 8601, which some clients send;
/// seconds since the epoch.
#[must_use]
pub(crate) fn parse_http_date(text: &str) -> Option<i64> {
    let utc = |format: &str, text: &str| {
        let parsed = jiff::fmt::strtime::parse(format, text).ok()?.to_datetime().ok()?;
        Offset::UTC.to_timestamp(parsed).ok()
    };
    static RFC_2822: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new().relaxed_weekday(true);
    RFC_2822
        .parse_timestamp(text)
        .ok()
        .or_else(|| utc("%A, %d-%b-%y %H:%M:%S GMT", text))
        .or_else(|| utc("%a %b %e %H:%M:%S %Y", text))
        .or_else(|| text.parse().ok())
        .map(Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_written() {
        let ms = 784_111_777_042;
        assert_eq!(&iso8601(ms), b"1994-11-06T08:49:37.042Z");
        assert_eq!(imf_fixdate(ms), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(imf_fixdate(1_709_164_800_000), "Thu, 29 Feb 2024 00:00:00 GMT");
        assert_eq!(imf_fixdate(-62_167_219_200_000), "Sat, 01 Jan 0000 00:00:00 GMT");
        assert_eq!(imf_fixdate(253_402_207_200_000), "Thu, 30 Dec 9999 22:00:00 GMT");
        assert_eq!(&iso8601(i64::MAX), b"1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn all_forms_are_read() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "1994-11-06T08:49:37Z",
            "Sun, 06 Nov 1994 09:49:37 +0100",
        ] {
            assert_eq!(parse_http_date(text), Some(784_111_777), "{text}");
        }
        for text in ["", "yesterday", "Sun, 32 Nov 1994 08:49:37 GMT"] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }
}
