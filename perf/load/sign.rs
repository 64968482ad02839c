//! SigV4 for requests with UNSIGNED-PAYLOAD; the day's key and the stamp are cached.

use std::fmt::Write;
use std::time::SystemTime;

use aws_lc_rs::{digest, hmac};

use crate::args::Args;

/// Signs requests of one connection.
pub(crate) struct Signer {
    host: String,
    access_key_id: String,
    secret: String,
    region: String,
    second: u64,
    stamp: String,
    key: Option<(String, hmac::Key)>,
    canonical: String,
}

impl Signer {
    pub(crate) fn new(args: &Args) -> Self {
        Self {
            host: args.endpoint.to_string(),
            access_key_id: args.access_key_id.clone(),
            secret: args.secret_access_key.clone(),
            region: args.region.clone(),
            second: 0,
            stamp: String::new(),
            key: None,
            canonical: String::new(),
        }
    }

    /// Writes a request head to `out`. `query` is in canonical order.
    pub(crate) fn head(
        &mut self,
        out: &mut Vec<u8>,
        method: &str,
        path: &str,
        query: &str,
        length: usize,
    ) {
        self.refresh();
        self.canonical.clear();
        let (host, stamp) = (&self.host, &self.stamp);
        let names = "host;x-amz-content-sha256;x-amz-date";
        let _ = write!(
            self.canonical,
            "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:UNSIGNED-PAYLOAD\n\
             x-amz-date:{stamp}\n\n{names}\nUNSIGNED-PAYLOAD"
        );
        let day = stamp.get(..8).unwrap_or_default();
        let hash = hex(digest::digest(&digest::SHA256, self.canonical.as_bytes()).as_ref());
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hash}");
        let Some((_, key)) = &self.key else { return };
        let signature = hex(hmac::sign(key, text.as_bytes()).as_ref());
        let mark = if query.is_empty() { "" } else { "?" };
        let head = format!(
            "{method} {path}{mark}{query} HTTP/1.1\r\nhost: {host}\r\n\
             x-amz-content-sha256: UNSIGNED-PAYLOAD\r\nx-amz-date: {stamp}\r\n\
             authorization: AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, \
             Signature={signature}\r\ncontent-length: {length}\r\n\r\n",
            self.access_key_id
        );
        out.extend_from_slice(head.as_bytes());
    }

    fn refresh(&mut self) {
        let now = SystemTime::now();
        let second = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if second != self.second {
            self.second = second;
            self.stamp = jiff::Timestamp::try_from(now)
                .map(|time| time.strftime("%Y%m%dT%H%M%SZ").to_string())
                .unwrap_or_default();
        }
        let day = self.stamp.get(..8).unwrap_or_default();
        if self.key.as_ref().is_none_or(|(of, _)| of != day) {
            let mut key = format!("AWS4{}", self.secret).into_bytes();
            for step in [day, &self.region, "s3", "aws4_request"] {
                let mac = hmac::Key::new(hmac::HMAC_SHA256, &key);
                key = hmac::sign(&mac, step.as_bytes()).as_ref().to_vec();
            }
            self.key = Some((day.to_owned(), hmac::Key::new(hmac::HMAC_SHA256, &key)));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
