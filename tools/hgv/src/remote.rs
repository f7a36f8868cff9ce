//! Files on web servers and in object stores as inputs of commands.

#[cfg(feature = "http")]
pub(crate) use with_http::Remotes;
#[cfg(not(feature = "http"))]
pub(crate) use without_http::Remotes;

#[cfg(feature = "http")]
mod with_http {
    use std::sync::{Arc, Mutex, OnceLock, PoisonError};

    use hgv::io::RangeSource;
    use hgv::stream::{HttpClient, HttpOptions, RemoteSource, open_remote};
    use hgv::{Error, Result};

    use crate::interrupt;

    /// What a command has opened on servers.
    #[derive(Debug, Default)]
    pub(crate) struct Remotes {
        client: OnceLock<HttpClient>,
        opened: Mutex<Vec<Arc<dyn RemoteSource>>>,
    }

    impl Remotes {
        /// Opens a file on a server or in a store.
        ///
        /// # Errors
        /// As [`open_remote`].
        pub(crate) fn open(&self, url: &str) -> Result<Arc<dyn RangeSource>> {
            let source = open_remote(&self.client()?, url)?;
            self.lock().push(Arc::clone(&source));
            Ok(source)
        }

        /// Fails if one of the files is no longer the one that was opened.
        ///
        /// # Errors
        /// [`Error::SourceChanged`].
        pub(crate) fn check_unchanged(&self) -> Result<()> {
            match self.replaced() {
                Some(name) => Err(Error::SourceChanged(name)),
                None => Ok(()),
            }
        }

        /// Whether `error` comes from a file that was replaced on its server. All files count as
        /// closed then.
        pub(crate) fn forget_replaced(&self, error: &Error) -> bool {
            let any = !self.lock().is_empty();
            let said = matches!(error.root(), Error::SourceChanged(_));
            let over = any && (said || error.may_be_change() && self.replaced().is_some());
            if over {
                self.lock().clear();
            }
            over
        }

        /// The name of a file that was replaced. A server that does not answer leaves it open.
        fn replaced(&self) -> Option<String> {
            let opened = self.lock();
            let changed = |s: &&Arc<dyn RemoteSource>| s.changed().unwrap_or(false);
            opened.iter().find(changed).map(|s| s.identity())
        }

        fn client(&self) -> Result<HttpClient> {
            if let Some(client) = self.client.get() {
                return Ok(client.clone());
            }
            let mut options = HttpOptions::default();
            options.cancelled = Some(interrupt::requested);
            let client = HttpClient::new(options)?;
            Ok(self.client.get_or_init(|| client).clone())
        }

        fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<dyn RemoteSource>>> {
            self.opened.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

#[cfg(not(feature = "http"))]
mod without_http {
    use std::sync::Arc;

    use hgv::io::RangeSource;
    use hgv::{Error, Result};

    /// Nothing can be opened on servers.
    #[derive(Debug, Default)]
    pub(crate) struct Remotes;

    impl Remotes {
        /// # Errors
        /// [`Error::Unsupported`], always.
        pub(crate) fn open(&self, url: &str) -> Result<Arc<dyn RangeSource>> {
            Err(Error::Unsupported(format!(
                "{url}: this hgv was built without HTTP; download the file first"
            )))
        }

        pub(crate) fn check_unchanged(&self) -> Result<()> {
            Ok(())
        }

        pub(crate) fn forget_replaced(&self, _: &Error) -> bool {
            false
        }
    }
}
