//! The list of examples, as the file holds it.

use bytes::Bytes;
use serde_json::Value;
use squad_types::{Decode, Encode};
use std::collections::BTreeMap;
use std::fmt::Debug;

type Check = Box<dyn Fn() -> Result<(), String>>;

/// Examples by name: hex for bytes, one line of JSON for what travels as JSON.
#[derive(Default)]
pub(crate) struct Book {
    entries: BTreeMap<String, (String, Option<Check>)>,
}

impl Book {
    fn add(&mut self, name: &str, value: String, check: Option<Check>) {
        assert!(!value.contains('\n'), "{name} takes one line");
        let earlier = self.entries.insert(name.to_owned(), (value, check));
        assert!(earlier.is_none(), "{name} is listed twice");
    }

    /// A value in its canonical form, which decodes to itself and to nothing with a byte more or less.
    pub(crate) fn wire<T: Encode + Decode + PartialEq + Debug + Clone + 'static>(&mut self, name: &str, value: &T) {
        let (bytes, value) = (value.to_bytes(), value.clone());
        let hex = hex::encode(&bytes);
        let check = move || {
            let decoded = T::from_bytes(bytes.clone()).map_err(|error| error.to_string())?;
            let longer: Bytes = [&bytes[..], &[0]].concat().into();
            let shorter = bytes.slice(..bytes.len().saturating_sub(1));
            match () {
                () if decoded != value => Err(format!("decodes to {decoded:?}")),
                () if decoded.to_bytes() != bytes => Err("what it decodes to encodes to other bytes".into()),
                () if T::from_bytes(longer).is_ok() => Err("decodes with a byte more".into()),
                () if T::from_bytes(shorter).is_ok() => Err("decodes with a byte less".into()),
                () => Ok(()),
            }
        };
        self.add(name, hex, Some(Box::new(check)));
    }

    /// Bytes with a codec of their own: `again` decodes them and encodes the result.
    pub(crate) fn bytes(
        &mut self,
        name: &str,
        bytes: Vec<u8>,
        again: impl Fn(&[u8]) -> Result<Vec<u8>, String> + 'static,
    ) {
        let hex = hex::encode(&bytes);
        let check = move || match again(&bytes)? {
            same if same == bytes => Ok(()),
            other => Err(format!("what it decodes to encodes to {}", hex::encode(other))),
        };
        self.add(name, hex, Some(Box::new(check)));
    }

    /// A value's JSON form.
    pub(crate) fn json<T>(&mut self, name: &str, value: &T)
    where
        T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Clone + 'static,
    {
        let (text, value) = (serde_json::to_string(value).unwrap(), value.clone());
        let form = text.clone();
        let check = move || match serde_json::from_str::<T>(&form) {
            Ok(decoded) if decoded == value => Ok(()),
            Ok(_) => Err("decodes to something else".into()),
            Err(error) => Err(error.to_string()),
        };
        self.add(name, text, Some(Box::new(check)));
    }

    /// A JSON text of somebody else's making, on one line.
    pub(crate) fn json_text(
        &mut self,
        name: &str,
        text: &str,
        again: impl Fn(&str) -> Result<String, String> + 'static,
    ) {
        let value: Value = serde_json::from_str(text).unwrap();
        let line = value.to_string();
        let form = line.clone();
        let check = move || {
            let again: Value = serde_json::from_str(&again(&form)?).map_err(|error| error.to_string())?;
            if again == value { Ok(()) } else { Err(format!("becomes {again}")) }
        };
        self.add(name, line, Some(Box::new(check)));
    }

    /// A hash, digest, root or id: nothing decodes from it.
    pub(crate) fn hash(&mut self, name: &str, hash: &[u8]) {
        self.add(name, hex::encode(hash), None);
    }

    /// Name and value of every example.
    pub(crate) fn lines(&self) -> BTreeMap<String, &str> {
        self.entries.iter().map(|(name, (value, _))| (name.clone(), value.as_str())).collect()
    }

    /// The file.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::from(
            "# One fixed example of everything that travels, is stored or is signed. Written by SQUAD_BLESS=1 cargo test -p squad-tests vectors.\n",
        );
        for (name, (value, _)) in &self.entries {
            text.push_str(&format!("{name} = {value}\n"));
        }
        text
    }

    /// Decodes and encodes everything again.
    pub(crate) fn check_round_trips(&self) {
        let failed = self.entries.iter().filter_map(|(name, (_, check))| {
            let error = check.as_ref()?().err()?;
            Some(format!("{name}: {error}"))
        });
        let failed: Vec<_> = failed.collect();
        assert!(failed.is_empty(), "examples that do not come back:\n  {}", failed.join("\n  "));
    }
}
