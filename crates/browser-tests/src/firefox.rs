//! Firefox, driven through WebDriver BiDi: JSON over a WebSocket that the browser itself opens, so that no driver is needed
//! (Debian has none of it). Only what our tests ask: open a page, run a script, hear the console.
//!
//! Protocol: <https://w3c.github.io/webdriver-bidi/>.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, MaybeTlsStream, Message, WebSocketStream};

use crate::browser::{CORES, Profile};
use crate::dist::Site;
use crate::server::Server;

/// Names of the browser on various systems; `FIREFOX` names another one.
const PROGRAMS: &[&str] = &["firefox", "firefox-esr"];

/// How long the browser may take to start on a busy machine, and to answer one command.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a profile of ours sets: nothing asks the network or the reader.
const PREFERENCES: &str = r#"
user_pref("app.update.enabled", false);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.startup.page", 0);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("security.sandbox.warn_unprivileged_namespaces", false);
user_pref("services.settings.server", "data:,none");
user_pref("toolkit.telemetry.enabled", false);
"#;

/// A page in Firefox, and the server behind it.
pub struct Firefox {
    /// The server, to make it misbehave.
    pub server: Server,
    /// The files that it serves.
    pub site: Site,
    // Dropped in this order: the profile goes when nobody writes to it any more.
    _process: Process,
    _profile: Profile,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    context: String,
    last_id: u64,
    console: Vec<String>,
}

/// The program that is installed, if one is.
#[must_use]
pub fn installed() -> Option<String> {
    let named = std::env::var("FIREFOX").ok();
    let starts = |program: &String| {
        let mut command = Command::new(program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    named.into_iter().chain(PROGRAMS.iter().map(|name| (*name).to_owned())).find(starts)
}

/// Starts server and browser, runs the test, and ends both whatever happened. Where no Firefox is installed, says so and is content.
///
/// # Errors
/// One of them does not start, or the test fails.
pub async fn with_firefox<F>(test: F) -> anyhow::Result<()>
where
    F: AsyncFnOnce(&mut Firefox) -> anyhow::Result<()>,
{
    let Some(program) = installed() else {
        eprintln!("skipped: no Firefox is installed; `cargo xtask doctor` says how to get it");
        return Ok(());
    };
    let _core = CORES.acquire().await?;
    let dist = crate::env::dist()?;
    let site = Site::read(&dist)?;
    let server = Server::start(dist).await?;
    test(&mut Firefox::start(&program, server, site).await?).await
}

impl Firefox {
    /// Starts the program with a fresh profile, without a window, and opens an empty page.
    async fn start(program: &str, server: Server, site: Site) -> anyhow::Result<Self> {
        let profile = Profile::new()?;
        std::fs::write(profile.0.join("user.js"), PREFERENCES)?;
        let (process, address) = Process::start(program, &profile)?;
        let address = format!("{address}/session");
        let listening = ClientBuilder::new().uri(&address)?;
        let (socket, _) =
            tokio::time::timeout(PATIENCE, listening.connect()).await.context("Firefox did not answer")??;
        let mut firefox = Self {
            server,
            site,
            _process: process,
            _profile: profile,
            socket,
            context: String::new(),
            last_id: 0,
            console: Vec::new(),
        };
        firefox.command("session.new", json!({"capabilities": {}})).await?;
        firefox.command("session.subscribe", json!({"events": ["log.entryAdded"]})).await?;
        let tree = firefox.command("browsingContext.getTree", json!({})).await?;
        let context = tree["contexts"][0]["context"].as_str().context("Firefox has no window")?;
        context.clone_into(&mut firefox.context);
        Ok(firefox)
    }

    /// Opens a page of the site, query and anchor included, and waits until it is loaded.
    ///
    /// # Errors
    /// The browser refuses.
    pub async fn open(&mut self, page: &str) -> anyhow::Result<()> {
        let where_to = json!({"context": self.context, "url": self.server.url(page), "wait": "complete"});
        self.command("browsingContext.navigate", where_to)
            .await
            .with_context(|| format!("{page} does not open"))
            .map(drop)
    }

    /// Runs a function body in the page; `arguments` are JSON, and so is what it returns.
    ///
    /// # Errors
    /// It throws.
    pub async fn script(&mut self, body: &str, arguments: &[Value]) -> anyhow::Result<Value> {
        // Values as JSON text: the protocol's own form of them tags each number.
        let function = format!(
            "async (all) => JSON.stringify(await (function () {{ {body} }}).apply(null, JSON.parse(all)) ?? null)"
        );
        let parameters = json!({
            "functionDeclaration": function,
            "arguments": [{"type": "string", "value": json!(arguments).to_string()}],
            "awaitPromise": true,
            "target": {"context": self.context},
        });
        let answer = self.command("script.callFunction", parameters).await?;
        let thrown = &answer["exceptionDetails"]["text"];
        anyhow::ensure!(answer["type"] == "success", "in the page: {body}: {thrown}");
        Ok(serde_json::from_str(answer["result"]["value"].as_str().context("a script gave no text")?)?)
    }

    /// Waits until an expression is true in the page.
    ///
    /// # Errors
    /// It is not within the time.
    pub async fn wait(&mut self, what: &str, seconds: f64, expression: &str) -> anyhow::Result<()> {
        let start = Instant::now();
        while self.script(&format!("return Boolean({expression})"), &[]).await? != Value::Bool(true) {
            if start.elapsed().as_secs_f64() > seconds {
                let labs = "return [...document.querySelectorAll('section[data-lab]')].map(s => [s.dataset.lab, s.dataset.state, \
                            s.querySelector('[data-lab-message]')?.textContent])";
                let labs = self.script(labs, &[]).await?;
                anyhow::bail!(
                    "{what} did not come about in {seconds} s; labs: {labs}; problems: {:?}",
                    self.problems()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Warnings and errors of the pages so far: what their scripts logged or threw, and what the browser said of their files, of
    /// fonts whose tables it discards for example.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.console
    }

    /// A command, and its result. Events that come meanwhile are kept.
    async fn command(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        self.last_id += 1;
        let id = self.last_id;
        let text = json!({"id": id, "method": method, "params": params}).to_string();
        let answer = async {
            self.socket.send(Message::text(text)).await?;
            loop {
                let message = self.socket.next().await.context("Firefox closed the connection")??;
                // Pings and the like are answered by the library.
                let Some(text) = message.as_text() else { continue };
                let said: Value = serde_json::from_str(text)?;
                if said["id"] == id {
                    return Ok(said);
                }
                self.console.extend(problem_in(&said));
            }
        };
        let answer: anyhow::Result<Value> =
            tokio::time::timeout(PATIENCE, answer).await.with_context(|| format!("no answer to {method}"))?;
        let answer = answer.with_context(|| method.to_owned())?;
        anyhow::ensure!(answer["type"] == "success", "{method}: {} {}", answer["error"], answer["message"]);
        Ok(answer["result"].clone())
    }
}

/// The words of an event that tells of a warning or an error.
fn problem_in(event: &Value) -> Option<String> {
    let entry = &event["params"];
    let is_problem = event["method"] == "log.entryAdded" && (entry["level"] == "error" || entry["level"] == "warn");
    is_problem.then(|| entry["text"].as_str().unwrap_or_default().to_owned())
}

/// The browser's process, which ends with this value.
struct Process(Child);

impl Process {
    /// Starts it and reads the address it listens on.
    fn start(program: &str, profile: &Profile) -> anyhow::Result<(Self, String)> {
        let mut child = Command::new(program)
            .args(["--headless", "--no-remote", "--remote-debugging-port", "0", "--profile"])
            .arg(&profile.0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{program} cannot be started; `cargo xtask doctor` says how to get it"))?;
        let stderr = child.stderr.take().context("its output was asked for")?;
        let process = Self(child);
        let (tell, told) = mpsc::channel();
        // Somebody must read on, or it blocks on a full pipe. Nobody listens any more once the address is known.
        std::thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).for_each(|line| drop(tell.send(line)))
        });
        let mut said = String::new();
        let end = Instant::now() + PATIENCE;
        while let Ok(line) = told.recv_timeout(end.saturating_duration_since(Instant::now())) {
            if let Some(address) = address_of(&line) {
                return Ok((process, address));
            }
            said.push_str(&line);
            said.push_str("; ");
        }
        anyhow::bail!("{program} did not say where it listens; it said: {said}")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn address_of(line: &str) -> Option<String> {
    let (_, address) = line.split_once("WebDriver BiDi listening on ")?;
    Some(address.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_what_firefox_says() {
        let line = "WebDriver BiDi listening on ws://127.0.0.1:41231";
        assert_eq!(address_of(line).as_deref(), Some("ws://127.0.0.1:41231"));
        assert_eq!(address_of("*** You are running in headless mode."), None);
    }

    #[test]
    fn warnings_and_errors_are_problems_and_nothing_else_is() {
        let entry = |level: &str| json!({"method": "log.entryAdded", "params": {"level": level, "text": "words"}});
        assert_eq!(problem_in(&entry("error")).as_deref(), Some("words"));
        assert_eq!(problem_in(&entry("warn")).as_deref(), Some("words"));
        assert_eq!(problem_in(&entry("info")), None);
        assert_eq!(problem_in(&json!({"method": "browsingContext.load", "params": {"level": "error"}})), None);
    }
}
