//! Reads the JSON that comes from outside: each type in the one form that its schema gives.
//!
//! What serde derives reads more. The fields of a struct may come as an array, in their order, and a value of an enum as
//! an object, `{"member": null}`. A request in such a form is refused here, at any depth; a repeated key is by serde
//! itself. Only for requests: what is stored, and what a server answers, is read by `serde_json` alone.
//!
//! Types for it hold to three things. An enum is a string, or an object with a tag; what stands within one with a tag is
//! read as serde reads it, for it is buffered. Nothing else takes any type (`serde_json::Value`, `untagged`, `flatten`).

use std::fmt;

use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Reads a request from a text.
///
/// # Errors
/// What about the text is no `T`.
pub fn from_str<'de, T: Deserialize<'de>>(text: &'de str) -> serde_json::Result<T> {
    read(serde_json::Deserializer::from_str(text))
}

/// Reads a request from bytes that may be a text.
///
/// # Errors
/// What about the bytes is no `T`.
pub fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> serde_json::Result<T> {
    read(serde_json::Deserializer::from_slice(bytes))
}

fn read<'de, R, T>(mut json: serde_json::Deserializer<R>) -> serde_json::Result<T>
where
    R: serde_json::de::Read<'de>,
    T: Deserialize<'de>,
{
    let value = T::deserialize(Strict(&mut json))?;
    json.end()?;
    Ok(value)
}

/// A deserializer, a seed or an access to a list or an object, whose parts are read strictly.
struct Strict<T>(T);

/// As the deserializer beneath: what has no parts has one form.
macro_rules! forward {
    ($($method:ident)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method(visitor)
        }
    )+};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    forward! {
        deserialize_bool
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
        deserialize_unit deserialize_identifier deserialize_ignored_any
    }

    /// Of an enum with a tag: its parts are buffered before anybody knows their types.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Tagged(visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, fields, Object(visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_str(Variant(visitor))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_option(Within(visitor))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, Within(visitor))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_seq(Within(visitor))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple(len, Within(visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple_struct(name, len, Within(visitor))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Within(visitor))
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Strict(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(Strict(seed))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Strict(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

/// Of what has parts other than a struct's.
struct Within<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Within<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Strict(deserializer))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Strict(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Strict(seq))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Strict(map))
    }
}

/// Of a struct: it is an object and nothing else.
struct Object<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Object<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Strict(map))
    }
}

/// Of an enum with a tag: so is this.
struct Tagged<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Tagged<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a tag")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(map)
    }
}

/// Of an enum without a tag: it is a string.
struct Variant<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Variant<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<V::Value, E> {
        self.0.visit_enum(StrDeserializer::new(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::AccountAddParams;
    use crate::{
        AccountsRoleParams, ConnectParams, ConversationsCreateParams, LoginParams, MessagesEditParams, PresenceParams,
        RequestHead, Send, SendParams,
    };

    const BODY: &str = r#"{"type":"text","text":"hello"}"#;

    fn send(body: &str, mentions: &str) -> String {
        format!(r#"{{"conversation_id":1,"client_msg_id":"a","body":{body},"mentions":{mentions}}}"#)
    }

    /// Reads a request in the form of its schema, and in none of the others.
    fn refused<T: serde::de::DeserializeOwned>(good: &str, bad: &[&str]) {
        from_str::<T>(good).unwrap_or_else(|error| panic!("{good}: {error}"));
        from_slice::<T>(good.as_bytes()).unwrap_or_else(|error| panic!("{good}: {error}"));
        for bad in bad {
            assert!(from_str::<T>(bad).is_err(), "{bad}");
            assert!(from_slice::<T>(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_array_is_no_object_at_any_depth() {
        let good = send(BODY, r#"{"accounts":[1,2],"all":true}"#);
        let bad = [
            &send(r#"["text","hello"]"#, "null"),
            &send(r#"["text",{"text":"hello"}]"#, "null"),
            &send(BODY, "[[1,2],true]"),
            &format!(r#"[1,"a",{BODY}]"#),
        ];
        refused::<SendParams>(&good, &bad.map(String::as_str));
        refused::<MessagesEditParams>(
            &format!(r#"{{"conversation_id":1,"message_id":2,"body":{BODY}}}"#),
            &[r#"{"conversation_id":1,"message_id":2,"body":["text","hello"]}"#],
        );
        refused::<ConnectParams>(
            r#"{"token":"a","resume":{"epoch":1,"cursor":"2"}}"#,
            &[r#"{"token":"a","resume":[1,"2"]}"#],
        );
        refused::<LoginParams>(
            r#"{"username":"emil","password":"secret","device":"dev"}"#,
            &[r#"["emil","secret","dev"]"#],
        );
        let whole = format!(r#"[5,"send",{}]"#, send(BODY, "null"));
        for frame in [r#"[1,"ping"]"#, r#"[1,"ping",{}]"#, &whole] {
            assert!(RequestHead::parse(frame).is_err(), "{frame}");
        }
        let head = RequestHead::parse(r#"{"id":1,"method":"send","params":[1,"a",["text","hello"]]}"#).expect("one");
        assert!(head.params::<Send>().is_err());
    }

    #[test]
    fn an_object_is_no_value_of_an_enum() {
        refused::<PresenceParams>(r#"{"status":"online"}"#, &[r#"{"status":{"online":null}}"#, r#"{"status":2}"#]);
        refused::<AccountsRoleParams>(
            r#"{"account_id":1,"role":"member"}"#,
            &[r#"{"account_id":1,"role":{"member":null}}"#],
        );
        refused::<ConversationsCreateParams>(
            r#"{"title":"a","history":"all"}"#,
            &[r#"{"title":"a","history":{"all":null}}"#, r#"{"title":"a","history":"hostile"}"#],
        );
        refused::<AccountAddParams>(
            r#"{"username":"a","password":"b","role":"owner"}"#,
            &[r#"{"username":"a","password":"b","role":{"owner":null}}"#],
        );
        assert!(from_str::<SendParams>(&send(r#"{"type":{"text":null},"text":"hello"}"#, "null")).is_err());
    }

    #[test]
    fn a_repeated_key_and_what_follows_are_refused() {
        let good = send(BODY, r#"{"all":true}"#);
        let bad = [
            &send(BODY, r#"{"all":false,"all":true}"#),
            &send(BODY, r#"{"accounts":[1],"accounts":[]}"#),
            &send(r#"{"type":"text","text":"a","text":"b"}"#, "null"),
            &send(r#"{"type":"text","type":"text","text":"a"}"#, "null"),
            &send(BODY, r#"null,"mentions":null"#),
            &format!("{good}{{}}"),
        ];
        refused::<SendParams>(&good, &bad.map(String::as_str));
        refused::<ConnectParams>(
            r#"{"resume":{"epoch":1,"cursor":"2"}}"#,
            &[r#"{"resume":{"epoch":1,"epoch":2,"cursor":"2"}}"#],
        );
    }
}
