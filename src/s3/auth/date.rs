//! The times that requests are signed with.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::tz::Offset;

/// A moment to the second, with its text `YYYYMMDD'T'HHMMSS'Z'` as it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SignedTime {
    text: [u8; 16],
    /// Milliseconds since the epoch.
    pub(super) ms: i64,
}

impl SignedTime {
    /// Reads `YYYYMMDD'T'HHMMSS'Z'`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text: [u8; 16] = text.as_bytes().try_into().ok()?;
        if text[8] != b'T' || text[15] != b'Z' {
            return None;
        }
        let year = i16::from(two(&text, 0)?) * 100 + i16::from(two(&text, 2)?);
        let [month, day] = [two(&text, 4)?, two(&text, 6)?];
        let [hour, minute, second] = [two(&text, 9)?, two(&text, 11)?, two(&text, 13)?];
        let moment = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
        let ms = Offset::UTC.to_timestamp(moment).ok()?.as_millisecond();
        Some(Self { text, ms })
    }

    /// Reads a `Date` field: the form above, or that of HTTP.
    pub(super) fn parse_date_field(text: &str) -> Option<Self> {
        if let Some(time) = Self::parse(text) {
            return Some(time);
        }
        let moment = DateTimeParser::new().parse_timestamp(text).ok()?;
        Self::parse(&moment.strftime("%Y%m%dT%H%M%SZ").to_string())
    }

    /// The text that is signed.
    pub(super) fn text(&self) -> &[u8; 16] {
        &self.text
    }

    /// The day in the scope of the signature.
    pub(super) fn day(&self) -> &[u8] {
        &self.text[..8]
    }
}

fn two(text: &[u8; 16], at: usize) -> Option<i8> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| byte - b'0');
    i8::try_from(digit(text[at])? * 10 + digit(text[at + 1])?).ok()
}

/// A moment as error answers show it.
pub(super) fn display(ms: i64) -> String {
    Timestamp::from_millisecond(ms)
        .map(|moment| moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_others_refused() {
        let time = SignedTime::parse("20130524T000000Z").unwrap();
        assert_eq!(time.ms, 1_369_353_600_000);
        assert_eq!(time.day(), b"20130524");
        assert_eq!(display(time.ms), "2013-05-24T00:00:00Z");
        assert_eq!(SignedTime::parse_date_field("Fri, 24 May 2013 00:00:00 GMT"), Some(time));
        assert_eq!(SignedTime::parse_date_field("20130524T000000Z"), Some(time));
        for bad in [
            "",
            "20130524",
            "20130524T000000",
            "20131324T000000Z",
            "20130532T000000Z",
            "20130524T240000Z",
            "2013-524T000000Z",
            "20130524T0000 0Z",
            "2013052éT00000Z",
        ] {
            assert_eq!(SignedTime::parse_date_field(bad), None, "{bad}");
        }
    }
}
