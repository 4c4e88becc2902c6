//! What a method is: a name with the types of its parameters and its result.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Ties a method's name to its parameters and its result, for clients and server alike.
pub trait Method {
    /// The `method` of the request.
    const NAME: &'static str;
    /// The `params` of the request.
    type Params: Serialize + DeserializeOwned + Send + 'static;
    /// The `result` of the answer, as clients read it.
    type Result: Serialize + DeserializeOwned;
}

/// Declares methods, each with its doc comment: `Name = "wire.name", Params => Result`.
macro_rules! methods {
    ($($(#[doc = $doc:literal])+ $name:ident = $wire:literal, $params:ty => $result:ty;)+) => {$(
        $(#[doc = $doc])+
        pub enum $name {}

        impl crate::Method for $name {
            const NAME: &'static str = $wire;
            type Params = $params;
            type Result = $result;
        }
    )+

        /// The family's methods, for the schema.
        #[cfg(test)]
        pub(crate) const METHODS: &[crate::schema::MethodSchema] =
            &[$(crate::schema::MethodSchema::of::<$name>(&[$($doc),+])),+];
    };
}
pub(crate) use methods;

/// No parameters, or a result without content: `{}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Empty {}
