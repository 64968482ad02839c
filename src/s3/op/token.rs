//! Continuation tokens: where a listing goes on, in a form that clients leave alone.

use base64_simd::URL_SAFE_NO_PAD as BASE64;

use crate::s3::call::argument;
use crate::s3::error::S3Error;
use crate::s3::name;
use crate::s3::query::Query;

const VERSION: u8 = 1;
const PARAMETER: &str = "continuation-token";

/// The token of the page after the entry of this name.
#[must_use]
pub(crate) fn encode(after: &str) -> String {
    let mut raw = vec![VERSION];
    raw.extend_from_slice(&name::hash(after).to_be_bytes());
    raw.extend_from_slice(after.as_bytes());
    BASE64.encode_to_string(&raw)
}

/// The name after which the request goes on.
///
/// # Errors
/// `InvalidArgument` if the token is none of ours.
pub(crate) fn of_query(query: &Query<'_>) -> Result<Option<String>, S3Error> {
    let Some(token) = query.get(PARAMETER) else { return Ok(None) };
    match decode(token) {
        Some(after) => Ok(Some(after)),
        None => Err(argument(PARAMETER, token, "The continuation token provided is incorrect")),
    }
}

fn decode(token: &str) -> Option<String> {
    let raw = BASE64.decode_to_vec(token).ok()?;
    let (&version, rest) = raw.split_first()?;
    let (hash, after) = rest.split_first_chunk::<8>()?;
    let after = std::str::from_utf8(after).ok()?;
    let whole = version == VERSION && name::hash(after) == u64::from_be_bytes(*hash);
    whole.then(|| after.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_others_are_refused() {
        for after in ["a", "a/b/", "🦀", ""] {
            assert_eq!(decode(&encode(after)).as_deref(), Some(after));
        }
        let mut damaged = encode("abc");
        damaged.replace_range(14..15, if &damaged[14..15] == "A" { "B" } else { "A" });
        for bad in ["", "abc", "!", &damaged] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
