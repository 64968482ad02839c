//! The rounds of SHA-256 for two streams at once, with the processor's instructions for them.
//!
//! Each of these instructions waits for the one before it, for longer than the processor needs to begin another: between
//! those of one stream there is time for as many of a second.
//!
//! Source: FIPS 180-4; the order of the words in registers is that of the instructions, see Gulley et al., "Intel SHA
//! Extensions" (2013).
#![expect(unsafe_code, reason = "loads and stores through pointers, with vector instructions")]

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_loadu_si128, _mm_set_epi64x,
    _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
    _mm_shuffle_epi32, _mm_storeu_si128,
};

/// Bytes of a block.
pub(super) const BLOCK: usize = 64;

/// The state of one SHA-256 between two blocks.
pub(super) type State = [u32; 8];

/// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
pub(super) const ROOTS: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];

/// That the processor has the instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel(());

impl Kernel {
    /// `None` if it has not.
    pub(super) fn new() -> Option<Self> {
        let has_all = std::is_x86_feature_detected!("sha")
            && std::is_x86_feature_detected!("sse4.1")
            && std::is_x86_feature_detected!("ssse3");
        has_all.then_some(Self(()))
    }

    /// Adds to each state the whole blocks of its input, as many as the shorter one has.
    pub(super) fn run(self, states: &mut [State; 2], inputs: [&[u8]; 2]) {
        // SAFETY: that there is a kernel says that the processor has them.
        unsafe { run(states, inputs) }
    }
}

/// The words of a state as the instructions want them, and four words of the message each.
#[derive(Clone, Copy)]
struct Lane {
    abef: __m128i,
    cdgh: __m128i,
    words: [__m128i; 4],
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn load(words: &[u32]) -> __m128i {
    let words = &words[..4];
    // SAFETY: 16 bytes lie there.
    unsafe { _mm_loadu_si128(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn store(value: __m128i, words: &mut [u32]) {
    let words = &mut words[..4];
    // SAFETY: 16 bytes lie there.
    unsafe { _mm_storeu_si128(words.as_mut_ptr().cast(), value) }
}

/// Four words of the message, which has its bytes the other way round.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn words_of(bytes: &[u8]) -> __m128i {
    let bytes = &bytes[..16];
    // SAFETY: 16 bytes lie there.
    let words = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
    _mm_shuffle_epi8(words, _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203))
}

impl Lane {
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn new(state: &State) -> Self {
        let abcd = _mm_shuffle_epi32::<0xb1>(load(&state[..4]));
        let efgh = _mm_shuffle_epi32::<0x1b>(load(&state[4..]));
        let abef = _mm_alignr_epi8::<8>(abcd, efgh);
        let cdgh = _mm_blend_epi16::<0xf0>(efgh, abcd);
        Self { abef, cdgh, words: [abef; 4] }
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn state(&self) -> State {
        let feba = _mm_shuffle_epi32::<0x1b>(self.abef);
        let dchg = _mm_shuffle_epi32::<0xb1>(self.cdgh);
        let mut state = State::default();
        store(_mm_blend_epi16::<0xf0>(feba, dchg), &mut state[..4]);
        store(_mm_alignr_epi8::<8>(dchg, feba), &mut state[4..]);
        state
    }

    /// Four rounds, with these words of the message.
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn rounds<const AT: usize>(&mut self, roots: __m128i) {
        let sum = _mm_add_epi32(self.words[AT], roots);
        self.cdgh = _mm_sha256rnds2_epu32(self.cdgh, self.abef, sum);
        self.abef = _mm_sha256rnds2_epu32(self.abef, self.cdgh, _mm_shuffle_epi32::<0x0e>(sum));
    }

    /// Replaces words of the message by those sixteen behind them.
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn schedule<const AT: usize>(&mut self) {
        let [first, second, third, fourth] =
            [0, 1, 2, 3].map(|behind| self.words[(AT + behind) % 4]);
        let sum =
            _mm_add_epi32(_mm_sha256msg1_epu32(first, second), _mm_alignr_epi8::<4>(fourth, third));
        self.words[AT] = _mm_sha256msg2_epu32(sum, fourth);
    }
}

#[target_feature(enable = "sha,sse4.1,ssse3")]
fn run(states: &mut [State; 2], inputs: [&[u8]; 2]) {
    let [one, other] = &mut *states;
    let mut lanes = [Lane::new(one), Lane::new(other)];
    let blocks = inputs[0].chunks_exact(BLOCK).zip(inputs[1].chunks_exact(BLOCK));
    for (one, other) in blocks {
        let before = lanes;
        for (lane, block) in lanes.iter_mut().zip([one, other]) {
            for (words, bytes) in lane.words.iter_mut().zip(block.chunks_exact(16)) {
                *words = words_of(bytes);
            }
        }
        macro_rules! rounds {
            ($at:literal, $round:expr) => {
                let roots = load(&ROOTS[$round..]);
                lanes[0].rounds::<$at>(roots);
                lanes[1].rounds::<$at>(roots);
            };
        }
        macro_rules! schedule {
            ($at:literal) => {
                lanes[0].schedule::<$at>();
                lanes[1].schedule::<$at>();
            };
        }
        for round in [0, 16, 32] {
            rounds!(0, round);
            schedule!(0);
            rounds!(1, round + 4);
            schedule!(1);
            rounds!(2, round + 8);
            schedule!(2);
            rounds!(3, round + 12);
            schedule!(3);
        }
        rounds!(0, 48);
        rounds!(1, 52);
        rounds!(2, 56);
        rounds!(3, 60);
        for (lane, before) in lanes.iter_mut().zip(before) {
            lane.abef = _mm_add_epi32(lane.abef, before.abef);
            lane.cdgh = _mm_add_epi32(lane.cdgh, before.cdgh);
        }
    }
    *states = [lanes[0].state(), lanes[1].state()];
}
