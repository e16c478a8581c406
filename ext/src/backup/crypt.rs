//! Files of a repository, plain or encrypted; the rest of the room sees bytes only.
use crate::error::{Error, Result};
use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Seek, Write},
    path::Path,
};

/// What a repository's files are encrypted with.
#[derive(Clone, Default)]
pub enum Key {
    #[default]
    None,
}

/// A file open for reading.
pub trait Source: Read + Seek {}
impl<T: Read + Seek> Source for T {}

impl Key {
    pub fn open(&self, path: &Path) -> Result<Box<dyn Source>> {
        Ok(match self {
            Key::None => Box::new(File::open(path)?),
        })
    }

    /// A whole file of at most `most` bytes.
    pub fn read(&self, path: &Path, most: u64) -> Result<Vec<u8>> {
        let mut data = vec![];
        self.open(path)?.take(most + 1).read_to_end(&mut data)?;
        if data.len() as u64 > most {
            return Err(super::bytes::damaged("it is larger than it can be"));
        }
        Ok(data)
    }

    /// Writes a whole file: under a temporary name, durable, then renamed.
    pub fn write(&self, part: &Path, to: &Path, data: &[u8]) -> Result<u64> {
        let mut out = Sink::create(part, self)?;
        out.write_all(data)?;
        let n = out.finish()?;
        fs::rename(part, to)?;
        crate::db::copy::sync_directory(to)?;
        Ok(n)
    }

    pub fn is_encrypted(&self) -> bool {
        match self {
            Key::None => false,
        }
    }
}

/// A new file being written.
pub enum Sink {
    Plain(BufWriter<File>),
}

impl Sink {
    pub fn create(path: &Path, key: &Key) -> Result<Sink> {
        let file = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
        Ok(match key {
            Key::None => Sink::Plain(file),
        })
    }

    /// Makes all bytes durable; returns how many there are.
    pub fn finish(self) -> Result<u64> {
        let file = match self {
            Sink::Plain(out) => out.into_inner().map_err(|e| Error::from(e.into_error()))?,
        };
        file.sync_all()?;
        Ok(file.metadata()?.len())
    }
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Plain(out) => out.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::Plain(out) => out.flush(),
        }
    }
}
