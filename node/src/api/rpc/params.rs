//! Reads the arguments of a call, and says which one is wrong.

use crate::api::rejection::{RejectCode, Rejected, shown};
use jsonrpsee::types::Params;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The arguments of one call: a list, or an object that stands for a list of one.
#[derive(Debug)]
pub struct Args {
    values: std::vec::IntoIter<Value>,
    at: usize,
}

fn malformed(reason: String) -> Rejected {
    Rejected::new(RejectCode::MalformedParameter, reason)
}

impl Args {
    /// Takes a call's parameters apart.
    ///
    /// # Errors
    /// Parameters that are neither list nor object.
    pub fn parse(params: &Params<'_>) -> Result<Self, Rejected> {
        let text = params.as_str().unwrap_or("[]");
        let values = match serde_json::from_str(text) {
            Ok(Value::Array(values)) => values,
            Ok(Value::Null) => Vec::new(),
            Ok(object @ Value::Object(_)) => vec![object],
            _ => return Err(malformed(format!("params {} are neither a list nor an object", shown(text)))),
        };
        Ok(Self { values: values.into_iter(), at: 0 })
    }

    /// The next argument; null counts as left out.
    ///
    /// # Errors
    /// An argument of the wrong form.
    pub fn optional<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Rejected> {
        let value = self.values.next().filter(|value| !value.is_null());
        self.at += 1;
        let Some(value) = value else { return Ok(None) };
        let text = shown(&value.to_string());
        let at = self.at;
        serde_json::from_value(value)
            .map(Some)
            .map_err(|error| malformed(format!("parameter {at} ({name}) is {text}: {error}")))
    }

    /// The next argument, which must be there.
    ///
    /// # Errors
    /// An argument of the wrong form, or none.
    pub fn required<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Rejected> {
        self.optional(name)?.ok_or_else(|| malformed(format!("parameter {} ({name}) is missing", self.at)))
    }

    /// Checks that nothing is left over.
    ///
    /// # Errors
    /// An argument too many.
    pub fn end(mut self) -> Result<(), Rejected> {
        match self.values.next() {
            None => Ok(()),
            Some(extra) => {
                Err(malformed(format!("parameter {} is one too many: {}", self.at + 1, shown(&extra.to_string()))))
            }
        }
    }
}
