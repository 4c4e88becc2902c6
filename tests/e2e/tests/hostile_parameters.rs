//! Parameters that the schema of a method does not allow are refused with `invalid_params`, and nothing else happens.
//! The parameters are made from the schema, so that a new method is tested with its row in `authority.rs`. The transports take turns.

use std::time::Duration;

use posthouse_client::Transport;
use posthouse_e2e::wire::{TRANSPORTS, Wire};
use posthouse_e2e::{Contract, Site};
use posthouse_protocol::limits;
use serde_json::{Map, Value, json};

use crate::authority::{Caller, METHODS, World};

/// Bad variants of a good value, each with what is wrong with it.
type Bad = Vec<(String, Value)>;

fn bad_values(contract: &Contract, schema: &Value, good: &Value) -> Bad {
    // What may be left out may also be null.
    let is_optional = schema["anyOf"].as_array().into_iter().flatten().any(|one| one["type"] == "null");
    let schema = variant(contract, contract.resolve(schema), good);
    let allowed = |name: &str| match &schema["type"] {
        _ if name == "null" && is_optional => true,
        Value::String(one) => one == name,
        Value::Array(several) => several.iter().any(|one| one == name),
        _ => true,
    };
    let mut bad = Vec::new();
    let number = allowed("integer") || allowed("number");
    for (name, value) in [
        ("null", json!(null)),
        ("boolean", json!(true)),
        ("string", json!("hostile")),
        ("array", json!([])),
        ("array", json!(vec![0; 10_000])),
        ("array", json!([[[[[[[[[["deep"]]]]]]]]]])),
        ("object", json!({"hostile": {"hostile": 1}})),
        ("number", json!(1.5)),
    ] {
        if !allowed(name) {
            bad.push((format!("{name} in place of {}", schema["type"]), value));
        }
    }
    if number {
        bad.push(("a fraction".to_owned(), json!(1.5)));
        bad.push(("below 0".to_owned(), json!(-1)));
        bad.push(("past 64 bits".to_owned(), json!(2e19)));
    } else {
        bad.push(("a number".to_owned(), json!(7)));
    }
    bad.extend(out_of_bounds(schema));
    if schema.get("const").is_some() || schema.get("enum").is_some() {
        bad.push(("none of the values".to_owned(), json!("hostile")));
        let value =
            good.as_str().or(schema["const"].as_str()).or(schema["enum"][0].as_str()).expect("they are strings");
        bad.push(("a value as an object".to_owned(), json!({ value: null })));
    }
    if schema.get("items").is_some() {
        let good = good.get(0).cloned().unwrap_or_default();
        let items = bad_values(contract, &schema["items"], &good).into_iter();
        bad.extend(items.map(|(what, value)| (format!("an item: {what}"), json!([value]))));
    }
    if let Some(properties) = schema["properties"].as_object() {
        // Where all of an object's fields may be left out, it is as good without them.
        let nothing = Map::new();
        let is_good = schema["required"].as_array().is_none_or(Vec::is_empty);
        if let Some(good) = good.as_object().or(is_good.then_some(&nothing)) {
            bad.extend(bad_fields(contract, schema, properties, good));
            bad.push(("its fields' values as an array".to_owned(), in_order(schema, properties, good)));
        }
    }
    bad
}

/// The fields' values as an array, those that must be there first: so the types declare them.
fn in_order(schema: &Value, properties: &Map<String, Value>, good: &Map<String, Value>) -> Value {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let others = properties.keys().map(String::as_str).filter(|name| !required.contains(name));
    let names = required.iter().copied().chain(others);
    names.map(|name| good.get(name).cloned().unwrap_or_default()).collect()
}

fn out_of_bounds(schema: &Value) -> Bad {
    let mut bad = Vec::new();
    let text = |len: u64| json!("x".repeat(usize::try_from(len).expect("small")));
    if let Some(most) = schema["maxLength"].as_u64() {
        bad.push(("too long".to_owned(), text(most + 1)));
    }
    if let Some(least) = schema["minLength"].as_u64().filter(|least| *least > 0) {
        bad.push(("too short".to_owned(), text(least - 1)));
    }
    if let Some(most) = schema["maxItems"].as_u64() {
        bad.push(("too many".to_owned(), json!(vec![1; usize::try_from(most + 1).expect("small")])));
    }
    if let Some(most) = schema["maximum"].as_u64() {
        bad.push(("too large".to_owned(), json!(most + 1)));
    }
    if let Some(least) = schema["minimum"].as_u64().filter(|least| *least > 0) {
        bad.push(("too small".to_owned(), json!(least - 1)));
    }
    bad
}

fn bad_fields(contract: &Contract, schema: &Value, properties: &Map<String, Value>, good: &Map<String, Value>) -> Bad {
    let mut bad = Vec::new();
    let mut with = |what: String, name: &str, value: Option<Value>| {
        let mut fields = good.clone();
        match value {
            Some(value) => fields.insert(name.to_owned(), value),
            None => fields.remove(name),
        };
        bad.push((what, Value::Object(fields)));
    };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        with(format!("without {name}"), name, None);
    }
    with("with an unknown field".to_owned(), "hostile", Some(json!(1)));
    for (name, schema) in properties.iter().filter(|(_, schema)| schema.get("const").is_none()) {
        let good = good.get(name).cloned().unwrap_or_default();
        for (what, value) in bad_values(contract, schema, &good) {
            with(format!("{name}: {what}"), name, Some(value));
        }
    }
    bad
}

/// Of several kinds of an object, the one that `good` is.
fn variant<'a>(contract: &'a Contract, schema: &'a Value, good: &Value) -> &'a Value {
    let variants = schema["oneOf"].as_array().into_iter().flatten().map(|one| contract.resolve(one));
    let mut of_kind = variants.filter(|one| one["properties"]["type"]["const"] == good["type"]);
    of_kind.next().unwrap_or(schema)
}

/// Calls, and waits where the server asks for it.
async fn code(wire: &mut Wire, method: &str, params: &Value) -> Option<String> {
    loop {
        let answer = wire.call(1, method, params.clone()).await;
        let error = &answer["error"];
        if error["code"] == "rate_limited" {
            tokio::time::sleep(Duration::from_millis(error["retry_after_ms"].as_u64().expect("a time"))).await;
            continue;
        }
        return error["code"].as_str().map(str::to_owned);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_no_schema_allows_are_refused_and_change_nothing() {
    let (world, contract) = (World::new().await, Contract::read());
    let cell = world.cell().await;
    let before = world.state(&cell).await;
    let mut witness = world.open(Transport::WebSocket, Caller::GroupOwner).await.expect("the token is valid");
    let cursor = seen(&mut witness).await;
    let mut tried = 0;
    for (number, row) in METHODS.iter().enumerate() {
        let good = (row.params)(&cell);
        let mut bad = bad_values(&contract, contract.params(row.method), &good);
        // Left out: as good as none.
        bad.retain(|(_, params)| !params.is_null());
        assert!(bad.len() > 5, "the schema of {} says nothing", row.method);
        // `connect` comes once: its parameters are looked at on a connection that has none yet.
        let caller = if row.method == "connect" { Caller::Nobody } else { row.entitled() };
        let mut wires = Vec::new();
        for transport in TRANSPORTS {
            wires.push((transport, world.open(transport, caller).await.expect("the token is valid")));
        }
        // What is wrong with one method by the one transport is wrong with the next by the other.
        let mut turn = number;
        for (what, params) in bad {
            tried += 1;
            turn += 1;
            let (transport, wire) = &mut wires[turn % TRANSPORTS.len()];
            let code = code(wire, row.method, &params).await;
            assert_eq!(code.as_deref(), Some("invalid_params"), "{} {what}, {transport:?}: {params:.200}", row.method);
        }
    }
    println!("{tried} requests with bad parameters were refused");
    assert_eq!(world.state(&cell).await, before);
    assert_eq!(seen(&mut witness).await, cursor, "something came of it");
    world.server.assert_undisturbed();
}

/// Where the account's events end.
async fn seen(wire: &mut Wire) -> Value {
    let mut from = json!("0");
    loop {
        let page = wire.call(1, "sync", json!({"cursor": from, "limit": 500})).await["result"].take();
        from = page["next_cursor"].clone();
        if page["has_more"] == json!(false) {
            return from;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_used_again_is_answered_each_time() {
    let world = World::new().await;
    for transport in TRANSPORTS {
        let mut wire = world.open(transport, Caller::Member).await.expect("the token is valid");
        let [request, unknown] = ["ping", "fly"].map(|method| json!({"id": 7, "method": method}).to_string());
        let answers = wire.ask_at_once(&[request.clone(), unknown, request]).await;
        let mut codes = Vec::new();
        for answer in &answers {
            assert_eq!(answer["id"], 7, "{transport:?}: {answer}");
            codes.push(answer["error"]["code"].as_str().unwrap_or("ok"));
        }
        codes.sort_unstable();
        assert_eq!(codes, ["ok", "ok", "unknown_method"], "{transport:?}");
        assert_eq!(wire.call(8, "ping", json!({})).await["result"], json!({}));
    }
    world.server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_some_reader_would_round_is_none() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    for transport in TRANSPORTS {
        let mut wire = Wire::open(transport, server.address()).await;
        let largest = wire.ask(&format!(r#"{{"id":{},"method":"ping"}}"#, limits::NUMBER_MAX)).await;
        assert_eq!(largest, json!({"id": limits::NUMBER_MAX, "result": {}}), "{transport:?}");
        for id in ["9007199254740992", "18446744073709551615", "1e30", "-1", "1.5", "null", "\"1\"", "[1]"] {
            for method in ["ping", "fly"] {
                let answer = wire.ask(&format!(r#"{{"id":{id},"method":"{method}"}}"#)).await;
                let code = &answer["error"]["code"];
                assert!(answer["id"].is_null() && code == "bad_request", "{transport:?} {id}: {answer}");
            }
        }
    }
    server.assert_undisturbed();
}
