//! Reading what was stored: nothing in a repository is trusted, so every length is checked before it is used.
use crate::error::{Error, Kind, Result};
use sha2::{Digest as _, Sha256};

/// SHA-256: the name of a page, a manifest's seal, a schema's digest.
pub type Digest = [u8; 32];

pub fn sha256(data: &[u8]) -> Digest {
    Sha256::digest(data).into()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub fn damaged(what: impl Into<String>) -> Error {
    Error::new(Kind::Corrupt, what)
}

/// Bytes with a position; every read says whether there were enough.
pub struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or_else(|| damaged("it ends too early"))?;
        self.0 = rest;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub fn end(&self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(damaged("it has more bytes than it should")) }
    }
}

/// A small JSON document with its own seal: the text, a newline, its SHA-256 in hex, a newline.
pub fn seal(json: &serde_json::Value) -> Vec<u8> {
    let text = json.to_string();
    format!("{text}\n{}\n", hex(&sha256(text.as_bytes()))).into_bytes()
}

/// Opens a sealed document; any changed byte is an error.
pub fn unseal(data: &[u8]) -> Result<serde_json::Value> {
    let text = std::str::from_utf8(data).map_err(|_| damaged("it is not text"))?;
    let (json, end) = text.split_once('\n').ok_or_else(|| damaged("it is cut off"))?;
    if end.strip_suffix('\n') != Some(hex(&sha256(json.as_bytes())).as_str()) {
        return Err(damaged("its seal does not match"));
    }
    serde_json::from_str(json).map_err(|_| damaged("it is no JSON"))
}
