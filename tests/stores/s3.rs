//! An S3 server on loopback that keeps its objects in a temporary folder, checks signatures and counts
//! requests.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;

const KEY: &str = "hgv-test";
const SECRET: &str = "hgv-test-secret";

/// A store that ends with the test's process.
pub(crate) struct Store {
    folder: tempfile::TempDir,
    endpoint: String,
    requests: Arc<AtomicUsize>,
}

impl Store {
    /// Starts with these objects: `BUCKET/KEY` and bytes.
    pub(crate) fn start(objects: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in objects {
            write(folder.path(), name, bytes);
        }
        let service = s3(folder.path());
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build();
            let listener = async { TcpListener::from_std(listener).unwrap() };
            runtime
                .unwrap()
                .block_on(async { accept(listener.await, service, counter).await });
        });
        Self {
            folder,
            endpoint,
            requests,
        }
    }

    /// Replaces an object.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        write(self.folder.path(), name, bytes);
    }

    /// What the environment of a user of this store would say.
    pub(crate) fn settings(&self) -> Vec<(&str, &str)> {
        vec![
            ("AWS_ENDPOINT", &self.endpoint),
            ("AWS_ACCESS_KEY_ID", KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ALLOW_HTTP", "true"),
        ]
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn s3(folder: &Path) -> S3Service {
    let files = s3s_fs::FileSystem::new(folder).unwrap();
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
    builder.build()
}

async fn accept(listener: TcpListener, service: S3Service, requests: Arc<AtomicUsize>) {
    while let Ok((socket, _)) = listener.accept().await {
        let (service, requests) = (service.clone(), Arc::clone(&requests));
        let counted = service_fn(move |request: Request<Incoming>| {
            requests.fetch_add(1, Ordering::SeqCst);
            let service = service.clone();
            async move { service.call(request.map(s3s::Body::from)).await }
        });
        tokio::spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            let _ = builder
                .serve_connection(TokioIo::new(socket), counted)
                .await;
        });
    }
}
