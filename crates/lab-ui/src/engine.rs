//! A worker that holds an engine, spoken to in [`Request`]s and heard in [`Event`]s.

use std::cell::Cell;
use std::rc::Rc;

use lab_api::{Event, Request};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{ErrorEvent, MessageEvent, Worker, WorkerOptions, WorkerType};

use crate::decode::from_json;
use crate::setting::Files;
use crate::{encode, page};

/// How [`Event::Done`] begins as JSON.
const DONE: &str = "{\"event\":\"done\"";

/// What comes from a worker.
pub(crate) enum Heard {
    /// An event.
    Said(Event),
    /// It broke; words, as far as there are any.
    Broke(String),
}

/// A running worker. Dropping it terminates it.
pub(crate) struct Engine {
    worker: Worker,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut(ErrorEvent)>,
    _on_garbled: Closure<dyn FnMut(MessageEvent)>,
}

impl Engine {
    /// Starts the module worker at this address.
    pub(crate) fn start(address: &str, hear: Rc<dyn Fn(Heard)>) -> Result<Self, String> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        let worker = Worker::new_with_options(address, &options).map_err(|error| page::words(&error))?;
        let loaded = Rc::new(Cell::new(false));

        let (told, known) = (Rc::clone(&hear), Rc::clone(&loaded));
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |message: MessageEvent| {
            let mut text = message.data().as_string().unwrap_or_default();
            // The page's scripts keep the record, and lay the reference behind its charts.
            if text.starts_with(DONE) {
                text = page::announce("lab-record", message.data()).as_string().unwrap_or_default();
            }
            match from_json(&text) {
                Ok(event) => {
                    known.set(true);
                    told(Heard::Said(event));
                }
                Err(error) => told(Heard::Broke(format!("its words cannot be read ({error})"))),
            }
        });
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));

        let told = Rc::clone(&hear);
        let on_error = Closure::<dyn FnMut(ErrorEvent)>::new(move |error: ErrorEvent| {
            error.prevent_default();
            // A worker whose script cannot be fetched sends a plain event, without words.
            let words = js_sys::Reflect::get(&error, &"message".into()).ok().and_then(|m| m.as_string());
            told(Heard::Broke(match words.filter(|words| !words.is_empty()) {
                Some(words) => words.strip_prefix("Uncaught ").unwrap_or(&words).to_owned(),
                None if !loaded.get() => "its files could not be fetched; check the connection".to_owned(),
                None => "it gave no reason".to_owned(),
            }));
        });
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));

        let on_garbled = Closure::<dyn FnMut(MessageEvent)>::new(move |_| {
            hear(Heard::Broke("its words cannot be read".to_owned()));
        });
        worker.set_onmessageerror(Some(on_garbled.as_ref().unchecked_ref()));

        Ok(Self { worker, _on_message: on_message, _on_error: on_error, _on_garbled: on_garbled })
    }

    /// Sends a request, with files beside it: their handles, not their bytes. What arrives before the engine is loaded is
    /// kept by `worker.js`.
    pub(crate) fn send(&self, request: &Request, files: &Files) -> Result<(), String> {
        let text = JsValue::from_str(&encode::request(request));
        let list = js_sys::Array::of1(&text);
        for (param, file) in files {
            list.push(&JsValue::from_str(param));
            list.push(file);
        }
        let message = if files.is_empty() { &text } else { list.as_ref() };
        self.worker.post_message(message).map_err(|error| page::words(&error))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Handlers first: the closures go with this value, and a late event must not call into them.
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.worker.set_onmessageerror(None);
        self.worker.terminate();
    }
}
