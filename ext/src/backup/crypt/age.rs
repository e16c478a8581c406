//! The age format: one X25519 recipient for a whole repository, so that reading many files costs one passphrase.
use super::Source;
use crate::error::{Error, Kind, Result};
use ::age::{
    Decryptor, Encryptor, scrypt,
    secrecy::{ExposeSecret, SecretString},
    stream::StreamWriter,
    x25519::{Identity, Recipient},
};
use serde_json::{Value as Json, json};
use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    path::Path,
};

const IDENTITY: &str = "identity.age";
/// log2 of scrypt's cost: about 0.2 s.
const WORK: u8 = 16;
/// A file that asks for more would only keep us busy.
const MAX_WORK: u8 = 22;

pub type Writer = StreamWriter<BufWriter<File>>;

#[derive(Clone)]
pub struct Age {
    recipient: Recipient,
    /// None where only the recipient is known: backups can be written, not read.
    identity: Option<Identity>,
}

impl Age {
    pub fn writer(&self, out: BufWriter<File>) -> Result<Writer> {
        let sealed = Encryptor::with_recipients(std::iter::once(&self.recipient as &dyn ::age::Recipient)).map_err(|_| Error::internal("age encryption"))?;
        Ok(sealed.wrap_output(out)?)
    }

    pub fn reader(&self, file: File) -> Result<Box<dyn Source>> {
        let Some(identity) = &self.identity else {
            return Err(Error::new(Kind::Denied, "only the recipient of these backups is known: they can be written, not read")
                .hint("Give the age identity (AGE-SECRET-KEY-…)"));
        };
        let sealed = Decryptor::new(file).map_err(undecryptable)?;
        Ok(Box::new(sealed.decrypt(std::iter::once(identity as &dyn ::age::Identity)).map_err(undecryptable)?))
    }

    pub fn reads(&self) -> bool {
        self.identity.is_some()
    }
}

fn undecryptable(_: ::age::DecryptError) -> Error {
    super::super::bytes::damaged("it does not decrypt")
}

fn identity_of(text: &str) -> Option<Identity> {
    // An identity file of the age tool has comments before the key.
    text.lines().find(|l| l.starts_with("AGE-SECRET-KEY-1"))?.trim().parse().ok()
}

/// Makes the key of a new repository: from an identity or a recipient as it is, from a passphrase with a new identity
/// that lies beside, encrypted.
pub fn create(dir: &Path, secret: &str) -> Result<(super::Key, Json)> {
    let key = if let Some(identity) = identity_of(secret) {
        Age { recipient: identity.to_public(), identity: Some(identity) }
    } else if secret.starts_with("age1") {
        Age { recipient: secret.parse().map_err(|_| Error::argument("the key begins as an age recipient, but is none"))?, identity: None }
    } else {
        if secret.is_empty() {
            return Err(Error::argument("the key is empty"));
        }
        let identity = Identity::generate();
        let mut by = scrypt::Recipient::new(SecretString::from(secret.to_owned()));
        by.set_work_factor(WORK);
        let sealed = Encryptor::with_recipients(std::iter::once(&by as &dyn ::age::Recipient)).map_err(|_| Error::internal("age encryption"))?;
        let mut data = vec![];
        let mut out = sealed.wrap_output(&mut data)?;
        writeln!(out, "{}", identity.to_string().expose_secret())?;
        out.finish()?;
        super::Key::None.write(&dir.join("tmp").join(IDENTITY), &dir.join(IDENTITY), &data)?;
        Age { recipient: identity.to_public(), identity: Some(identity) }
    };
    let about = json!({"format": "age", "recipient": key.recipient.to_string()});
    Ok((super::Key::Age(key), about))
}

/// The key of a repository that is there.
pub fn open(dir: &Path, about: &Json, secret: &str) -> Result<super::Key> {
    let said = about.get("recipient").and_then(|r| r.as_str()).unwrap_or_default();
    let recipient: Recipient = said.parse().map_err(|_| Error::new(Kind::Newer, "these backups are encrypted in a way this dbint does not know"))?;
    let wrong = || Error::new(Kind::Denied, format!("the key does not open the backups in \"{}\"", dir.display()));
    if secret == said {
        return Ok(super::Key::Age(Age { recipient, identity: None }));
    }
    let identity = match identity_of(secret) {
        Some(identity) => identity,
        None => by_passphrase(&dir.join(IDENTITY), secret)?.ok_or_else(wrong)?,
    };
    if identity.to_public().to_string() != said {
        return Err(wrong());
    }
    Ok(super::Key::Age(Age { recipient, identity: Some(identity) }))
}

fn by_passphrase(path: &Path, passphrase: &str) -> Result<Option<Identity>> {
    let data = match fs::read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut by = scrypt::Identity::new(SecretString::from(passphrase.to_owned()));
    by.set_max_work_factor(MAX_WORK);
    let Ok(sealed) = Decryptor::new(data.as_slice()) else { return Err(super::super::bytes::damaged(format!("\"{}\" is no age file", path.display()))) };
    let Ok(reader) = sealed.decrypt(std::iter::once(&by as &dyn ::age::Identity)) else { return Ok(None) };
    let mut text = String::new();
    reader.take(4096).read_to_string(&mut text)?;
    Ok(identity_of(&text))
}
