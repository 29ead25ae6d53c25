//! `serve`: the book while it is being written. Chapters first; search and print page follow when the author pauses.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use textbook::Textbook;

use crate::{
    assets, extras,
    paths::Paths,
    render::{Extent, render},
    server::{Content, Message, Site, router},
    sources,
    watch::{Changes, Watch},
};

/// How long nothing has to change before search and print page are made again.
const PAUSE: Duration = Duration::from_millis(800);

/// What to serve.
#[derive(Debug, Clone)]
pub struct Serve {
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Folder of bundles.
    pub pkg: Option<PathBuf>,
    /// Folder for the pages.
    pub out: PathBuf,
    /// Path of the root.
    pub base: String,
    /// Reload open pages on change.
    pub reload: bool,
}

/// Builds, serves, watches; returns only on failure. The exit code is 2 where the port is taken.
///
/// # Errors
/// Nothing can be watched or written. Errors of the book do not end it: they are shown until they are mended.
pub fn serve(paths: &Paths, job: &Serve) -> Result<ExitCode> {
    let Some(listener) = listen(job.port)? else { return Ok(ExitCode::from(2)) };
    let pkg = job.pkg.as_deref().map(std::path::absolute).transpose()?;
    if let Some(pkg) = &pkg {
        std::fs::create_dir_all(pkg).with_context(|| format!("cannot make {}", pkg.display()))?;
    }
    let textbook = Textbook::new(&paths.root);
    let watch = Watch::new(paths, &textbook, pkg.as_deref())?;
    let site = Arc::new(Site::new(&job.base, Content::default(), pkg.clone(), true, job.reload));
    let address = format!("http://{}{}", listener.local_addr()?, site.base);
    let server = site.clone();
    thread::spawn(move || run(listener, server));

    let out = std::path::absolute(&job.out)?;
    let mut author = Author { paths, site: &site, textbook, out, generation: 0, announced: None };
    author.clear()?;
    author.chapters(Changes { book: true, assets: true, bundles: false });
    let mut complete = false;
    loop {
        if author.announced.is_none() && site.content().pages.is_some() {
            println!("{address}");
            author.announced = Some(address.clone());
        }
        match watch.next(paths, pkg.as_deref(), (!complete).then_some(PAUSE)) {
            Some(changes) => {
                complete &= !(changes.book || changes.assets);
                author.chapters(changes);
            }
            None => {
                author.rest();
                complete = true;
            }
        }
    }
}

/// Serves a folder as a static host would, under `base`; returns only on failure.
///
/// # Errors
/// The folder holds no site.
pub fn serve_static(folder: &Path, port: u16, base: &str) -> Result<ExitCode> {
    if !folder.join("index.html").is_file() {
        bail!("{} holds no index.html: build the site first", folder.display());
    }
    let Some(listener) = listen(port)? else { return Ok(ExitCode::from(2)) };
    let content = Content { pages: Some(folder.canonicalize()?), ..Content::default() };
    let site = Arc::new(Site::new(base, content, None, false, false));
    println!("http://{}{}", listener.local_addr()?, site.base);
    run(listener, site)?;
    Ok(ExitCode::SUCCESS)
}

/// `None`, after saying so, where the port is taken.
fn listen(port: u16) -> Result<Option<TcpListener>> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(listener) => {
            listener.set_nonblocking(true)?;
            Ok(Some(listener))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            eprintln!(
                "error: port {port} on 127.0.0.1 is taken: end the program that uses it, or choose another with --port"
            );
            Ok(None)
        }
        Err(error) => {
            Err(error).with_context(|| format!("cannot listen on 127.0.0.1:{port}: choose another with --port"))
        }
    }
}

fn run(listener: TcpListener, site: Arc<Site>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        axum::serve(listener, router(site)).await
    })?;
    Ok(())
}

/// Builds again and again, each time into a new folder, so that the last good version stays served.
struct Author<'a> {
    paths: &'a Paths,
    site: &'a Site,
    textbook: Textbook,
    out: PathBuf,
    generation: u32,
    announced: Option<String>,
}

impl Author<'_> {
    /// Removes what an earlier `serve` left.
    fn clear(&self) -> Result<()> {
        for entry in std::fs::read_dir(&self.out).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("pages-") || name.starts_with("complete-") {
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        std::fs::create_dir_all(&self.out).with_context(|| format!("cannot make {}", self.out.display()))
    }

    fn chapters(&mut self, changes: Changes) {
        let start = Instant::now();
        match self.try_chapters(changes) {
            Ok(()) => {
                let was_broken = self.site.content().problem.take().is_some();
                if self.announced.is_some() || was_broken {
                    eprintln!("{} in {:.2} s", describe(changes), start.elapsed().as_secs_f64());
                }
                self.site.tell(Message::Reload);
            }
            Err(error) => self.fail(&format!("{error:#}")),
        }
    }

    fn try_chapters(&mut self, changes: Changes) -> Result<()> {
        if changes.assets {
            let assets = assets::check(self.paths)?;
            self.site.content().assets = assets.into_iter().map(|asset| (asset.address, asset.file)).collect();
        }
        // A book that is broken is tried again on every change: an asset may have been what it lacked.
        if changes.book || changes.assets || self.site.content().problem.is_some() {
            self.generation += 1;
            let folder = self.out.join(format!("pages-{}", self.generation));
            render(self.paths, &self.textbook, &folder, &self.site.base, Extent::Chapters)?;
            extras::lab_index(&folder)?;
            sources::install(&self.textbook, &folder)?;
            let old = self.site.content().pages.replace(folder);
            remove(old);
        }
        Ok(())
    }

    /// Search index and print page. A failure was shown when the chapters were built.
    fn rest(&mut self) {
        if self.site.content().problem.is_some() {
            return;
        }
        let folder = self.out.join(format!("complete-{}", self.generation));
        match render(self.paths, &self.textbook, &folder, &self.site.base, Extent::Everything) {
            Ok(()) => {
                let old = self.site.content().complete.replace(folder.clone());
                remove(old.filter(|old| *old != folder));
            }
            Err(error) => eprintln!("search and print page: {error:#}"),
        }
    }

    fn fail(&self, problem: &str) {
        eprintln!("error: {problem}");
        self.site.content().problem = Some(problem.to_owned());
        self.site.tell(Message::Problem(problem.to_owned()));
    }
}

fn remove(folder: Option<PathBuf>) {
    if let Some(folder) = folder
        && let Err(error) = std::fs::remove_dir_all(&folder)
    {
        eprintln!("cannot remove {}: {error}", folder.display());
    }
}

fn describe(changes: Changes) -> &'static str {
    match changes {
        Changes { book: true, .. } => "book rebuilt",
        Changes { assets: true, .. } => "assets checked",
        _ => "bundles are new",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_told_apart_from_other_failures() {
        let first = listen(0).expect("a free port").expect("listens");
        let port = first.local_addr().expect("an address").port();
        assert!(listen(port).expect("no other failure").is_none());
    }
}
