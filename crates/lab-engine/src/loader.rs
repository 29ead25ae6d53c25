//! Nested workers of this same engine, which make batches for a lab: see `lab_kit::loading`.
//!
//! The compiled module is posted to a worker with the script that started this one, so that nothing is fetched but what the browser
//! has already. Batches come as transferred buffers, which go back empty with a later wish. No memory is shared.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
};

use js_sys::{
    Array, ArrayBuffer, Float32Array, Float64Array, Function, Object, Promise, Reflect, Uint8Array, Uint32Array,
};
use lab_kit::{
    LocalBoxFuture,
    loading::{Answer, Letter, LetterBox, LoadPlan, LoaderPort, Wanted},
};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use wasm_bindgen_futures::JsFuture;
use web_sys::{DedicatedWorkerGlobalScope, MessageEvent};

/// How long workers may take to start, and an answer is waited for at once, in milliseconds.
const STARTS: f64 = 5000.0;
const PATIENCE: f64 = 20.0;
/// Empty buffers that are kept.
const SPARE: usize = 32;

#[wasm_bindgen]
extern "C" {
    type Worker;
    #[wasm_bindgen(constructor, catch)]
    fn new(url: &str, options: &JsValue) -> Result<Worker, JsValue>;
    #[wasm_bindgen(method, catch, js_name = postMessage)]
    fn post(this: &Worker, message: &JsValue, transfer: &Array) -> Result<(), JsValue>;
    #[wasm_bindgen(method, setter)]
    fn set_onmessage(this: &Worker, listener: Option<&Function>);
    #[wasm_bindgen(method, setter)]
    fn set_onerror(this: &Worker, listener: Option<&Function>);
    #[wasm_bindgen(method)]
    fn terminate(this: &Worker);
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(call: &Function, ms: f64);
    #[wasm_bindgen(js_namespace = location, thread_local_v2, js_name = href)]
    static HREF: String;
}

/// Milliseconds on a clock that all workers of a page share.
fn clock() -> f64 {
    let scope = js_sys::global().dyn_into::<DedicatedWorkerGlobalScope>().ok();
    scope.and_then(|scope| scope.performance()).map_or(0.0, |clock| clock.time_origin() + clock.now())
}

/// What has come.
#[derive(Default)]
struct Inbox {
    ready: Cell<usize>,
    answers: RefCell<VecDeque<Answer>>,
    spare: RefCell<Vec<ArrayBuffer>>,
    waiting: RefCell<Option<Function>>,
}

impl Inbox {
    fn take(&self, answer: Option<Answer>) {
        match answer {
            Some(answer) => self.answers.borrow_mut().push_back(answer),
            None => self.ready.set(self.ready.get() + 1),
        }
        if let Some(resolve) = self.waiting.borrow_mut().take() {
            let _ = resolve.call0(&JsValue::NULL);
        }
    }
}

struct Nested {
    worker: Worker,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut(JsValue)>,
}

impl Drop for Nested {
    fn drop(&mut self) {
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.worker.terminate();
    }
}

/// The lab's side.
struct Workers {
    nested: Vec<Nested>,
    inbox: Rc<Inbox>,
    zero: f64,
}

/// See [`lab_kit::loading::Spawner`].
pub(crate) fn spawn(plan: &LoadPlan, workers: usize) -> LocalBoxFuture<'static, Result<Box<dyn LoaderPort>, String>> {
    let started = Workers::start(plan, workers);
    Box::pin(async move {
        let port = started?;
        while port.inbox.ready.get() < workers {
            if let Some(Answer::Failed { why, .. }) = port.receive() {
                return Err(why);
            }
            if port.now_ms() > STARTS {
                return Err("the browser did not start them within five seconds".into());
            }
            port.wait().await;
        }
        Ok(Box::new(port) as Box<dyn LoaderPort>)
    })
}

impl Workers {
    fn start(plan: &LoadPlan, workers: usize) -> Result<Self, String> {
        let scope = js_sys::global().dyn_into::<DedicatedWorkerGlobalScope>().map_err(|_| "this is no worker")?;
        if scope.navigator().hardware_concurrency() < 2.0 {
            return Err("this device has one core".into());
        }
        let zero = clock();
        let refused = |_| "the browser refuses workers of a worker".to_owned();
        let options = Object::new();
        for (key, value) in [("type", "module"), ("name", "loader")] {
            Reflect::set(&options, &key.into(), &value.into()).map_err(refused)?;
        }
        let inbox = Rc::new(Inbox::default());
        let mut nested = Vec::new();
        for number in 1..=workers {
            let worker = HREF.with(|href| Worker::new(href, &options)).map_err(refused)?;
            let (here, hears) = (Rc::clone(&inbox), Rc::clone(&inbox));
            let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |message: MessageEvent| {
                here.take(here.read(number, &message.data(), zero));
            });
            let on_error = Closure::<dyn FnMut(JsValue)>::new(move |event: JsValue| {
                // Else the error would go on to the page, which would end this worker.
                if let Ok(prevent) =
                    Reflect::get(&event, &"preventDefault".into()).and_then(JsCast::dyn_into::<Function>)
                {
                    let _ = prevent.call0(&event);
                }
                let why = Reflect::get(&event, &"message".into()).ok().and_then(|words| words.as_string());
                let why = why.unwrap_or_else(|| "its script could not be loaded".into());
                hears.take(Some(Answer::Failed { worker: number, why }));
            });
            worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
            worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
            let head = Float64Array::from(plan.letter().head.as_slice());
            let first = Array::of3(&wasm_bindgen::module(), &head, &Uint8Array::from(plan.data.as_slice()));
            worker.post(&first, &Array::new()).map_err(refused)?;
            nested.push(Nested { worker, _on_message: on_message, _on_error: on_error });
        }
        Ok(Self { nested, inbox, zero })
    }
}

impl Inbox {
    /// A worker's words; `None` where it only says that it listens.
    fn read(&self, worker: usize, data: &JsValue, zero: f64) -> Option<Answer> {
        let (mut letter, buffer) = read(data);
        if letter.head.is_empty() && letter.why.is_empty() {
            return None;
        }
        if let Some(buffer) = buffer {
            letter.values = Float32Array::new(&buffer).to_vec();
            let mut spare = self.spare.borrow_mut();
            if spare.len() < SPARE {
                spare.push(buffer);
            }
        }
        let mut answer = Answer::of(worker, letter);
        if let Answer::Made(made) = &mut answer {
            made.span.iter_mut().for_each(|ms| *ms -= zero);
        }
        Some(answer)
    }
}

impl LoaderPort for Workers {
    fn workers(&self) -> usize {
        self.nested.len()
    }

    fn send(&self, worker: usize, wanted: Wanted) {
        // What is copied has no buffer that comes back.
        let spare = if wanted.copied { None } else { self.inbox.spare.borrow_mut().pop() };
        let transfer = spare.iter().collect::<Array>();
        let message = written(&wanted.letter(), spare.as_ref());
        if self.nested[worker].worker.post(&message, &transfer).is_err() {
            let why = "it cannot be reached".to_owned();
            self.inbox.answers.borrow_mut().push_back(Answer::Failed { worker: worker + 1, why });
        }
    }

    fn receive(&self) -> Option<Answer> {
        self.inbox.answers.borrow_mut().pop_front()
    }

    fn wait(&self) -> LocalBoxFuture<'_, ()> {
        let heard = Promise::new(&mut |resolve, _| {
            set_timeout(&resolve, PATIENCE);
            *self.inbox.waiting.borrow_mut() = Some(resolve);
        });
        Box::pin(async move {
            // A promise that only ever resolves.
            let _ = JsFuture::from(heard).await;
        })
    }

    fn now_ms(&self) -> f64 {
        clock() - self.zero
    }
}

/// A letter as a message: head, items, buffer, words.
fn written(letter: &Letter, buffer: Option<&ArrayBuffer>) -> Array {
    let message = Array::new();
    message.push(&Float64Array::from(letter.head.as_slice()));
    message.push(&Uint32Array::from(letter.items.as_slice()));
    message.push(&buffer.map_or(JsValue::NULL, JsValue::from));
    message.push(&letter.why.as_str().into());
    message
}

/// The reverse, without the floats.
fn read(data: &JsValue) -> (Letter, Option<ArrayBuffer>) {
    let Some(parts) = data.dyn_ref::<Array>() else { return (Letter::failed("it sent what is no letter"), None) };
    let letter = Letter {
        head: parts.get(0).dyn_ref::<Float64Array>().map(Float64Array::to_vec).unwrap_or_default(),
        items: parts.get(1).dyn_ref::<Uint32Array>().map(Uint32Array::to_vec).unwrap_or_default(),
        why: parts.get(3).as_string().unwrap_or_default(),
        values: Vec::new(),
    };
    (letter, parts.get(2).dyn_into().ok())
}

/// A nested worker's side: takes the plan and its data, says that it listens, and answers wishes. Called once by `worker.js`.
///
/// # Errors
/// A JavaScript error when this is not a dedicated worker, or when it was sent no plan.
#[wasm_bindgen]
pub fn serve_loader(first: Array) -> Result<(), JsValue> {
    let scope: DedicatedWorkerGlobalScope = js_sys::global().dyn_into()?;
    let plan = Letter { head: first.get(1).dyn_into::<Float64Array>()?.to_vec(), ..Letter::default() };
    let data = first.get(2).dyn_into::<Uint8Array>()?.to_vec();
    let mut letters = LetterBox::open(&plan, data).map_err(|why| JsValue::from_str(&why))?;
    let place = letters.place();
    std::panic::set_hook(Box::new(move |info| {
        // The instance aborts right after this; these are the words for it.
        if let Ok(scope) = js_sys::global().dyn_into::<DedicatedWorkerGlobalScope>() {
            let _ = scope.post_message(&written(&Letter::failed(&format!("{place}: {info}")), None));
        }
    }));
    let answers = scope.clone();
    let mut kept = Vec::new();
    let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |message: MessageEvent| {
        let (wish, buffer) = read(&message.data());
        let mut letter = letters.answer(&wish, std::mem::take(&mut kept), &clock);
        let bytes = 4 * letter.values.len() as u32;
        let buffer = buffer.filter(|buffer| buffer.byte_length() == bytes).unwrap_or_else(|| ArrayBuffer::new(bytes));
        Float32Array::new(&buffer).copy_from(&letter.values);
        kept = std::mem::take(&mut letter.values);
        let message = written(&letter, Some(&buffer));
        // Who is gone does not hear.
        let _ = if Wanted::is_copied(&wish) {
            answers.post_message(&message)
        } else {
            answers.post_message_with_transfer(&message, &Array::of1(&buffer))
        };
    });
    scope.add_event_listener_with_callback("message", on_message.as_ref().unchecked_ref())?;
    // Lives as long as the worker.
    on_message.forget();
    scope.post_message(&written(&Letter::default(), None))
}
