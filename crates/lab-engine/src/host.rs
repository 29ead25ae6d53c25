//! The browser's side of a running lab.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    ops::Range,
    rc::Rc,
};

use js_sys::{ArrayBuffer, Function, Promise, Uint8Array};
use lab_api::{AssetRef, Event, Report};
use lab_kit::{
    Host, HostInfo, LocalBoxFuture,
    measure::{CountingAllocator, MemoryReading, counting_allocator, memory_reading, reset_peak},
};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, DedicatedWorkerGlobalScope, MessageChannel, Response};

use crate::worker::post;

/// Counts what labs hold.
#[global_allocator]
static ALLOCATOR: CountingAllocator = counting_allocator();

thread_local! {
    /// Whether the page is hidden, and whether it was since that was last asked.
    static HIDDEN: Cell<(bool, bool)> = const { Cell::new((false, false)) };
}

/// The page went out of view, or came back.
pub(crate) fn hide(hidden: bool) {
    HIDDEN.set((hidden, hidden || HIDDEN.get().1));
}

/// The reader's files by the parameter they came with: handles, whose bytes are read where they are needed.
pub(crate) type Files = BTreeMap<String, Blob>;

/// One run in the worker.
pub(crate) struct BrowserHost {
    scope: DedicatedWorkerGlobalScope,
    run_id: u32,
    root: String,
    files: Files,
    cancelled: Rc<Cell<bool>>,
    yielder: Yielder,
}

impl BrowserHost {
    pub(crate) fn new(
        scope: DedicatedWorkerGlobalScope,
        run_id: u32,
        root: String,
        files: Files,
        cancelled: Rc<Cell<bool>>,
    ) -> Result<Self, JsValue> {
        Ok(Self { scope, run_id, root, files, cancelled, yielder: Yielder::new()? })
    }
}

impl Host for BrowserHost {
    fn fetch(&self, asset: AssetRef) -> LocalBoxFuture<'_, Result<Vec<u8>, String>> {
        Box::pin(async move {
            let url = format!("{}{}", self.root, asset.path);
            let answer = JsFuture::from(self.scope.fetch_with_str(&url))
                .await
                .map_err(|_| "it could not be fetched; is the network there?".to_owned())?;
            let answer: Response = answer.dyn_into().map_err(|_| "the browser gave no response".to_owned())?;
            if !answer.ok() {
                return Err(format!("the server answered {} for {}", answer.status(), asset.path));
            }
            let body = answer.array_buffer().map_err(|error| words(&error))?;
            let body =
                JsFuture::from(body).await.map_err(|_| "the connection broke while it was fetched".to_owned())?;
            let buffer: ArrayBuffer = body.dyn_into().map_err(|_| "the response had no body".to_owned())?;
            Ok(Uint8Array::new(&buffer).to_vec())
        })
    }

    fn now_ms(&self) -> f64 {
        self.scope.performance().map_or(0.0, |performance| performance.now())
    }

    fn yield_now(&self) -> LocalBoxFuture<'_, ()> {
        let turn = self.yielder.next_turn();
        Box::pin(async move {
            // A promise that only ever resolves.
            let _ = JsFuture::from(turn).await;
        })
    }

    fn cancelled(&self) -> bool {
        self.cancelled.get()
    }

    fn was_hidden(&self) -> bool {
        let (now, was) = HIDDEN.get();
        HIDDEN.set((now, now));
        was
    }

    fn progress(&self, stage: &str, fraction: f64) {
        post(&self.scope, &Event::Progress { run_id: self.run_id, stage: stage.to_owned(), fraction });
    }

    fn publish(&self, report: &Report) {
        post(&self.scope, &Event::Partial { run_id: self.run_id, report: report.clone() });
    }

    fn info(&self) -> HostInfo {
        let navigator = self.scope.navigator();
        HostInfo {
            host: "browser".into(),
            platform: navigator.user_agent().unwrap_or_default(),
            cores: navigator.hardware_concurrency() as u32,
            engine_version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    fn memory(&self) -> Option<MemoryReading> {
        Some(memory_reading(&ALLOCATOR))
    }

    fn file_bytes(&self, param: &str) -> Option<u64> {
        self.files.get(param).map(|file| file.size() as u64)
    }

    fn read_file(&self, param: &str, range: Range<u64>) -> LocalBoxFuture<'_, Result<Vec<u8>, String>> {
        let part = match self.files.get(param) {
            // Exact: no file reaches 2^53 bytes.
            Some(file) => file.slice_with_f64_and_f64(range.start as f64, range.end as f64),
            None => return Box::pin(std::future::ready(Err("no file came with the run".to_owned()))),
        };
        Box::pin(async move {
            let gone =
                |_| "the browser cannot read it any more; it was moved or changed, so choose it again".to_owned();
            let bytes = part.map_err(gone)?.array_buffer();
            Ok(Uint8Array::new(&JsFuture::from(bytes).await.map_err(gone)?).to_vec())
        })
    }

    fn reset_peak(&self) {
        reset_peak(&ALLOCATOR);
    }
}

/// Waits for the next turn of the event loop by a message to oneself. `setTimeout` would do, but browsers stretch nested
/// timers to 4 ms, and a lab yields every few milliseconds of work.
struct Yielder {
    channel: MessageChannel,
    waiting: Rc<RefCell<VecDeque<Function>>>,
    _on_message: Closure<dyn FnMut()>,
}

impl Yielder {
    fn new() -> Result<Self, JsValue> {
        let channel = MessageChannel::new()?;
        let waiting = Rc::new(RefCell::new(VecDeque::<Function>::new()));
        let queue = Rc::clone(&waiting);
        let on_message = Closure::<dyn FnMut()>::new(move || {
            let next = queue.borrow_mut().pop_front();
            if let Some(resolve) = next {
                let _ = resolve.call0(&JsValue::NULL);
            }
        });
        channel.port1().set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        Ok(Self { channel, waiting, _on_message: on_message })
    }

    fn next_turn(&self) -> Promise {
        Promise::new(&mut |resolve, _| {
            self.waiting.borrow_mut().push_back(resolve);
            let _ = self.channel.port2().post_message(&JsValue::NULL);
        })
    }
}

impl Drop for Yielder {
    fn drop(&mut self) {
        // An open port with a handler would keep the closure's memory referenced after it is freed.
        self.channel.port1().set_onmessage(None);
        self.channel.port1().close();
    }
}

fn words(error: &JsValue) -> String {
    error.as_string().unwrap_or_else(|| format!("{error:?}"))
}
