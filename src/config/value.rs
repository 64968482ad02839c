//! How values are written in flags, environment and file: one spelling for all three.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::ZeroCopy;
use crate::model::ETagHash;

/// Largest number of a CPU that is understood.
const CPU_MAX: usize = 4095;

/// Parses a number of bytes: digits, and a unit of `B`, `KiB`, `MiB`, `GiB` or `TiB`, or of
/// `KB`, `MB`, `GB`, `TB` for powers of a thousand. Without a unit it is bytes.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size such as 256MiB");
    let (number, unit) = split_unit(text).ok_or_else(wrong)?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is too large"))
}

/// Parses a time: digits and a unit of `us`, `ms`, `s`, `m`, `h` or `d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time such as 30s");
    let (number, unit) = split_unit(text).ok_or_else(wrong)?;
    let microseconds = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return Err(wrong()),
    };
    let total = number.checked_mul(microseconds).ok_or_else(|| format!("`{text}` is too long"))?;
    Ok(Duration::from_micros(total))
}

/// Parses a count.
pub(super) fn count(text: &str) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let number = if digits { text.replace('_', "").parse().ok() } else { None };
    number.ok_or_else(|| format!("`{text}` is not a number"))
}

/// Parses a choice.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

/// Parses what entity tags are made of.
pub(super) fn etag(text: &str) -> Result<ETagHash, String> {
    match text {
        "md5" => Ok(ETagHash::Md5),
        "crc64" => Ok(ETagHash::Crc64),
        _ => Err(format!("`{text}` is neither md5 nor crc64")),
    }
}

/// Parses whether the kernel is spared a copy.
pub(super) fn zero_copy(text: &str) -> Result<ZeroCopy, String> {
    match text {
        "auto" => Ok(ZeroCopy::Auto),
        "always" => Ok(ZeroCopy::Always),
        "never" => Ok(ZeroCopy::Never),
        _ => Err(format!("`{text}` is none of auto, always and never")),
    }
}

/// Parses an address to listen on.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is not an address and port such as 127.0.0.1:9000 or [::1]:9000")
    })
}

/// Parses a list of CPUs such as `0-3,6`, in the order given.
pub(super) fn cores(text: &str) -> Result<Vec<usize>, String> {
    let wrong = || format!("`{text}` is not a list of CPUs such as 0-3,6");
    let cpu = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { part.parse().ok() } else { None };
        number.filter(|&cpu: &usize| cpu <= CPU_MAX).ok_or_else(wrong)
    };
    let (mut list, mut seen) = (Vec::new(), BTreeSet::new());
    for part in text.split(',').map(str::trim) {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (cpu(first.trim())?, cpu(last.trim())?),
            None => (cpu(part)?, cpu(part)?),
        };
        if first > last {
            return Err(wrong());
        }
        for cpu in first..=last {
            if !seen.insert(cpu) {
                return Err(format!("`{text}` names CPU {cpu} twice"));
            }
            list.push(cpu);
        }
    }
    Ok(list)
}

/// Checks the name of a region.
pub(super) fn region(text: &str) -> Result<String, String> {
    let fits = (1..=63).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not a region: use 1 to 63 of a-z, 0-9 and -"))
    }
}

/// Checks a host name; upper case becomes lower case.
pub(super) fn domain(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    if name.len() <= 253 && name.split('.').all(label) {
        Ok(name)
    } else {
        Err(format!("`{text}` is not a host name such as s3.example.org"))
    }
}

/// Checks the id of an access key.
pub(super) fn access_key_id(text: &str) -> Result<String, String> {
    let fits = (3..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+@".contains(&byte));
    if fits {
        Ok(text.to_owned())
    } else {
        Err("the access key id must be 3 to 128 of A-Z, a-z, 0-9 and . _ - + @".to_owned())
    }
}

/// Checks a secret. The message never repeats it.
pub(super) fn secret(text: &str) -> Result<String, String> {
    match text.len() {
        0..8 => Err("the secret access key is shorter than 8 characters".to_owned()),
        129.. => Err("the secret access key is longer than 128 characters".to_owned()),
        _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err("the secret access key must be of printable ASCII without spaces".to_owned())
        }
        _ => Ok(text.to_owned()),
    }
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    Some((count(digits).ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(bytes("0"), Ok(0));
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(bytes("256MiB"), Ok(256 << 20));
        assert_eq!(bytes("5 GiB"), Ok(5 << 30));
        assert_eq!(bytes("1_000KB"), Ok(1_000_000));
        for text in ["", "MiB", "256mib", "256 M", "-1", "1.5GiB", "0x10", "+1"] {
            assert_eq!(bytes(text), Err(format!("`{text}` is not a size such as 256MiB")));
        }
        assert_eq!(bytes("99999999TiB"), Err("`99999999TiB` is too large".to_owned()));
    }

    #[test]
    fn times() {
        assert_eq!(duration("20us"), Ok(Duration::from_micros(20)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        for text in ["", "30", "s", "1.5s", "30 sec", "-1s"] {
            assert_eq!(duration(text), Err(format!("`{text}` is not a time such as 30s")));
        }
    }

    #[test]
    fn lists_of_cores() {
        assert_eq!(cores("0"), Ok(vec![0]));
        assert_eq!(cores("0-3,6"), Ok(vec![0, 1, 2, 3, 6]));
        assert_eq!(cores("6, 0-1"), Ok(vec![6, 0, 1]));
        for text in ["", "a", "1-", "-1", "3-1", "1,,2", "1-2-3", "4096", "+1"] {
            assert_eq!(cores(text), Err(format!("`{text}` is not a list of CPUs such as 0-3,6")));
        }
        assert_eq!(cores("0-3,2"), Err("`0-3,2` names CPU 2 twice".to_owned()));
    }

    #[test]
    fn names() {
        assert_eq!(domain("S3.Example.org"), Ok("s3.example.org".to_owned()));
        for text in ["", ".", "a..b", "-a", "a_b", "s3.example.org:9000"] {
            assert!(domain(text).is_err(), "{text}");
        }
        assert!(region("eu-central-1").is_ok());
        assert!(region("EU").is_err());
        assert!(access_key_id("AKIA/x").is_err());
        assert!(secret("1234567").is_err());
        assert!(secret("12345678").is_ok());
        assert!(secret("1234 5678").is_err());
    }
}
