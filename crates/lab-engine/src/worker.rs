//! Messages in, messages out, one run at a time.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use lab_api::{Event, LabError, Request, RunRecord, RunRequest};
use lab_kit::{Context, execute, find};
use labs::registry;
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use wasm_bindgen_futures::spawn_local;
use web_sys::{Blob, DedicatedWorkerGlobalScope, MessageEvent};

use crate::{
    device,
    host::{BrowserHost, Files, hide},
    loader, trouble,
};

/// The run that is going on.
struct Running {
    run_id: u32,
    cancelled: Rc<Cell<bool>>,
}

thread_local! {
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

/// Listens to the page. Called once by the bundle's `worker.js`.
///
/// # Errors
/// A JavaScript error when this is not a dedicated worker.
#[wasm_bindgen]
pub fn start() -> Result<(), JsValue> {
    let scope: DedicatedWorkerGlobalScope = js_sys::global().dyn_into()?;
    trouble::watch();
    lab_kit::loading::install(Some(loader::spawn));
    let answer_in = scope.clone();
    let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |message: MessageEvent| {
        let (text, files) = parts(&message.data());
        match serde_json::from_str(&text) {
            Ok(Request::Run(request)) => begin(&answer_in, request, files),
            Ok(Request::Cancel) => RUNNING.with_borrow(|running| {
                if let Some(running) = running {
                    running.cancelled.set(true);
                }
            }),
            Ok(Request::Hidden { hidden }) => hide(hidden),
            Err(error) => {
                let why = format!("it was sent something that is not a request ({error})");
                post(&answer_in, &Event::Failed { run_id: 0, error: LabError::Engine { why } });
            }
        }
    });
    scope.add_event_listener_with_callback("message", on_message.as_ref().unchecked_ref())?;
    // Lives as long as the worker.
    on_message.forget();
    post(&scope, &Event::Ready);
    Ok(())
}

/// A request's text, and the files that came beside it: see [`lab_api::RunRequest`].
fn parts(data: &JsValue) -> (String, Files) {
    let Some(list) = data.dyn_ref::<js_sys::Array>() else {
        return (data.as_string().unwrap_or_default(), Files::new());
    };
    let mut files = Files::new();
    for i in (1..list.length()).step_by(2) {
        if let (Some(param), Ok(file)) = (list.get(i).as_string(), list.get(i + 1).dyn_into::<Blob>()) {
            files.insert(param, file);
        }
    }
    (list.get(0).as_string().unwrap_or_default(), files)
}

fn begin(scope: &DedicatedWorkerGlobalScope, request: RunRequest, files: Files) {
    let run_id = request.run_id;
    let cancelled = Rc::new(Cell::new(false));
    let busy = RUNNING.with_borrow_mut(|running| {
        let busy = running.is_some();
        if !busy {
            *running = Some(Running { run_id, cancelled: Rc::clone(&cancelled) });
        }
        busy
    });
    if busy {
        let why = "it is already running a lab; cancel that run or wait for it".into();
        return post(scope, &Event::Failed { run_id, error: LabError::Engine { why } });
    }
    let scope = scope.clone();
    spawn_local(async move {
        trouble::clear();
        let outcome = run(&scope, request, files, cancelled).await;
        // An error in the log outranks a result: the numbers cannot be trusted. It also explains a failure best.
        let outcome = match (outcome, trouble::logged()) {
            (Err(LabError::Cancelled), _) => Err(LabError::Cancelled),
            (_, Some(error)) => Err(error),
            (outcome, None) => outcome,
        };
        RUNNING.with_borrow_mut(Option::take);
        post(
            &scope,
            &match outcome {
                Ok(record) => Event::Done { run_id, record: Box::new(record) },
                Err(error) => Event::Failed { run_id, error },
            },
        );
    });
}

async fn run(
    scope: &DedicatedWorkerGlobalScope,
    request: RunRequest,
    files: Files,
    cancelled: Rc<Cell<bool>>,
) -> Result<RunRecord, LabError> {
    let entry = find(registry::ALL, &request.lab)?;
    let (device, remark) = device::open(request.device).await?;
    post(scope, &Event::Started { run_id: request.run_id, device: device.1.clone() });
    let host = BrowserHost::new(scope.clone(), request.run_id, request.root, files, cancelled)
        .map_err(|error| LabError::Engine { why: format!("{error:?}") })?;
    let mut context = Context::new(device, request.seed, request.assets, Rc::new(host));
    let mut record = execute(entry, &request.values, &mut context).await?;
    record.report.notes.extend(remark);
    Ok(record)
}

/// The id of the run that is going on.
pub(crate) fn current_run() -> Option<u32> {
    RUNNING.with_borrow(|running| running.as_ref().map(|running| running.run_id))
}

/// Sends an event to the page.
pub(crate) fn post(scope: &DedicatedWorkerGlobalScope, event: &Event) {
    // Events are plain data and always serialize; a page that is gone does not hear, which is no failure of ours.
    if let Ok(text) = serde_json::to_string(event) {
        let _ = scope.post_message(&JsValue::from_str(&text));
    }
}
