//! The rounds of MD5 for many streams at once: each has a lane of the vector registers to itself.
//!
//! One MD5 is a chain of dependent steps that leaves most of a core idle. A register holds that of 8 (AVX2) or 16
//! (AVX-512) streams, and two registers in turn hide the latency of each other's steps.
//!
//! Source: RFC 1321.
#![expect(unsafe_code, reason = "loads message words through pointers, with vector instructions")]

/// Bytes of a block.
pub(super) const BLOCK: usize = 64;

/// Most lanes of any kernel.
pub(super) const LANES_MAX: usize = 32;

/// The state of one MD5 between two blocks.
pub(super) type State = [u32; 4];

/// The whole part of 2^32 times the sine of 1, 2, 3, ….
const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

/// A set of vector instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernel {
    /// 8 lanes a register.
    Avx2,
    /// 16 lanes a register.
    Avx512,
}

/// The states of all lanes: word, then lane.
type Words<const LANES: usize> = [[u32; LANES]; 4];

impl Kernel {
    /// All, the best first.
    pub(super) const ALL: [Self; 2] = [Self::Avx512, Self::Avx2];

    /// Whether this processor has it.
    pub(super) fn is_supported(self) -> bool {
        match self {
            Self::Avx2 => std::is_x86_feature_detected!("avx2"),
            Self::Avx512 => std::is_x86_feature_detected!("avx512f"),
        }
    }

    /// Lanes of one register.
    pub(super) fn register(self) -> usize {
        match self {
            Self::Avx2 => 8,
            Self::Avx512 => 16,
        }
    }

    /// Most streams at once.
    pub(super) fn lanes(self) -> usize {
        2 * self.register()
    }

    /// Takes each state over its input. All inputs have the same length, whole blocks; there are at most
    /// [`Kernel::lanes`] of them, and as many states.
    ///
    /// # Panics
    /// If not.
    pub(super) fn run(self, states: &mut [State], inputs: &[&[u8]]) {
        let count = states.len();
        assert!(
            count == inputs.len() && 0 < count && count <= self.lanes(),
            "a lane for each stream"
        );
        let length = inputs[0].len();
        let equal = inputs.iter().all(|input| input.len() == length);
        assert!(equal && length.is_multiple_of(BLOCK), "whole blocks, the same number of each");
        assert!(self.is_supported(), "a kernel of this processor");
        // Lanes without a stream do the first one's work over again.
        let mut starts = [inputs[0].as_ptr(); LANES_MAX];
        for (start, input) in starts.iter_mut().zip(inputs) {
            *start = input.as_ptr();
        }
        match (self, count > self.register()) {
            // SAFETY: the processor has the instructions, and from each start there are `length` bytes.
            (Self::Avx2, false) => unsafe { avx2::run::<1, 8>(states, &starts, length) },
            // SAFETY: as above.
            (Self::Avx2, true) => unsafe { avx2::run::<2, 16>(states, &starts, length) },
            // SAFETY: as above.
            (Self::Avx512, false) => unsafe { avx512::run::<1, 16>(states, &starts, length) },
            // SAFETY: as above.
            (Self::Avx512, true) => unsafe { avx512::run::<2, 32>(states, &starts, length) },
        }
    }
}

/// One of the 64 steps, for each register.
macro_rules! step {
    ($mix:ident, $a:ident $b:ident $c:ident $d:ident, $words:ident, $word:expr, $step:expr, $left:literal, $right:literal) => {
        let (word, sine) = (&$words[$word], splat(SINES[$step]));
        for at in 0..REGISTERS {
            let sum = $mix(add($a[at], add(word[at], sine)), $b[at], $c[at], $d[at]);
            $a[at] = add(rotate::<$left, $right>(sum), $b[at]);
        }
    };
}

/// The body of a kernel, over the vector functions in scope: `LANES` is `REGISTERS` registers' worth.
macro_rules! kernel {
    ($feature:literal) => {
        /// Takes the states over `length` bytes from each start.
        ///
        /// # Safety
        /// The processor has the instructions; `length` bytes can be read from each of the first `LANES` starts.
        #[target_feature(enable = $feature)]
        pub(super) unsafe fn run<const REGISTERS: usize, const LANES: usize>(
            states: &mut [State],
            starts: &[*const u8; LANES_MAX],
            length: usize,
        ) {
            let mut lanes: Words<LANES> = [[0; LANES]; 4];
            for (lane, state) in states.iter().enumerate() {
                for (word, value) in lanes.iter_mut().zip(state) {
                    word[lane] = *value;
                }
            }
            let [mut a, mut b, mut c, mut d] = lanes.map(|word| {
                std::array::from_fn::<_, REGISTERS, _>(|at| load(&word[at * WIDTH..]))
            });
            let mut words = [[splat(0); REGISTERS]; 16];
            for offset in (0..length).step_by(BLOCK) {
                for at in 0..REGISTERS {
                    for quarter in 0..4 {
                        // SAFETY: 16 of the `length` bytes lie at each start there.
                        let four = unsafe { words_of(&starts[at * WIDTH..], offset + 16 * quarter) };
                        for (word, value) in words[4 * quarter..].iter_mut().zip(four) {
                            word[at] = value;
                        }
                    }
                }
                let before = [a, b, c, d];
                for i in (0..16).step_by(4) {
                    step!(f, a b c d, words, i, i, 7, 25);
                    step!(f, d a b c, words, i + 1, i + 1, 12, 20);
                    step!(f, c d a b, words, i + 2, i + 2, 17, 15);
                    step!(f, b c d a, words, i + 3, i + 3, 22, 10);
                }
                for i in (0..16).step_by(4) {
                    step!(g, a b c d, words, (5 * i + 1) % 16, i + 16, 5, 27);
                    step!(g, d a b c, words, (5 * i + 6) % 16, i + 17, 9, 23);
                    step!(g, c d a b, words, (5 * i + 11) % 16, i + 18, 14, 18);
                    step!(g, b c d a, words, (5 * i + 16) % 16, i + 19, 20, 12);
                }
                for i in (0..16).step_by(4) {
                    step!(h, a b c d, words, (3 * i + 5) % 16, i + 32, 4, 28);
                    step!(h, d a b c, words, (3 * i + 8) % 16, i + 33, 11, 21);
                    step!(h, c d a b, words, (3 * i + 11) % 16, i + 34, 16, 16);
                    step!(h, b c d a, words, (3 * i + 14) % 16, i + 35, 23, 9);
                }
                for i in (0..16).step_by(4) {
                    step!(k, a b c d, words, 7 * i % 16, i + 48, 6, 26);
                    step!(k, d a b c, words, (7 * i + 7) % 16, i + 49, 10, 22);
                    step!(k, c d a b, words, (7 * i + 14) % 16, i + 50, 15, 17);
                    step!(k, b c d a, words, (7 * i + 21) % 16, i + 51, 21, 11);
                }
                for at in 0..REGISTERS {
                    a[at] = add(a[at], before[0][at]);
                    b[at] = add(b[at], before[1][at]);
                    c[at] = add(c[at], before[2][at]);
                    d[at] = add(d[at], before[3][at]);
                }
            }
            for (word, registers) in lanes.iter_mut().zip([a, b, c, d]) {
                for (part, register) in word.chunks_exact_mut(WIDTH).zip(registers) {
                    store(register, part);
                }
            }
            for (lane, state) in states.iter_mut().enumerate() {
                *state = lanes.map(|word| word[lane]);
            }
        }
    };
}

mod avx2;
mod avx512;
