//! The query of a request, decoded.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::error::{Code, S3Error};
use super::name;

/// Most parameters of a query.
const PARAMETERS_MAX: usize = 64;

/// The parameters of a query, in order. A parameter without `=` has an empty value.
#[derive(Debug, Default)]
pub(crate) struct Query<'a>(SmallVec<[(Cow<'a, str>, Cow<'a, str>); 2]>);

impl<'a> Query<'a> {
    /// Decodes `raw`, which comes without its question mark.
    ///
    /// # Errors
    /// `InvalidURI` if it does not decode to UTF-8, or has too many parameters.
    pub(crate) fn parse(raw: &'a str) -> Result<Self, S3Error> {
        let mut pairs = SmallVec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == PARAMETERS_MAX {
                return Err(S3Error::new(Code::InvalidURI, "The URI has too many parameters."));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((name::decode_query(name)?, name::decode_query(value)?));
        }
        Ok(Self(pairs))
    }

    /// Whether there is no parameter at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of the first parameter of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// The value of the first parameter of this name that has one.
    pub(crate) fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All parameters, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// A whole number not below `least`; `default` if the parameter is missing or empty, and never
    /// more than `most`.
    ///
    /// # Errors
    /// `InvalidArgument` if it is something else.
    pub(crate) fn count(
        &self,
        name: &str,
        least: usize,
        default: usize,
        most: usize,
    ) -> Result<usize, S3Error> {
        let Some(text) = self.non_empty(name) else { return Ok(default) };
        match text.parse::<i32>().ok().and_then(|number| usize::try_from(number).ok()) {
            Some(number) if number >= least => Ok(number.min(most)),
            _ => Err(S3Error::new(
                Code::InvalidArgument,
                format!("Argument {name} must be an integer between {least} and {}.", i32::MAX),
            )
            .with("ArgumentName", name)
            .with("ArgumentValue", text)),
        }
    }

    /// Whether keys in the answer are to be percent-encoded (`encoding-type=url`).
    ///
    /// # Errors
    /// `InvalidArgument` for another encoding.
    pub(crate) fn url_encoded(&self) -> Result<bool, S3Error> {
        match self.non_empty("encoding-type") {
            None => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("url") => Ok(true),
            Some(value) => Err(S3Error::new(
                Code::InvalidArgument,
                "Invalid Encoding Method specified in Request",
            )
            .with("ArgumentName", "encoding-type")
            .with("ArgumentValue", value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_in_order() {
        let query = Query::parse("uploads&prefix=a%2Fb+c&=x&&max-keys=5").expect("valid");
        assert_eq!(query.get("uploads"), Some(""));
        assert_eq!(query.get("prefix"), Some("a/b c"));
        assert_eq!(query.get("missing"), None);
        assert_eq!(query.iter().count(), 4);
        assert!(Query::parse("a=%ff").is_err());
        assert!(Query::parse(&"a&".repeat(65)).is_err());
    }

    #[test]
    fn counts_have_bounds() {
        let count = |raw: &str| Query::parse(raw).expect("valid").count("n", 0, 1000, 1000).ok();
        assert_eq!(count(""), Some(1000));
        assert_eq!(count("n=0"), Some(0));
        assert_eq!(count("n=5000"), Some(1000));
        for bad in ["n=-1", "n=x", "n=99999999999", "n=1.5"] {
            assert_eq!(count(bad), None, "{bad}");
        }
    }
}
