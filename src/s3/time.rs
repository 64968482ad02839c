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

/// The last digits of a number, as many as fit; of 0 if it is negative.
#[inline]
fn digits(out: &mut [u8], number: impl TryInto<u32>) {
    let mut number = number.try_into().unwrap_or_default();
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789"[(number % 10) as usize];
        number /= 10;
    }
}

const DAY_MS: i64 = 86_400_000;

/// Writes `2026-01-02T03:04:05.678Z`. It remembers the day before it, on which the next is mostly.
#[derive(Debug, Default)]
pub(crate) struct Iso8601 {
    day: Option<i64>,
    date: [u8; 10],
}

impl Iso8601 {
    /// The text of a moment in milliseconds since the epoch; of the epoch, if it has none.
    #[must_use]
    pub(crate) fn text(&mut self, ms: i64) -> [u8; 24] {
        let ms = Timestamp::from_millisecond(ms).map_or(0, Timestamp::as_millisecond);
        let day = ms.div_euclid(DAY_MS);
        if self.day != Some(day) {
            let date = civil(ms);
            self.day = Some(day);
            self.date = *b"0000-00-00";
            digits(&mut self.date[..4], date.year());
            digits(&mut self.date[5..7], date.month());
            digits(&mut self.date[8..10], date.day());
        }
        let mut text = *b"0000-00-00T00:00:00.000Z";
        text[..10].copy_from_slice(&self.date);
        // Less than a day.
        let of_day = u32::try_from(ms.rem_euclid(DAY_MS)).unwrap_or_default();
        digits(&mut text[11..13], of_day / 3_600_000);
        digits(&mut text[14..16], of_day / 60_000 % 60);
        digits(&mut text[17..19], of_day / 1000 % 60);
        digits(&mut text[20..23], of_day % 1000);
        text
    }
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
    digits(&mut text[5..7], t.day());
    text[8..11].copy_from_slice(MONTHS[index(t.month() - 1) % 12].as_bytes());
    digits(&mut text[12..16], t.year());
    digits(&mut text[17..19], t.hour());
    digits(&mut text[20..22], t.minute());
    digits(&mut text[23..25], t.second());
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
        assert_eq!(&Iso8601::default().text(ms), b"1994-11-06T08:49:37.042Z");
        assert_eq!(imf_fixdate(ms), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(imf_fixdate(1_709_164_800_000), "Thu, 29 Feb 2024 00:00:00 GMT");
        assert_eq!(imf_fixdate(-62_167_219_200_000), "Sat, 01 Jan 0000 00:00:00 GMT");
        assert_eq!(imf_fixdate(253_402_207_200_000), "Thu, 30 Dec 9999 22:00:00 GMT");
    }

    #[test]
    fn a_moment_is_written_whatever_was_before_it() {
        let mut times = Iso8601::default();
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (86_399_999, "1970-01-01T23:59:59.999Z"),
            (86_400_000, "1970-01-02T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (0, "1970-01-01T00:00:00.000Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
            (253_402_207_200_000, "9999-12-30T22:00:00.000Z"),
            (i64::MAX, "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(str::from_utf8(&times.text(ms)), Ok(text));
        }
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
