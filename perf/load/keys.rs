//! Keys, their sizes, and how they are drawn.

use std::str::FromStr;

use crate::args::{Args, Distribution};

/// A small generator of its own per connection (xorshift64*).
pub(crate) struct Draw {
    state: u64,
    zipf: Option<Zipf>,
    keys: u64,
}

impl Draw {
    pub(crate) fn new(args: &Args, seed: u64) -> Self {
        let zipf = (args.distribution == Distribution::Zipf).then(|| Zipf::new(args.keys, 0.99));
        Self { state: scatter(seed) | 1, zipf, keys: args.keys }
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// In [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let value = (self.next_u64() >> 11) as f64;
        value / (1_u64 << 53) as f64
    }

    /// The number of a key. What is drawn often under zipf lies all over the keys, not at their beginning.
    pub(crate) fn key(&mut self) -> u64 {
        let unit = self.unit();
        match &self.zipf {
            Some(zipf) => scatter(zipf.rank(unit)) % self.keys,
            None => self.next_u64() % self.keys,
        }
    }
}

/// Gray et al., "Quickly generating billion-record synthetic databases" (SIGMOD 1994).
struct Zipf {
    keys: f64,
    theta: f64,
    zeta: f64,
    alpha: f64,
    eta: f64,
}

impl Zipf {
    #[expect(clippy::cast_precision_loss, reason = "key counts stay far below 2^53")]
    fn new(keys: u64, theta: f64) -> Self {
        let zeta: f64 = (1..=keys).map(|rank| (rank as f64).powf(-theta)).sum();
        let zeta_two = 1.0 + 0.5_f64.powf(theta);
        let keys = keys as f64;
        let eta = (1.0 - (2.0 / keys).powf(1.0 - theta)) / (1.0 - zeta_two / zeta);
        Self { keys, theta, zeta, alpha: 1.0 / (1.0 - theta), eta }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value lies between 0 and the number of keys"
    )]
    fn rank(&self, unit: f64) -> u64 {
        let scaled = unit * self.zeta;
        if scaled < 1.0 {
            0
        } else if scaled < 1.0 + 0.5_f64.powf(self.theta) {
            1
        } else {
            let rank = self.keys * (self.eta * unit - self.eta + 1.0).powf(self.alpha);
            rank.min(self.keys - 1.0) as u64
        }
    }
}

/// A number all over the range for a small one (splitmix64).
fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Appends the name of key `number`; the names are spread over 256 prefixes.
pub(crate) fn name(out: &mut String, number: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let prefix = scatter(number) >> 56;
    out.push(char::from(DIGITS[usize::try_from(prefix >> 4).unwrap_or(0)]));
    out.push(char::from(DIGITS[usize::try_from(prefix & 15).unwrap_or(0)]));
    out.push('/');
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number);
    out.push_str(&"000000000000"[digits.len().min(12)..]);
    out.push_str(digits);
}

/// How large artifacts are.
#[derive(Clone, Debug)]
pub(crate) enum Sizes {
    /// Sizes with weights, and the sum of these.
    Some(Vec<(usize, u64)>, u64),
    /// From the first to the second, every power of two alike.
    Between(usize, usize),
}

impl Sizes {
    pub(crate) fn largest(&self) -> usize {
        match self {
            Self::Some(sizes, _) => sizes.iter().map(|(size, _)| *size).max().unwrap_or(0),
            Self::Between(_, most) => *most,
        }
    }

    /// The size of key `number`.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sizes stay far below 2^53"
    )]
    pub(crate) fn of(&self, number: u64) -> usize {
        let random = scatter(number ^ 0x5153_4947);
        match self {
            Self::Some(sizes, total) => {
                let mut left = random % total;
                for &(size, weight) in sizes {
                    if left < weight {
                        return size;
                    }
                    left -= weight;
                }
                0
            }
            Self::Between(least, most) => {
                let unit = (random >> 11) as f64 / (1_u64 << 53) as f64;
                let (least, most) = (*least as f64, *most as f64);
                (least * (most / least).powf(unit)) as usize
            }
        }
    }
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((least, most)) = text.split_once('-') {
            let (least, most) = (bytes(least)?, bytes(most)?);
            return if 0 < least && least <= most {
                Ok(Self::Between(least, most))
            } else {
                Err("a range goes from a smaller size above 0 to a larger one".into())
            };
        }
        let mut sizes = Vec::new();
        for item in text.split(',') {
            let (size, weight) = item.split_once(':').unwrap_or((item, "1"));
            sizes.push((bytes(size)?, weight.parse().map_err(|_| format!("no weight: {weight}"))?));
        }
        let total = sizes.iter().map(|(_, weight)| weight).sum();
        if total == 0 { Err("all weights are 0".into()) } else { Ok(Self::Some(sizes, total)) }
    }
}

/// A size such as 4096, 4KiB, 1MiB or 1GiB.
fn bytes(text: &str) -> Result<usize, String> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let (digits, shift) = units
        .into_iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))
        .unwrap_or((text, 0));
    let count: usize = digits.trim().parse().map_err(|_| format!("no size: {text}"))?;
    count.checked_mul(1 << shift).ok_or_else(|| format!("too large: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_kept_by_key() -> Result<(), String> {
        let sizes: Sizes = "4KiB:3,1MiB".parse()?;
        let small = (0..10_000).filter(|key| sizes.of(*key) == 4096).count();
        assert!((7_300..7_700).contains(&small), "{small}");
        assert_eq!(sizes.largest(), 1 << 20);
        let sizes: Sizes = "1KiB-8MiB".parse()?;
        assert!((0..10_000).all(|key| (1 << 10..=8 << 20).contains(&sizes.of(key))));
        let below = (0..10_000).filter(|key| sizes.of(*key) < 2048).count();
        assert!((600..950).contains(&below), "one octave of 13: {below}");
        for wrong in ["", "x", "4KB", "2-1", "0-1", "1:0"] {
            assert!(wrong.parse::<Sizes>().is_err(), "{wrong}");
        }
        Ok(())
    }

    #[test]
    fn zipf_prefers_few_and_leaves_none_out() {
        let zipf = Zipf::new(1000, 0.99);
        let ranks: Vec<u64> =
            (0..100_000).map(|step| zipf.rank(f64::from(step) / 100_000.0)).collect();
        let first = ranks.iter().filter(|rank| **rank == 0).count();
        // 1 / (the sum of 1/k^0.99 for k to 1000) = 0.1295
        assert!((12_000..14_000).contains(&first), "{first}");
        assert!(ranks.iter().all(|rank| *rank < 1000));
        assert!(ranks.iter().any(|rank| *rank > 950));
    }

    #[test]
    fn names_have_one_form() {
        let mut text = String::new();
        name(&mut text, 42);
        assert_eq!(text.len(), 15);
        assert!(text.ends_with("/000000000042"));
    }
}
