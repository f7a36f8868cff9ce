//! Objects in stores: S3 and what speaks like it, Google Cloud Storage, Azure.
//!
//! The crate `object_store` knows addresses, keys and signatures; connections, attempts, resuming
//! and versions are those of every other source here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{Attribute, GetOptions, GetResult, ObjectStore, RetryConfig};
use url::Url;

use super::answer::{Asked, Version, bad, changed};
use super::client::{HttpClient, Shared, describe};
use super::remote::{RemoteFile, remote_source};
use super::retry::Failure;
use super::store_http::{Connector, Fault};
use super::transfer::{AsyncNext, Attempt, Origin, Transfer};
use crate::{Error, Result};

/// An object of a store, read in ranges.
///
/// Addresses are `s3://BUCKET/KEY`, `gs://BUCKET/KEY` and `az://CONTAINER/KEY`. Keys, region,
/// endpoint and more come from the environment, under the names that the tools of each store use:
/// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT`, `AWS_ALLOW_HTTP`,
/// `AWS_SKIP_SIGNATURE` (public buckets); `GOOGLE_APPLICATION_CREDENTIALS`, `GOOGLE_SKIP_SIGNATURE`;
/// `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY`, `AZURE_STORAGE_SAS_TOKEN`,
/// `AZURE_SKIP_SIGNATURE`; and whatever else the crate `object_store` knows. Costs, versions and errors
/// are those of [`super::HttpSource`].
#[derive(Debug)]
pub struct StoreSource(RemoteFile);

impl StoreSource {
    /// Opens an object with what the environment says: one request of 64 KiB, and what the store
    /// needs for credentials.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for what is no address, and for credentials that are missing or
    /// incomplete; otherwise as [`super::HttpSource::open`].
    pub fn open(client: &HttpClient, address: &str) -> Result<Self> {
        Self::open_with(client, address, &[])
    }

    /// [`Self::open`] with settings that come before those of the environment: pairs of a name, as in
    /// the environment, and a value.
    ///
    /// # Errors
    /// As [`Self::open`]; [`Error::InvalidArgument`] for a setting that the store does not know.
    pub fn open_with(
        client: &HttpClient,
        address: &str,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let object = Object::new(Arc::clone(client.shared()), address, settings)?;
        Ok(Self(RemoteFile::open(client, Arc::new(object))?))
    }
}

remote_source!(StoreSource);

/// Kinds of stores.
#[derive(Debug, Clone, Copy)]
enum Kind {
    S3,
    Google,
    Azure,
}

impl Kind {
    fn of(scheme: &str) -> Option<Self> {
        match scheme {
            "s3" | "s3a" => Some(Self::S3),
            "gs" => Some(Self::Google),
            "az" | "adl" | "azure" | "abfs" | "abfss" => Some(Self::Azure),
            _ => None,
        }
    }

    /// Where keys come from.
    fn advice(self) -> &'static str {
        match self {
            Self::S3 => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a public bucket"
            }
            Self::Google => {
                "set GOOGLE_APPLICATION_CREDENTIALS to a file of keys, or GOOGLE_SKIP_SIGNATURE=true for a public bucket"
            }
            Self::Azure => {
                "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_SKIP_SIGNATURE=true for a public container"
            }
        }
    }
}

/// An object of a store.
#[derive(Debug)]
struct Object {
    shared: Arc<Shared>,
    kind: Kind,
    store: Arc<dyn ObjectStore>,
    path: Path,
    /// The address for messages.
    name: String,
}

/// A store as the environment and `settings` describe it.
macro_rules! built {
    ($builder:ty, $address:expr, $settings:expr, $connector:expr) => {{
        let mut builder = <$builder>::from_env()
            .with_url($address)
            .with_retry(once())
            .with_http_connector($connector);
        for (name, value) in $settings {
            let key = name.to_ascii_lowercase().parse();
            let key = key.map_err(|_| format!("{name} is no setting of this store"))?;
            builder = builder.with_config(key, *value);
        }
        Ok(Arc::new(builder.build().map_err(|e| describe(&e))?))
    }};
}

impl Object {
    fn new(shared: Arc<Shared>, address: &str, settings: &[(&str, &str)]) -> Result<Self> {
        let wrong = |why: String| Error::argument(format!("{address}: {why}"));
        let url = Url::parse(address).map_err(|e| wrong(e.to_string()))?;
        let kind = Kind::of(url.scheme());
        let kind = kind.ok_or_else(|| wrong("no address of an object store".into()))?;
        let path = Path::from_url_path(url.path()).map_err(|e| wrong(e.to_string()))?;
        if path.as_ref().is_empty() || url.host_str().is_none() {
            return Err(wrong("give the bucket and the key of the object".into()));
        }
        let connector = Connector::new(Arc::clone(&shared));
        let store = store(kind, address, settings, connector).map_err(wrong)?;
        Ok(Self {
            shared,
            kind,
            store,
            path,
            name: address.into(),
        })
    }

    async fn try_once(&self, transfer: &mut Transfer) -> Result<(), Failure> {
        let Asked { first, last } = transfer.asked();
        let etag = transfer.known.as_ref().and_then(Version::strong);
        let options = GetOptions {
            range: Some((first..last.saturating_add(1)).into()),
            if_match: etag.map(str::to_owned),
            ..GetOptions::default()
        };
        let known = transfer.known.clone();
        let answer = self.store.get_opts(&self.path, options).await;
        let answer = answer.map_err(|e| self.failure(&e, known.is_some()))?;
        let (length, version) = self.judge(&answer, known.as_ref())?;
        transfer.expect(length, version);
        let stall = self.shared.options.stall_timeout;
        let body = Body(answer.into_stream());
        transfer.fill(&self.name, stall, body).await
    }

    /// Bytes that come, and of which version. That they are the range that was asked for is checked
    /// by `object_store`.
    fn judge(&self, answer: &GetResult, known: Option<&Version>) -> Result<(u64, Version)> {
        if let Some(encoding) = answer.attributes.get(&Attribute::ContentEncoding)
            && !encoding.eq_ignore_ascii_case("identity")
        {
            return Err(Error::Encoded {
                url: self.name.clone(),
                encoding: encoding.to_string(),
            });
        }
        let meta = &answer.meta;
        let modified = meta.last_modified.to_rfc3339();
        let version = Version::stated(meta.size, meta.e_tag.clone(), modified);
        if let Some(how) = known.and_then(|k| k.difference(&version)) {
            return Err(changed(&self.name, &how));
        }
        Ok((answer.range.end.saturating_sub(answer.range.start), version))
    }

    fn failure(&self, error: &object_store::Error, known: bool) -> Failure {
        use object_store::Error as E;
        if let Some(fault) = Fault::within(error) {
            return match fault {
                Fault::Again { why, after } => Failure::Transient {
                    why: why.clone(),
                    after: *after,
                },
                Fault::NoCredentials(why) => self.no_credentials(why).into(),
                Fault::Refused(detail) => bad(&self.name, detail).into(),
                Fault::Unsatisfiable if known => changed(&self.name, "it is shorter (416)").into(),
                Fault::Unsatisfiable => bad(&self.name, "it has no byte 0 (416)").into(),
            };
        }
        match error {
            E::Precondition { .. } if known => {
                changed(&self.name, "the store says so (412)").into()
            }
            E::NotFound { .. } => self.status(404, error, "check the address").into(),
            E::Unauthenticated { .. } => self.status(401, error, self.kind.advice()).into(),
            E::PermissionDenied { .. } => self.status(403, error, self.kind.advice()).into(),
            other => bad(&self.name, describe(other)).into(),
        }
    }

    fn no_credentials(&self, why: &str) -> Error {
        let (name, advice) = (&self.name, self.kind.advice());
        Error::argument(format!("{name}: no credentials: {advice} ({why})"))
    }

    fn status(&self, status: u16, error: &object_store::Error, advice: &str) -> Error {
        let said = said(&describe(error)).map_or_else(String::new, |s| format!("{s}; "));
        Error::HttpStatus {
            url: self.name.clone(),
            status,
            detail: format!("{said}{advice}"),
        }
    }
}

impl Origin for Object {
    fn name(&self) -> &str {
        &self.name
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn attempt<'a>(&'a self, transfer: &'a mut Transfer) -> Attempt<'a> {
        Box::pin(self.try_once(transfer))
    }
}

struct Body(BoxStream<'static, object_store::Result<Bytes>>);

impl AsyncNext<object_store::Error> for Body {
    async fn next(&mut self) -> Option<Result<Bytes, object_store::Error>> {
        self.0.next().await
    }
}

fn store(
    kind: Kind,
    address: &str,
    settings: &[(&str, &str)],
    connector: Connector,
) -> Result<Arc<dyn ObjectStore>, String> {
    use object_store::{aws, azure, gcp};
    match kind {
        Kind::S3 => built!(aws::AmazonS3Builder, address, settings, connector),
        Kind::Google => built!(gcp::GoogleCloudStorageBuilder, address, settings, connector),
        Kind::Azure => built!(azure::MicrosoftAzureBuilder, address, settings, connector),
    }
}

/// Attempts are counted here, not in `object_store`.
fn once() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        retry_timeout: Duration::ZERO,
        ..RetryConfig::default()
    }
}

/// What the XML of an error says: its code and its message.
fn said(text: &str) -> Option<String> {
    let between = |tag: &str| {
        let from = text.split_once(&format!("<{tag}>"))?.1;
        Some(from.split_once(&format!("</{tag}>"))?.0.trim())
    };
    let code = between("Code")?;
    Some(match between("Message") {
        Some(message) => format!("{code}: {message}"),
        None => code.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_and_message_of_an_error_are_found() {
        let xml =
            "status 404: <?xml?><Error><Code>NoSuchKey</Code><Message> gone </Message></Error>";
        assert_eq!(said(xml).as_deref(), Some("NoSuchKey: gone"));
        assert_eq!(said("<Code>A</Code>").as_deref(), Some("A"));
        assert_eq!(said("<Code>A"), None);
        assert_eq!(said("plain"), None);
    }
}
