//! The HTTP side: files under a base path, with the headers a good static host sends; for authors also the events that
//! reload a page.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, Uri, header},
    response::{
        IntoResponse as _, Redirect, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use lab_charts::escape;
use tokio::sync::broadcast;
use tokio_stream::{StreamExt as _, wrappers::BroadcastStream};
use tower::ServiceExt as _;
use tower_http::services::{ServeDir, ServeFile};

use crate::pkg;

/// The script that `serve` puts into pages, and nobody else.
const RELOAD: &str = include_str!("reload.js");

/// What is served now.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// The pages; `None` until the first build succeeds.
    pub(crate) pages: Option<PathBuf>,
    /// A complete build, perhaps older than `pages`: search index and print page.
    pub(crate) complete: Option<PathBuf>,
    /// Asset files by address.
    pub(crate) assets: BTreeMap<String, PathBuf>,
    /// What stops the book from being built, in the builder's words.
    pub(crate) problem: Option<String>,
}

/// A site being served.
#[derive(Debug)]
pub(crate) struct Site {
    /// Path of the root, with a slash at both ends.
    pub(crate) base: String,
    /// Folder of bundles; `None`: they are among the pages.
    pub(crate) pkg: Option<PathBuf>,
    /// The author's view: reload script, nothing cached. Otherwise a host as readers know it.
    pub(crate) authoring: bool,
    /// Put the reload script into pages.
    pub(crate) reload: bool,
    content: Mutex<Content>,
    events: broadcast::Sender<Message>,
}

/// What open pages are told.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    /// Something new is there.
    Reload,
    /// The book cannot be built.
    Problem(String),
}

impl From<Message> for Event {
    fn from(message: Message) -> Self {
        match message {
            Message::Reload => Event::default().event("reload").data("now"),
            Message::Problem(text) => Event::default().event("problem").data(text),
        }
    }
}

impl Site {
    pub(crate) fn new(base: &str, content: Content, pkg: Option<PathBuf>, authoring: bool, reload: bool) -> Self {
        let trimmed = base.trim_matches('/');
        let base = if trimmed.is_empty() { "/".to_owned() } else { format!("/{trimmed}/") };
        Self { base, pkg, authoring, reload, content: Mutex::new(content), events: broadcast::channel(16).0 }
    }

    pub(crate) fn content(&self) -> MutexGuard<'_, Content> {
        // Nothing is left half-done in it: a panicking holder has no bearing on the next one.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell(&self, message: Message) {
        // An error only means that no page is open.
        let _ = self.events.send(message);
    }
}

/// The whole site as a service.
pub(crate) fn router(site: Arc<Site>) -> Router {
    Router::new().fallback(answer).with_state(site)
}

async fn answer(State(site): State<Arc<Site>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let Some(address) = path.strip_prefix(&site.base) else {
        let text = format!("The book stands under {}\n", site.base);
        return if format!("{path}/") == site.base || path == "/" {
            Redirect::temporary(&site.base).into_response()
        } else {
            (StatusCode::NOT_FOUND, text).into_response()
        };
    };
    let mut response = match address {
        "__reload" if site.reload => return events(&site),
        "__reload.js" if site.reload => {
            ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], RELOAD).into_response()
        }
        "pkg/manifest.json" if site.authoring => manifest(&site),
        _ => file(&site, address, request).await,
    };
    let is_html = |response: &Response| {
        let kind = response.headers().get(header::CONTENT_TYPE);
        kind.is_some_and(|kind| kind.to_str().is_ok_and(|kind| kind.starts_with("text/html")))
    };
    if site.reload && is_html(&response) {
        response = with_script(&site, response).await;
    }
    let policy = match () {
        () if site.authoring => "no-store",
        () if is_immutable(address) => "public, max-age=31536000, immutable",
        () => "no-cache",
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(policy));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Finds the file of an address among pages, bundles and assets.
async fn file(site: &Site, address: &str, mut request: Request) -> Response {
    let (pages, complete, asset, problem) = {
        let content = site.content();
        let asset = content.assets.get(address).cloned();
        (content.pages.clone(), content.complete.clone(), asset, content.problem.clone())
    };
    if site.authoring {
        // Two edits within a second have the same modification time: never answer “not modified”.
        request.headers_mut().remove(header::IF_MODIFIED_SINCE);
    }
    let headers = request.headers().clone();
    let again = |path: &str| {
        let mut request = Request::builder().uri(uri(path)).body(Body::empty()).unwrap_or_default();
        *request.headers_mut() = headers.clone();
        request
    };
    if let Some(asset) = asset {
        return ServeFile::new(asset).oneshot(request).await.map(Response::into_response).unwrap_or_else(never);
    }
    if let (Some(pkg), Some(rest)) = (&site.pkg, address.strip_prefix("pkg/")) {
        return folder(pkg, again(rest), &site.base).await;
    }
    let Some(pages) = pages else {
        let text = problem.unwrap_or_else(|| "The book is being built.".to_owned());
        let page = format!(
            "<!doctype html><html lang=en><title>Not built</title><body><pre>{}</pre></body></html>",
            escape(&text)
        );
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page)
            .into_response();
    };
    *request.uri_mut() = uri(address);
    let found = folder(&pages, request, &site.base).await;
    if found.status() != StatusCode::NOT_FOUND {
        return found;
    }
    if let Some(complete) = complete {
        let name = resolve(&complete, address).unwrap_or_else(|| address.to_owned());
        let found = folder(&complete, again(&name), &site.base).await;
        if found.status() != StatusCode::NOT_FOUND {
            return found;
        }
    }
    match std::fs::read(pages.join("404.html")) {
        Ok(page) => (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response(),
        Err(_) => found,
    }
}

async fn folder(folder: &Path, request: Request, base: &str) -> Response {
    let service = ServeDir::new(folder).precompressed_br().precompressed_gzip();
    let mut response = service.oneshot(request).await.map(Response::into_response).unwrap_or_else(never);
    // ServeDir redirects a folder to its slash without knowing of the base.
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    if let Some(location) = location.map(|location| format!("{base}{}", location.trim_start_matches('/')))
        && let Ok(value) = HeaderValue::from_str(&location)
    {
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}

fn never(error: Infallible) -> Response {
    match error {}
}

fn uri(address: &str) -> Uri {
    format!("/{address}").parse().unwrap_or_default()
}

/// Pages built without search ask for `searchindex.js`; the complete build has it under a hashed name.
fn resolve(complete: &Path, address: &str) -> Option<String> {
    let (stem, extension) = address.split_once('.')?;
    let mut names =
        std::fs::read_dir(complete).ok()?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.find(|name| {
        let hash = name
            .strip_prefix(stem)
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|rest| rest.strip_suffix(extension));
        hash.is_some_and(|hash| hash.len() == 9 && hash[..8].bytes().all(|b| b.is_ascii_hexdigit()))
    })
}

fn manifest(site: &Site) -> Response {
    match pkg::manifest(site.pkg.as_deref()) {
        Ok(manifest) => ([(header::CONTENT_TYPE, "application/json")], manifest.to_string()).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
    }
}

fn events(site: &Site) -> Response {
    let first = site.content().problem.clone().map(Message::Problem);
    let later = BroadcastStream::new(site.events.subscribe()).filter_map(Result::ok);
    let stream = tokio_stream::iter(first).chain(later).map(|message| Ok::<Event, Infallible>(message.into()));
    Sse::new(stream).keep_alive(KeepAlive::default()).into_response()
}

/// Puts the reload script into a page, as an external script, so that the page's own policy holds for it.
async fn with_script(site: &Site, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(page) = to_bytes(body, 64 << 20).await else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "the page is too large\n").into_response();
    };
    let script =
        format!("<script src=\"{0}__reload.js\" data-events=\"{0}__reload\" defer></script></body>", site.base);
    let page = String::from_utf8_lossy(&page).replacen("</body>", &script, 1);
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(page))
}

/// Whether the name changes with the content: mdBook's `name-1a2b3c4d.css`, a bundle's `pkg/ui-0123456789ab/`, an asset's
/// `name.0123456789ab.ext`.
fn is_immutable(address: &str) -> bool {
    let hex = |text: &str, len: usize| text.len() == len && text.bytes().all(|b| b.is_ascii_hexdigit());
    if let Some(rest) = address.strip_prefix("pkg/") {
        return rest
            .split_once('/')
            .and_then(|(folder, _)| folder.rsplit_once('-'))
            .is_some_and(|(_, hash)| hex(hash, 12));
    }
    let name = address.rsplit('/').next().unwrap_or(address);
    if address.starts_with("assets/") {
        return name.split('.').any(|part| hex(part, 12));
    }
    !name.ends_with(".html")
        && name.split('.').next().and_then(|stem| stem.rsplit_once('-')).is_some_and(|(_, hash)| hex(hash, 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(site: &Arc<Site>, path: &str) -> (StatusCode, Response<Body>) {
        let request = Request::builder().uri(path).body(Body::empty()).expect("a request");
        let response = router(site.clone()).oneshot(request).await.expect("infallible");
        (response.status(), response)
    }

    async fn text(response: Response) -> String {
        String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.expect("body").to_vec()).expect("text")
    }

    fn site(authoring: bool) -> (tempfile::TempDir, Arc<Site>) {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::create_dir_all(folder.path().join("tactics")).expect("made");
        std::fs::create_dir_all(folder.path().join("pkg/cpu-0123456789ab")).expect("made");
        for (name, content) in [
            ("index.html", "<body>home</body>"),
            ("404.html", "<body>lost</body>"),
            ("tactics/index.html", "<body>part</body>"),
            ("book-1a2b3c4d.js", "1"),
            ("pkg/cpu-0123456789ab/cpu_bg.wasm", "wasm"),
        ] {
            std::fs::write(folder.path().join(name), content).expect("written");
        }
        let content = Content { pages: Some(folder.path().to_owned()), ..Content::default() };
        let site = Site::new("some/path", content, None, authoring, authoring);
        (folder, Arc::new(site))
    }

    #[tokio::test]
    async fn a_site_stands_under_any_path_with_the_headers_of_a_good_host() {
        let (_folder, site) = site(false);
        let (status, home) = get(&site, "/some/path/").await;
        assert_eq!((status, &home.headers()["cache-control"]), (StatusCode::OK, &HeaderValue::from_static("no-cache")));
        assert_eq!(text(home).await, "<body>home</body>", "readers get no reload script");
        let (_, script) = get(&site, "/some/path/book-1a2b3c4d.js").await;
        assert!(script.headers()["cache-control"].to_str().expect("text").contains("immutable"));
        assert_eq!(script.headers()["content-type"], "text/javascript");
        let (_, wasm) = get(&site, "/some/path/pkg/cpu-0123456789ab/cpu_bg.wasm").await;
        assert_eq!(wasm.headers()["content-type"], "application/wasm");
        let (status, lost) = get(&site, "/some/path/nowhere.html").await;
        assert_eq!((status, text(lost).await.as_str()), (StatusCode::NOT_FOUND, "<body>lost</body>"));
        let (_, part) = get(&site, "/some/path/tactics").await;
        assert_eq!(part.headers()["location"], "/some/path/tactics/");
        let (_, root) = get(&site, "/").await;
        assert_eq!(root.headers()["location"], "/some/path/");
        assert_eq!(get(&site, "/elsewhere").await.0, StatusCode::NOT_FOUND);
        assert_eq!(get(&site, "/some/path/../../etc/passwd").await.0, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn an_author_gets_the_reload_script_and_nothing_from_a_cache() {
        let (_folder, site) = site(true);
        let (_, home) = get(&site, "/some/path/").await;
        assert_eq!(home.headers()["cache-control"], "no-store");
        assert!(text(home).await.contains("<script src=\"/some/path/__reload.js\""));
        assert_eq!(get(&site, "/some/path/__reload.js").await.0, StatusCode::OK);
        let (_, manifest) = get(&site, "/some/path/pkg/manifest.json").await;
        let manifest: serde_json::Value = serde_json::from_str(&text(manifest).await).expect("JSON");
        assert_eq!(manifest, serde_json::json!({"engines": {"cpu": null, "gpu": null}, "ui": null}));
        site.content().pages = None;
        site.content().problem = Some("a.md:3: <wrong>".into());
        let (status, page) = get(&site, "/some/path/").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text(page).await.contains("a.md:3: &lt;wrong&gt;"));
    }

    #[test]
    fn only_names_that_change_with_their_content_are_kept_for_ever() {
        for address in [
            "a-0123abcd.css",
            "site/js/book-0123abcd.js",
            "assets/x/y.0123456789ab.csv.gz",
            "pkg/ui-0123456789ab/ui.js",
        ] {
            assert!(is_immutable(address), "{address}");
        }
        for address in
            ["", "a.html", "a-0123abcd.html", "pkg/manifest.json", "sw.js", "assets/x/y.csv.gz", "kv-cache.js"]
        {
            assert!(!is_immutable(address), "{address}");
        }
    }
}
