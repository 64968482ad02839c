//! Keys, their sizes, and how they are drawn.

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
        Self { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, zipf, keys: args.keys }
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// In [0, 1).
    fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let value = (self.next_u64() >> 11) as f64;
        value / (1_u64 << 53) as f64
    }

    pub(crate) fn key(&mut self) -> u64 {
        let unit = self.unit();
        match &self.zipf {
            Some(zipf) => zipf.rank(unit),
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

/// The name of key `number`; spread over 256 prefixes.
pub(crate) fn name(number: u64) -> String {
    format!("{:02x}/{number:012}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56)
}

/// The size of key `number`.
pub(crate) fn size(args: &Args, number: u64) -> usize {
    let count = args.sizes.len() as u64;
    args.sizes.get(usize::try_from(number % count).unwrap_or(0)).copied().unwrap_or(4096)
}
