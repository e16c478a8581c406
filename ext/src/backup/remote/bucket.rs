//! Buckets of S3, Azure Blob Storage and Google Cloud Storage, with the credentials of the usual places: environment,
//! instance and workload identity.
use super::Store;
use crate::error::Result;

#[cfg(not(feature = "cloud"))]
pub fn open(_: &str, bucket: &str, _: &str, _: &str) -> Result<Box<dyn Store>> {
    Err(crate::error::Error::unsupported(format!("this dbint was built without remote stores (\"{bucket}\")"))
        .hint("Build it with `--features cloud`, or copy to a folder"))
}

#[cfg(feature = "cloud")]
pub fn open(kind: &str, bucket: &str, prefix: &str, region: &str) -> Result<Box<dyn Store>> {
    Ok(Box::new(cloud::Bucket::open(kind, bucket, prefix, region)?))
}

#[cfg(feature = "cloud")]
mod cloud {
    use super::super::{Object, Store};
    use crate::backup::source::Tick;
    use crate::error::{At, Error, Kind, Result};
    use futures_util::StreamExt;
    use object_store::{
        BackoffConfig, ClientOptions, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig, aws::AmazonS3Builder,
        azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder, path::Path as Name,
    };
    use std::{
        fs::{self, File},
        future::Future,
        io::{Read, Seek, SeekFrom, Write},
        path::{Path, PathBuf},
        pin::pin,
        time::Duration,
    };

    /// Bytes of one request: what a cut connection loses at most.
    const PART: u64 = 8 << 20;
    /// A request that takes longer is tried again.
    const REQUEST: Duration = Duration::from_secs(60);
    const CONNECT: Duration = Duration::from_secs(10);
    /// Ctrl-C is looked for so often.
    const LOOK: Duration = Duration::from_millis(200);

    pub struct Bucket {
        store: Box<dyn ObjectStore>,
        prefix: String,
        shown: String,
        runtime: tokio::runtime::Runtime,
    }

    impl Bucket {
        pub fn open(kind: &str, bucket: &str, prefix: &str, region: &str) -> Result<Bucket> {
            // Whoever came first chose; it is our own copy of the library, so the host's TLS is not touched.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let client = ClientOptions::new().with_timeout(REQUEST).with_connect_timeout(CONNECT).with_allow_http(allows_http(kind));
            let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: 5, retry_timeout: Duration::from_secs(120) };
            let opened: object_store::Result<Box<dyn ObjectStore>> = match kind {
                "s3" => {
                    let own_region = ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().any(|k| std::env::var_os(k).is_some());
                    let s3 = AmazonS3Builder::from_env().with_client_options(client).with_retry(retry).with_bucket_name(bucket);
                    // The environment of AWS's own tools stands above our default, not above what somebody chose.
                    if own_region && region == "us-east-1" { s3.build() } else { s3.with_region(region).build() }.map(|s| Box::new(s) as _)
                }
                "azure" => MicrosoftAzureBuilder::from_env()
                    .with_client_options(client)
                    .with_retry(retry)
                    .with_container_name(bucket)
                    .build()
                    .map(|s| Box::new(s) as _),
                _ => GoogleCloudStorageBuilder::from_env()
                    .with_client_options(client)
                    .with_retry(retry)
                    .with_bucket_name(bucket)
                    .build()
                    .map(|s| Box::new(s) as _),
            };
            let shown = format!("{kind}://{bucket}{}{prefix}", if prefix.is_empty() { "" } else { "/" });
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let store = opened.map_err(|e| told(&e)).at(&shown)?;
            Ok(Bucket { store, prefix: prefix.to_owned(), shown, runtime })
        }

        fn name(&self, name: &str) -> Name {
            Name::from(if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) })
        }

        /// Waits for an answer and looks for Ctrl-C meanwhile.
        fn wait<T>(&self, tick: Tick<'_>, work: impl Future<Output = object_store::Result<T>>) -> Result<T> {
            self.runtime.block_on(async {
                let mut work = pin!(work);
                loop {
                    match tokio::time::timeout(LOOK, &mut work).await {
                        Ok(answer) => return answer.map_err(|e| told(&e)),
                        Err(_) => tick()?,
                    }
                }
            })
        }

        fn upload(&self, mut upload: Box<dyn MultipartUpload>, mut file: File, tick: Tick<'_>) -> Result<()> {
            let sent: Result<()> = (|| {
                loop {
                    let part = next(&mut file)?;
                    if part.is_empty() {
                        break;
                    }
                    self.wait(tick, upload.put_part(PutPayload::from(part)))?;
                    tick()?;
                }
                self.wait(tick, upload.complete()).map(|_| ())
            })();
            if sent.is_err() {
                // Parts without an end would be paid for.
                let _ = self.wait(&mut || Ok(()), upload.abort());
            }
            sent
        }
    }

    /// The next part of a file; empty at its end.
    fn next(file: &mut File) -> Result<Vec<u8>> {
        let mut part = vec![];
        file.take(PART).read_to_end(&mut part)?;
        Ok(part)
    }

    fn allows_http(kind: &str) -> bool {
        let key = match kind {
            "s3" => "AWS_ALLOW_HTTP",
            "azure" => "AZURE_ALLOW_HTTP",
            _ => "GOOGLE_ALLOW_HTTP",
        };
        std::env::var(key).is_ok_and(|v| v == "true" || v == "1")
    }

    /// What happened, without what a URL may carry in its query: signatures and tokens.
    fn told(e: &object_store::Error) -> Error {
        use object_store::Error as E;
        let hint = "Credentials come from the environment (AWS_…, AZURE_…, GOOGLE_…) or the machine's identity";
        match e {
            E::NotFound { .. } => Error::not_found("the bucket or object is not there"),
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => Error::new(Kind::Denied, "the store refused the credentials").hint(hint),
            _ => {
                let whole = e.to_string();
                let text: Vec<&str> = whole.split_whitespace().filter_map(|w| w.split('?').next()).collect();
                let text: String = text.join(" ").chars().take(400).collect();
                Error::new(Kind::Remote, text)
            }
        }
    }

    impl Store for Bucket {
        fn shown(&self) -> String {
            self.shown.clone()
        }

        fn list(&self, tick: Tick<'_>) -> Result<Vec<Object>> {
            let prefix = (!self.prefix.is_empty()).then(|| Name::from(self.prefix.as_str()));
            let mut stream = self.store.list(prefix.as_ref());
            let mut all = vec![];
            while let Some(found) = self.wait(tick, async { stream.next().await.transpose() })? {
                let full = found.location.as_ref();
                let name = match self.prefix.as_str() {
                    "" => Some(full),
                    p => full.strip_prefix(p).and_then(|n| n.strip_prefix('/')),
                };
                if let Some(name) = name {
                    all.push(Object { name: name.to_owned(), bytes: found.size, modified: Some(found.last_modified.into()) });
                }
            }
            Ok(all)
        }

        fn fetch(&self, object: &Object, dir: &Path, tick: Tick<'_>) -> Result<PathBuf> {
            let to = dir.join(object.name.replace('/', "-"));
            let mut out = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&to)?;
            out.seek(SeekFrom::Start(0))?;
            let mut at = 0;
            while at < object.bytes {
                let end = (at + PART).min(object.bytes);
                let part = self.wait(tick, self.store.get_range(&self.name(&object.name), at..end))?;
                if part.len() as u64 != end - at {
                    return Err(Error::new(Kind::Remote, format!("{} is shorter than the store says", object.name)));
                }
                out.write_all(&part)?;
                at = end;
                tick()?;
            }
            out.set_len(object.bytes)?;
            Ok(to)
        }

        fn put(&self, name: &str, from: &Path, tick: Tick<'_>) -> Result<()> {
            let mut file = File::open(from)?;
            let name = self.name(name);
            if file.metadata()?.len() <= PART {
                let all = next(&mut file)?;
                return self.wait(tick, self.store.put(&name, PutPayload::from(all))).map(|_| ());
            }
            let upload = self.wait(tick, self.store.put_multipart(&name))?;
            self.upload(upload, file, tick)
        }
    }
}
