//! One of several words that a row holds, as a role. One of a later version is kept, for when this one writes the row again.

use serde::de::{DeserializeOwned, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice<T> {
    value: T,
    /// The word, where this version knows no more of it than that.
    word: Option<Box<str>>,
}

impl<T: Copy> Choice<T> {
    /// What this version makes of it.
    pub fn value(&self) -> T {
        self.value
    }
}

impl<T> From<T> for Choice<T> {
    fn from(value: T) -> Self {
        Self { value, word: None }
    }
}

impl<T: Serialize> Serialize for Choice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.word {
            Some(word) => word.serialize(serializer),
            None => self.value.serialize(serializer),
        }
    }
}

impl<'de, T: Serialize + DeserializeOwned> Deserialize<'de> for Choice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = Box::<str>::deserialize(deserializer)?;
        let value = T::deserialize(IntoDeserializer::<D::Error>::into_deserializer(&*word))?;
        let is_known = serde_json::to_value(&value).is_ok_and(|known| known == *word);
        Ok(Self { value, word: Some(word).filter(|_| !is_known) })
    }
}

#[cfg(test)]
mod tests {
    use posthouse_protocol::{AccountRole, AccountStatus};

    use super::*;

    #[test]
    fn a_word_of_a_later_version_is_kept_until_another_one_takes_its_place() {
        for word in ["owner", "auditor", "unknown"] {
            let json = format!("{word:?}");
            let choice: Choice<AccountRole> = serde_json::from_str(&json).expect("reads");
            assert_eq!(serde_json::to_string(&choice).expect("writes"), json);
        }
        let mut choice: Choice<AccountStatus> = serde_json::from_str("\"asleep\"").expect("reads");
        assert_eq!(choice.value(), AccountStatus::Unknown);
        choice = AccountStatus::Active.into();
        assert_eq!(serde_json::to_string(&choice).expect("writes"), "\"active\"");
        assert!(serde_json::from_str::<Choice<AccountRole>>("7").is_err(), "no word");
    }
}
