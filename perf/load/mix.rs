//! What is sent: the kinds of request and the weights of a mix.

use std::str::FromStr;

/// A kind of request, each measured on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Put,
    Get,
    Head,
    Delete,
    DeleteMany,
    List,
    Create,
    Part,
    Complete,
}

impl Verb {
    pub(crate) const ALL: [Self; 9] = [
        Self::Put,
        Self::Get,
        Self::Head,
        Self::Delete,
        Self::DeleteMany,
        Self::List,
        Self::Create,
        Self::Part,
        Self::Complete,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::Delete => "delete",
            Self::DeleteMany => "delete-many",
            Self::List => "list",
            Self::Create => "create-upload",
            Self::Part => "put-part",
            Self::Complete => "complete-upload",
        }
    }

    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Put | Self::Part => "PUT",
            Self::Get | Self::List => "GET",
            Self::Head => "HEAD",
            Self::Delete => "DELETE",
            Self::DeleteMany | Self::Create | Self::Complete => "POST",
        }
    }

    /// The status of success.
    pub(crate) fn expected(self) -> u16 {
        if self == Self::Delete { 204 } else { 200 }
    }
}

/// Verbs with weights.
#[derive(Clone, Debug)]
pub(crate) struct Mix {
    weights: Vec<(Verb, u64)>,
    total: u64,
}

impl Mix {
    /// The verb that a random number picks.
    pub(crate) fn pick(&self, random: u64) -> Verb {
        let mut left = random % self.total;
        for &(verb, weight) in &self.weights {
            if left < weight {
                return verb;
            }
            left -= weight;
        }
        Verb::Get
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut weights = Vec::new();
        for item in text.split(',') {
            let (name, weight) = item.split_once([':', '=']).ok_or("wanted: VERB:WEIGHT,…")?;
            let known = [Verb::Get, Verb::Head, Verb::Put, Verb::Delete, Verb::List];
            let verb = known.into_iter().find(|verb| verb.name() == name);
            let verb = verb.ok_or_else(|| format!("no verb of a mix: {name}"))?;
            weights.push((verb, weight.parse().map_err(|_| format!("no weight: {weight}"))?));
        }
        let total = weights.iter().map(|(_, weight)| weight).sum();
        if total == 0 {
            return Err("all weights are 0".into());
        }
        Ok(Self { weights, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_picks_by_weight() -> Result<(), String> {
        let mix: Mix = "get:3,put:0,list:1".parse()?;
        let picked: Vec<Verb> = (0..8).map(|random| mix.pick(random)).collect();
        let once = [Verb::Get, Verb::Get, Verb::Get, Verb::List];
        assert_eq!(picked, [once, once].concat());
        assert!("get:0".parse::<Mix>().is_err());
        assert!("complete-upload:1".parse::<Mix>().is_err());
        Ok(())
    }
}
