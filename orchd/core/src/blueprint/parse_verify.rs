//! Reads the `verify` section of a blueprint.

use super::checked::{Call, Verify};
use crate::recipe::Problem;
use crate::recipe::reader::{Fields, count, line, list_of, scalar, text, wrong_type};
use crate::recipe::step::{step, timeout};
use crate::recipe::text::printable;
use crate::recipe::yaml::{Fault, Node, Value};

const KEYS: &[&str] = &["start", "ready_path", "ready_timeout", "calls"];
const CALL_KEYS: &[&str] = &["method", "path", "headers", "body", "expect_status", "expect_contains"];
const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
const CALLS_MAX: usize = 50;
const HEADERS_MAX: usize = 20;
const BODY_BYTES_MAX: usize = 16 * 1024;
const READY_TIMEOUT_DEFAULT_MS: u64 = 10_000;

pub(super) fn verify(node: &Node) -> Result<Verify, Fault> {
    let fields = Fields::of(node, "`verify`", KEYS)?;
    let calls = fields.req("calls", |node, key| list_of(node, key, CALLS_MAX, call))?;
    if calls.is_empty() {
        return Err(fields.need("calls")?.fault(Problem::EmptyValue { key: "calls".into() }));
    }
    Ok(Verify {
        start: step(fields.need("start")?, "start")?,
        ready_path: fields.req("ready_path", http_path)?,
        ready_timeout_ms: fields.opt("ready_timeout", timeout)?.unwrap_or(READY_TIMEOUT_DEFAULT_MS),
        calls,
    })
}

fn call(node: &Node, _key: &str) -> Result<Call, Fault> {
    let fields = Fields::of(node, "a call", CALL_KEYS)?;
    let status = fields.req("expect_status", |node, key| count(node, key, 599))?;
    let expect_status = match u16::try_from(status) {
        Ok(status) if status >= 100 => status,
        _ => return Err(wrong_type(fields.need("expect_status")?, "expect_status", "a status of 100 to 599")),
    };
    Ok(Call {
        method: fields.req("method", method)?,
        path: fields.req("path", http_path)?,
        headers: fields.opt("headers", headers)?.unwrap_or_default(),
        body: fields.opt("body", |node, key| text(node, key, BODY_BYTES_MAX))?,
        expect_status,
        expect_contains: fields.opt("expect_contains", |node, key| text(node, key, BODY_BYTES_MAX))?,
    })
}

fn method(node: &Node, key: &str) -> Result<String, Fault> {
    let method = line(node, key)?;
    if METHODS.contains(&method.as_str()) {
        return Ok(method);
    }
    Err(node.fault(Problem::NotOneOf { key: key.to_owned(), found: printable(&method), known: METHODS }))
}

fn http_path(node: &Node, key: &str) -> Result<String, Fault> {
    let path = line(node, key)?;
    if !path.starts_with('/') || !path.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(wrong_type(node, key, "a path that starts with `/`"));
    }
    Ok(path)
}

/// Header names and values must not end a header line, or one call could say more than it shows.
fn headers(node: &Node, key: &str) -> Result<Vec<(String, String)>, Fault> {
    let Value::Map(entries) = &node.value else {
        return Err(wrong_type(node, key, "a mapping"));
    };
    if entries.len() > HEADERS_MAX {
        return Err(node.fault(Problem::TooMany { key: key.to_owned(), found: entries.len(), max: HEADERS_MAX }));
    }
    let mut headers = Vec::with_capacity(entries.len());
    for entry in entries {
        let name_fits = entry.key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let value = scalar(&entry.node, &entry.key)?;
        if !name_fits || !value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            let problem = Problem::ControlCharacter { key: printable(&entry.key) };
            return Err(Fault { place: entry.key_place, problem });
        }
        headers.push((entry.key.clone(), value));
    }
    Ok(headers)
}
