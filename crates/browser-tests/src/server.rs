//! The built site under a sub-path, by a server that can misbehave on request: flip a byte, lose a file, change a script.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode, Uri, header};

/// Where the site lies on the test's host: sub-paths must work, so every test uses one.
pub const BASE: &str = "/some/path/";

/// The policy that the site is meant to be served with.
pub const POLICY: &str =
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:";

/// What goes wrong with files whose path contains a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The byte in the middle is another one.
    FlippedByte,
    /// The second half is missing.
    Truncated,
    /// There is no such file.
    Missing,
    /// This text stands before the file's own.
    Prepended(String),
    /// Another page is answered instead, as a login or a hotel's network does.
    Portal,
}

/// What a login answers, whatever was asked for.
const PORTAL: &str = "<!doctype html><html lang=\"en\"><title>Sign in</title><p>Sign in to go on.</p></html>";

/// A running server; it ends with the test's runtime.
#[derive(Debug, Clone)]
pub struct Server {
    address: SocketAddr,
    faults: Arc<Mutex<Vec<(String, Fault)>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves `dist` on a free port.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(dist: PathBuf) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let server = Self { address: listener.local_addr()?, faults: Arc::default(), requests: Arc::default() };
        let state = server.clone();
        let answer = move |uri: Uri, headers: HeaderMap| {
            let (state, dist) = (state.clone(), dist.clone());
            async move {
                let referrer = headers.get(header::REFERER).and_then(|value| value.to_str().ok()).unwrap_or_default();
                state.answer(&dist, uri.path(), referrer)
            }
        };
        let app = axum::Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(server)
    }

    /// The address of a page.
    #[must_use]
    pub fn url(&self, page: &str) -> String {
        format!("http://{}{BASE}{page}", self.address)
    }

    /// From now on, files whose path contains `part` have this fault.
    pub fn break_files(&self, part: &str, fault: Fault) {
        if let Ok(mut faults) = self.faults.lock() {
            faults.push((part.to_owned(), fault));
        }
    }

    /// All files are well again.
    pub fn heal(&self) {
        if let Ok(mut faults) = self.faults.lock() {
            faults.clear();
        }
    }

    /// Paths asked for so far, without the sub-path.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().map(|requests| requests.clone()).unwrap_or_default()
    }

    fn answer(&self, dist: &std::path::Path, path: &str, referrer: &str) -> Response<Body> {
        let plain = |status: StatusCode| {
            let mut response = Response::new(Body::from(status.to_string()));
            *response.status_mut() = status;
            response
        };
        // Outside of the sub-path there is nothing, so that an absolute path in the site would show. A host serves 404.html
        // under any path, so that page alone must name its files from the host's root.
        let path = match path.strip_prefix(BASE) {
            Some(path) => path,
            None if may_be_absolute(referrer) => path.trim_start_matches('/'),
            None => return plain(StatusCode::NOT_FOUND),
        };
        if path.split('/').any(|part| part == "..") {
            return plain(StatusCode::NOT_FOUND);
        }
        if let Ok(mut requests) = self.requests.lock() {
            requests.push(path.to_owned());
        }
        let mut file = path.replace("%20", " ");
        if file.is_empty() || file.ends_with('/') {
            file.push_str("index.html");
        }
        let fault = self.faults.lock().ok().and_then(|faults| {
            faults.iter().find(|(part, _)| file.contains(part.as_str())).map(|(_, fault)| fault.clone())
        });
        if fault == Some(Fault::Portal) {
            let mut response = Response::new(Body::from(PORTAL));
            let value = header::HeaderValue::from_static;
            response.headers_mut().insert(header::CONTENT_TYPE, value("text/html; charset=utf-8"));
            response.headers_mut().insert(header::CACHE_CONTROL, value("no-store"));
            return response;
        }
        let bytes = match (std::fs::read(dist.join(&file)), fault) {
            (Err(_), _) | (_, Some(Fault::Missing)) => return plain(StatusCode::NOT_FOUND),
            (Ok(bytes), None) => bytes,
            (Ok(bytes), Some(fault)) => damaged(bytes, &fault),
        };
        let mut response = Response::new(Body::from(bytes));
        let headers = response.headers_mut();
        let value = header::HeaderValue::from_static;
        headers.insert(header::CONTENT_TYPE, value(content_type(&file)));
        headers.insert(header::CONTENT_SECURITY_POLICY, value(POLICY));
        // Faults come and go: nothing may be remembered.
        headers.insert(header::CACHE_CONTROL, value("no-store"));
        response
    }
}

/// Whether a request comes from 404.html, or from a style or script that it fetched.
fn may_be_absolute(referrer: &str) -> bool {
    referrer.ends_with("/404.html") || (!referrer.is_empty() && !referrer.contains(BASE))
}

fn damaged(mut bytes: Vec<u8>, fault: &Fault) -> Vec<u8> {
    match fault {
        Fault::FlippedByte => {
            let middle = bytes.len() / 2;
            if let Some(byte) = bytes.get_mut(middle) {
                *byte ^= 0x55;
            }
            bytes
        }
        Fault::Truncated => {
            bytes.truncate(bytes.len() / 2);
            bytes
        }
        Fault::Prepended(text) => [text.as_bytes(), b"\n", &bytes].concat(),
        Fault::Missing | Fault::Portal => Vec::new(),
    }
}

fn content_type(file: &str) -> &'static str {
    match file.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css",
        "js" => "text/javascript",
        "json" => "application/json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        "xml" => "application/xml",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_page_for_missing_pages_may_name_files_from_the_root() {
        assert!(may_be_absolute("http://127.0.0.1:1/some/path/404.html"));
        assert!(may_be_absolute("http://127.0.0.1:1/site/styles/page.css"));
        assert!(!may_be_absolute("http://127.0.0.1:1/some/path/index.html"));
        assert!(!may_be_absolute(""));
    }

    #[test]
    fn faults_change_what_is_sent() {
        assert_eq!(damaged(vec![1, 2, 3], &Fault::FlippedByte), [1, 2 ^ 0x55, 3]);
        assert_eq!(damaged(vec![1, 2, 3, 4], &Fault::Truncated), [1, 2]);
        assert_eq!(damaged(b"b".to_vec(), &Fault::Prepended("a".into())), b"a\nb");
    }
}
