//! An author at work: `serve` shows an edit soon, keeps the last good pages while the book is broken, and says what is wrong.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Limits as `budgets.toml` has them.
fn limit_s(name: &str) -> f64 {
    let budgets: toml::Table = include_str!("../../../budgets.toml").parse().expect("valid");
    budgets[name]["limit"].as_float().expect("a number")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copies");
        }
    }
}

/// The program, ended with the test.
struct Served {
    program: Child,
    /// `127.0.0.1:port`.
    address: String,
}

impl Served {
    fn start(root: &Path) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_site-builder"))
            .args(["serve", "--port", "0", "--root"])
            .arg(root)
            .arg("--out")
            .arg(root.join("pages"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let mut line = String::new();
        BufReader::new(program.stdout.take().expect("piped")).read_line(&mut line).expect("an address");
        let address = line.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
        Self { program, address }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("serves");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("asks");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("answers");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Waits until open pages are told of a problem that holds these words.
    fn until_told(&self, words: &str) {
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < Duration::from_secs(60), "nobody is told of “{words}”");
            let mut stream = TcpStream::connect(&self.address).expect("serves");
            stream.set_read_timeout(Some(Duration::from_millis(200))).expect("can be set");
            write!(stream, "GET /__reload HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("asks");
            // The stream of events never ends: read what comes at once.
            let (mut told, mut chunk) = (String::new(), [0; 4096]);
            while let Ok(read @ 1..) = stream.read(&mut chunk) {
                told.push_str(&String::from_utf8_lossy(&chunk[..read]));
            }
            if told.contains("event: problem") && told.contains(words) {
                return;
            }
        }
    }

    /// Seconds until a page shows these words.
    fn seconds_until(&self, path: &str, words: &str) -> f64 {
        let start = Instant::now();
        while !self.get(path).contains(words) {
            assert!(start.elapsed() < Duration::from_secs(60), "{path} never shows “{words}”");
            std::thread::sleep(Duration::from_millis(10));
        }
        start.elapsed().as_secs_f64()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

#[test]
fn an_edit_is_shown_soon_and_a_mistake_loses_nothing() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace");
    let place = tempfile::tempdir().expect("temporary folder");
    let root = place.path();
    for folder in
        ["book", "site", "assets", "labs/src", "crates/lab-kit/src", "crates/lab-layers/src", "crates/lab-kernels/src"]
    {
        copy(&workspace.join(folder), &root.join(folder));
    }
    let served = Served::start(root);
    let page = "/how-to-use.html";
    let source = root.join("book/src/how-to-use.md");
    let text = std::fs::read_to_string(&source).expect("the chapter");
    let write = |added: &str| std::fs::write(&source, format!("{text}\n\n{added}\n")).expect("writes");
    served.seconds_until(page, "</html>");

    // The best of three: the machine may be busy with other things.
    let edit_s = (0..3).fold(f64::INFINITY, |best, turn| {
        let words = format!("A new sentence, number {turn}.");
        write(&words);
        best.min(served.seconds_until(page, &words))
    });
    let limit_s = limit_s("prose_edit");
    println!("edit to page: {edit_s:.2} s (limit {limit_s} s)");
    assert!(edit_s < 5.0 * limit_s, "{edit_s:.2} s");

    write("See @sec-nowhere.");
    served.until_told("book/src/how-to-use.md");
    assert!(served.get(page).contains("A new sentence, number 2."), "the last good page is gone");
    write("All is well again.");
    served.seconds_until(page, "All is well again.");

    // Code of the kit is quoted too.
    let source = root.join("crates/lab-kernels/src/quant/naive.rs");
    let text = std::fs::read_to_string(&source).expect("the naive kernels");
    let mark = "// ANCHOR: fake_quantize\n";
    assert!(text.contains(mark), "the chapter on rounding quotes another piece of code now");
    std::fs::write(&source, text.replace(mark, &format!("{mark}// Words put in by a test.\n"))).expect("writes");
    served.seconds_until("/tactics/quantization/rounding.html", "Words put in by a test.");
}
