//! A real browser with a fresh profile, a driver of its own, and the site before it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use thirtyfour::ChromeCapabilities;
use thirtyfour::common::log::LoggingPrefsLogLevel;
use thirtyfour::prelude::*;

use crate::dist::Site;
use crate::server::Server;

/// What the browser can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gpu {
    /// No adapter answers.
    None,
    /// WebGPU on the processor: correct, slow, and the same on every machine.
    Software,
}

/// A browser for each core and no more: more would fight for the processor and miss each other's deadlines.
pub(crate) static CORES: LazyLock<tokio::sync::Semaphore> =
    LazyLock::new(|| tokio::sync::Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));

/// A page in a browser, and the server behind it.
#[derive(Debug)]
pub struct Tab {
    /// The driver, for what this type does not offer.
    pub driver: WebDriver,
    /// The server, to make it misbehave.
    pub server: Server,
    /// The files that it serves.
    pub site: Arc<Site>,
}

/// The built site, read once for all tests: its pages are tens of megabytes of HTML.
fn site() -> anyhow::Result<Arc<Site>> {
    static SITE: Mutex<Option<Arc<Site>>> = Mutex::new(None);
    let mut known = SITE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(site) = &*known {
        return Ok(Arc::clone(site));
    }
    let site = Arc::new(Site::read(&crate::env::dist()?)?);
    *known = Some(Arc::clone(&site));
    Ok(site)
}

/// Starts server, driver and browser, runs the test, and ends all three whatever happened.
///
/// # Errors
/// One of them does not start, or the test fails.
pub async fn with_browser<F>(gpu: Gpu, test: F) -> anyhow::Result<()>
where
    F: AsyncFnOnce(&Tab) -> anyhow::Result<()>,
{
    let _core = CORES.acquire().await?;
    let site = site()?;
    let server = Server::start(site.root.clone()).await?;
    let driver = Driver::start()?;
    let profile = Profile::new()?;
    let browser = WebDriver::builder(driver.address(), capabilities(gpu, &profile)?)
        .request_timeout(Duration::from_secs(180))
        .connect()
        .await
        .context("the browser does not start; `cargo xtask doctor` says what is missing")?;
    let result = browser
        .run_and_quit(|driver| async move {
            driver.set_script_timeout(Duration::from_secs(120)).await?;
            let tab = Tab { driver, server, site };
            test(&tab).await
        })
        .await;
    result.map_err(|error| match error {
        thirtyfour::WebDriverRunError::Body(error) => error,
        other => anyhow::anyhow!("{other:?}"),
    })
}

fn capabilities(gpu: Gpu, profile: &Profile) -> anyhow::Result<ChromeCapabilities> {
    let mut wanted = DesiredCapabilities::chrome();
    if let Some(binary) = std::env::var_os("CHROME") {
        wanted.set_binary(&binary.to_string_lossy())?;
    }
    let quiet = [
        "--headless=new",
        "--no-sandbox",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--window-size=1440,1000",
    ];
    for flag in quiet {
        wanted.add_arg(flag)?;
    }
    wanted.add_arg(&format!("--user-data-dir={}", profile.0.display()))?;
    match gpu {
        Gpu::None => wanted.add_arg("--disable-features=WebGPU")?,
        Gpu::Software => {
            wanted.add_arg("--enable-unsafe-webgpu")?;
            wanted.add_arg("--use-webgpu-adapter=swiftshader")?;
        }
    }
    wanted.set_browser_log_level(LoggingPrefsLogLevel::All)?;
    Ok(wanted)
}

impl Tab {
    /// Opens a page of the site, query and anchor included.
    ///
    /// # Errors
    /// The browser refuses.
    pub async fn open(&self, page: &str) -> anyhow::Result<()> {
        self.driver.goto(self.server.url(page)).await.with_context(|| format!("{page} does not open"))
    }

    /// Runs a function body in the page; `arguments` are JSON.
    ///
    /// # Errors
    /// It throws.
    pub async fn script(&self, body: &str, arguments: &[Value]) -> anyhow::Result<Value> {
        match self.driver.execute(body, arguments.to_vec()).await {
            Ok(result) => Ok(result.json().clone()),
            // The driver appends its own stack, which tells nothing about the page.
            Err(error) => {
                let words = error.to_string();
                anyhow::bail!("in the page: {body}: {}", words.split("Stacktrace").next().unwrap_or_default().trim())
            }
        }
    }

    /// A command of the DevTools protocol.
    ///
    /// # Errors
    /// The browser refuses it.
    pub async fn devtools(&self, command: &str, parameters: Value) -> anyhow::Result<Value> {
        self.driver.cdp().send_raw(command, parameters).await.with_context(|| command.to_owned())
    }

    /// Waits until an expression is true in the page.
    ///
    /// # Errors
    /// It is not within the time; the error says what was awaited and how the labs stand.
    pub async fn wait(&self, what: &str, seconds: f64, expression: &str) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            if self.script(&format!("return Boolean({expression})"), &[]).await? == Value::Bool(true) {
                return Ok(());
            }
            if start.elapsed().as_secs_f64() > seconds {
                let labs = "return [...document.querySelectorAll('section[data-lab]')].map(s => [s.dataset.lab, s.dataset.state, \
                            s.querySelector('[data-lab-message]')?.textContent])";
                let labs = self.script(labs, &[]).await?;
                let log = self.problems().await.unwrap_or_default();
                anyhow::bail!("{what} did not come about in {seconds} s; labs: {labs}; problems: {log:?}");
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    }

    /// Errors that the browser logged since the last call: exceptions, failed requests, blocked content.
    ///
    /// # Errors
    /// The log cannot be had.
    pub async fn problems(&self) -> anyhow::Result<Vec<String>> {
        let log = self.driver.browser_log().await?;
        let is_problem = |level: &str, text: &str| level == "SEVERE" || text.contains("Content Security Policy");
        Ok(log
            .into_iter()
            .filter(|entry| is_problem(&entry.level, &entry.message))
            .map(|entry| entry.message)
            .collect())
    }

    /// Width and height of the page in CSS pixels.
    ///
    /// # Errors
    /// The browser refuses.
    pub async fn resize(&self, width: u32, height: u32) -> anyhow::Result<()> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await.map(drop)
    }

    /// What the reader's system prefers: `light` or `dark`.
    ///
    /// # Errors
    /// The browser refuses.
    pub async fn prefer(&self, theme: &str) -> anyhow::Result<()> {
        let feature = json!({"features": [{"name": "prefers-color-scheme", "value": theme}]});
        self.devtools("Emulation.setEmulatedMedia", feature).await.map(drop)
    }

    /// From now on, requests reach the server even where the site's service worker has an answer.
    ///
    /// # Errors
    /// The browser refuses.
    pub async fn bypass_service_worker(&self) -> anyhow::Result<()> {
        self.devtools("Network.enable", json!({})).await?;
        self.devtools("Network.setBypassServiceWorker", json!({"bypass": true})).await.map(drop)
    }

    /// From now on, every page runs this before its own scripts.
    ///
    /// # Errors
    /// The browser refuses.
    pub async fn before_each_page(&self, script: &str) -> anyhow::Result<()> {
        self.devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": script})).await.map(drop)
    }
}

/// chromedriver on a port it chose itself.
struct Driver {
    process: Child,
    port: u16,
}

impl Driver {
    fn start() -> anyhow::Result<Self> {
        let program = std::env::var_os("CHROMEDRIVER").unwrap_or_else(|| "chromedriver".into());
        let mut process = Command::new(program)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("chromedriver cannot be started; `cargo xtask doctor` says how to get it")?;
        let stdout = process.stdout.take().context("its output was asked for")?;
        let mut lines = BufReader::new(stdout).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| port_of(&line));
        let Some(port) = port else {
            // It is gone or about to go: nothing more to learn from it.
            let _ = process.kill();
            anyhow::bail!("chromedriver did not say its port");
        };
        // Somebody must read on, or it blocks on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { process, port })
    }

    fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn port_of(line: &str) -> Option<u16> {
    line.split_once("successfully on port ")?.1.trim_end_matches('.').trim().parse().ok()
}

/// A profile folder that nobody used before.
pub(crate) struct Profile(pub(crate) std::path::PathBuf);

impl Profile {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let nanoseconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
        let folder = std::env::temp_dir().join(format!("browser-tests-{}-{nanoseconds}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        // The browser may still be writing its last words; a left-over folder harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_port_is_read_from_what_the_driver_says() {
        assert_eq!(super::port_of("ChromeDriver was started successfully on port 41231."), Some(41231));
        assert_eq!(super::port_of("Only local connections are allowed."), None);
    }
}
