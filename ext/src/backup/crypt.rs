//! Files of a repository, plain or encrypted; the rest of the room sees bytes only.
//!
//! Each file of an encrypted repository is an `age` file (age-encryption.org/v1) to one recipient, the repository's own:
//! decrypted by the `age` tool, the folder is a plain repository. With a passphrase the identity belonging to it lies in
//! `identity.age`, encrypted by the passphrase, as the tool's `-i` takes it.
#[cfg(feature = "encryption")]
mod age;

use crate::error::{Error, Kind, Result};
use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Seek, Write},
    path::Path,
};

/// A key as the user gave it: a passphrase, an age identity or an age recipient. It has no Debug, on purpose.
pub struct Secret(#[cfg_attr(not(feature = "encryption"), allow(dead_code))] String);

impl Secret {
    pub fn new(text: &str) -> Secret {
        Secret(text.to_owned())
    }
}

/// What a repository's files are encrypted with.
#[derive(Clone)]
pub enum Key {
    None,
    #[cfg(feature = "encryption")]
    Age(age::Age),
}

/// A file open for reading.
pub trait Source: Read + Seek {}
impl<T: Read + Seek> Source for T {}

impl Key {
    /// A new repository's key, and what its `repository.json` says about it.
    pub fn create(_dir: &Path, secret: Option<&Secret>) -> Result<(Key, serde_json::Value)> {
        match secret {
            None => Ok((Key::None, serde_json::Value::Null)),
            #[cfg(feature = "encryption")]
            Some(secret) => age::create(_dir, &secret.0),
            #[cfg(not(feature = "encryption"))]
            Some(_) => Err(no_encryption()),
        }
    }

    /// The key of a repository that says `about` itself.
    pub fn of(dir: &Path, about: &serde_json::Value, secret: Option<&Secret>) -> Result<Key> {
        if about.is_null() {
            return Ok(Key::None);
        }
        let Some(_secret) = secret else {
            return Err(Error::new(Kind::Denied, format!("the backups in \"{}\" are encrypted", dir.display()))
                .hint("Give the key by the environment's BACKUP_ENCRYPTION_KEY or the option \"key_file\""));
        };
        #[cfg(feature = "encryption")]
        return age::open(dir, about, &_secret.0);
        #[cfg(not(feature = "encryption"))]
        Err(no_encryption())
    }

    pub fn open(&self, path: &Path) -> Result<Box<dyn Source>> {
        let file = File::open(path)?;
        match self {
            Key::None => Ok(Box::new(file)),
            #[cfg(feature = "encryption")]
            Key::Age(key) => key.reader(file),
        }
    }

    /// A whole file of at most `most` bytes.
    pub fn read(&self, path: &Path, most: u64) -> Result<Vec<u8>> {
        let mut data = vec![];
        self.open(path)?.take(most + 1).read_to_end(&mut data).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => super::bytes::damaged("it does not decrypt"),
            _ => Error::from(e),
        })?;
        if data.len() as u64 > most {
            return Err(super::bytes::damaged("it is larger than it can be"));
        }
        Ok(data)
    }

    /// Writes a whole file: under a temporary name, durable, then renamed.
    pub fn write(&self, part: &Path, to: &Path, data: &[u8]) -> Result<u64> {
        self.write_by(part, to, |out| Ok(out.write_all(data)?))
    }

    /// As `write`, for what should not be in memory at once.
    pub fn write_by(&self, part: &Path, to: &Path, fill: impl FnOnce(&mut Sink) -> Result<()>) -> Result<u64> {
        let mut out = Sink::create(part, self)?;
        fill(&mut out)?;
        let n = out.finish()?;
        fs::rename(part, to)?;
        crate::db::copy::sync_directory(to)?;
        Ok(n)
    }

    pub fn is_encrypted(&self) -> bool {
        !matches!(self, Key::None)
    }

    /// Whether what was written can be read back: not with a recipient alone.
    pub fn reads(&self) -> bool {
        match self {
            Key::None => true,
            #[cfg(feature = "encryption")]
            Key::Age(key) => key.reads(),
        }
    }
}

#[cfg(not(feature = "encryption"))]
fn no_encryption() -> Error {
    Error::unsupported("this dbint was built without encryption").hint("Build it with `--features encryption`, or take the key away")
}

/// A new file being written.
pub enum Sink {
    Plain(BufWriter<File>),
    #[cfg(feature = "encryption")]
    Age(Box<age::Writer>),
}

impl Sink {
    pub fn create(path: &Path, key: &Key) -> Result<Sink> {
        let file = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
        Ok(match key {
            Key::None => Sink::Plain(file),
            #[cfg(feature = "encryption")]
            Key::Age(key) => Sink::Age(Box::new(key.writer(file)?)),
        })
    }

    /// Makes all bytes durable; returns how many there are.
    pub fn finish(self) -> Result<u64> {
        #[cfg_attr(not(feature = "encryption"), allow(clippy::infallible_destructuring_match, reason = "the other variant needs the feature"))]
        let out = match self {
            Sink::Plain(out) => out,
            #[cfg(feature = "encryption")]
            Sink::Age(out) => out.finish()?,
        };
        let file = out.into_inner().map_err(|e| Error::from(e.into_error()))?;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    }
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Plain(out) => out.write(data),
            #[cfg(feature = "encryption")]
            Sink::Age(out) => out.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::Plain(out) => out.flush(),
            #[cfg(feature = "encryption")]
            Sink::Age(out) => out.flush(),
        }
    }
}
