//! HMAC-SHA-256 (RFC 2104), from the states after a key's two pads: 224 bytes a key, and as many are copied for a tag.
//! The contexts of AWS-LC's own take 1,200 bytes, and are copied three times.

use super::{BLOCK, Sha256};

/// A key, ready to be used.
#[derive(Clone)]
pub struct HmacKey {
    inner: Sha256,
    outer: Sha256,
}

impl HmacKey {
    /// From the bytes of a secret.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let mut block = [0; BLOCK];
        match block.get_mut(..secret.len()) {
            Some(start) => start.copy_from_slice(secret),
            None => block[..32].copy_from_slice(&super::digest(secret)),
        }
        let padded = |pad| {
            let mut state = Sha256::default();
            state.update(&block.map(|byte: u8| byte ^ pad));
            state
        };
        Self { inner: padded(0x36), outer: padded(0x5c) }
    }

    /// Begins a message.
    #[must_use]
    pub fn begin(&self) -> Hmac<'_> {
        Hmac { inner: self.inner.clone(), outer: &self.outer }
    }

    /// The tag of a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 32] {
        let mut hmac = self.begin();
        hmac.update(message);
        hmac.finish()
    }
}

/// A message that is being signed.
pub struct Hmac<'k> {
    inner: Sha256,
    outer: &'k Sha256,
}

impl Hmac<'_> {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.inner.update(bytes);
    }

    /// The tag of all bytes added.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        let mut outer = self.outer.clone();
        outer.update(&self.inner.finish());
        outer.finish()
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;
    use proptest::prelude::*;

    use super::*;
    use crate::stdx::hex;

    #[test]
    fn as_rfc_4231_has_it() {
        let tag =
            |secret: &[u8], message: &[u8]| hex::encode_32(&HmacKey::new(secret).sign(message));
        assert_eq!(
            &tag(b"Jefe", b"what do ya want for nothing?"),
            b"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            &tag(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First"),
            b"60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    proptest! {
        /// For secrets and messages of any length, given in pieces.
        #[test]
        fn agrees_with_aws_lc(
            secret in prop::collection::vec(any::<u8>(), 0..200),
            message in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..6),
        ) {
            let key = HmacKey::new(&secret);
            let mut hmac = key.begin();
            message.iter().for_each(|piece| hmac.update(piece));
            let wanted = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), &message.concat());
            prop_assert_eq!(&hmac.finish()[..], wanted.as_ref());
            prop_assert_eq!(&key.sign(&message.concat())[..], wanted.as_ref());
        }
    }
}
