//! What the widget asks of the browser. Failures become words.

use std::pin::Pin;

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Element, Request, RequestCache, RequestInit, Response, Url, UrlSearchParams, Window};

use crate::Adapter;

/// The window. A widget is mounted from a page, so there is one.
pub(crate) fn window() -> Option<Window> {
    web_sys::window()
}

/// Tells the page's scripts of something, in the words in which it came, and gives what they made of them.
pub(crate) fn announce(name: &str, words: JsValue) -> JsValue {
    let (Some(window), Ok(event)) = (window(), web_sys::Event::new(name)) else { return words };
    let detail = "detail".into();
    let _ = Reflect::set(&event, &detail, &words);
    let _ = window.dispatch_event(&event);
    Reflect::get(&event, &detail).unwrap_or(words)
}

/// Milliseconds of a clock that does not jump.
pub(crate) fn now_ms() -> f64 {
    window().and_then(|window| window.performance()).map_or(0.0, |clock| clock.now())
}

/// Whether the reader sees another tab.
pub(crate) fn is_hidden() -> bool {
    window().and_then(|window| window.document()).is_some_and(|document| document.hidden())
}

/// The book's root as an absolute address ending in `/`; the page tells it in `<html data-root>`.
pub(crate) fn root() -> Option<String> {
    let window = window()?;
    let here = window.location().href().ok()?;
    let relative = window.document()?.document_element()?.get_attribute("data-root").unwrap_or_default();
    let relative = if relative.is_empty() { "./" } else { &relative };
    Some(Url::new_with_base(relative, &here).ok()?.href())
}

/// The page's query, decoded.
pub(crate) fn query() -> Vec<(String, String)> {
    let search = window().and_then(|window| window.location().search().ok()).unwrap_or_default();
    let Ok(params) = UrlSearchParams::new_with_str(&search) else { return Vec::new() };
    let Ok(Some(entries)) = js_sys::try_iter(&params) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pair: js_sys::Array = entry.dyn_into().ok()?;
            Some((pair.get(0).as_string()?, pair.get(1).as_string()?))
        })
        .collect()
}

/// The address of this page with another query and fragment.
pub(crate) fn address(pairs: &[(String, String)], fragment: &str) -> Option<String> {
    let url = Url::new(&window()?.location().href().ok()?).ok()?;
    let params = UrlSearchParams::new().ok()?;
    for (name, value) in pairs {
        params.append(name, value);
    }
    url.set_search(&String::from(params.to_string()));
    url.set_hash(fragment);
    Some(url.href())
}

/// Puts an address in place of the present one, without a new entry in the history.
pub(crate) fn replace_address(address: &str) {
    if let Some(history) = window().and_then(|window| window.history().ok()) {
        // Browsers refuse more than 100 calls in half a minute; the next one succeeds again.
        let _ = history.replace_state_with_url(&JsValue::NULL, "", Some(address));
    }
}

/// Puts text on the clipboard, if the browser lets us.
pub(crate) async fn copy(text: &str) -> bool {
    let Some(window) = window() else { return false };
    // Absent outside secure contexts, where the typed binding would throw.
    let clipboard = Reflect::get(&window.navigator(), &"clipboard".into()).unwrap_or(JsValue::UNDEFINED);
    match clipboard.dyn_into::<web_sys::Clipboard>() {
        Ok(clipboard) => JsFuture::from(clipboard.write_text(text)).await.is_ok(),
        Err(_) => false,
    }
}

/// Runs in the background. Boxed, so that there is one such task type in the WASM instead of one per caller.
pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) {
    let task: Pin<Box<dyn Future<Output = ()>>> = Box::pin(task);
    wasm_bindgen_futures::spawn_local(task);
}

/// Waits.
pub(crate) async fn sleep(milliseconds: i32) {
    let turn = Promise::new(&mut |resolve, _| {
        if let Some(window) = window() {
            let _ = window.set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, milliseconds);
        }
    });
    let _ = JsFuture::from(turn).await;
}

/// Waits until the page is about to be painted.
pub(crate) async fn next_frame() {
    let turn = Promise::new(&mut |resolve, _| {
        if let Some(window) = window() {
            let _ = window.request_animation_frame(&resolve);
        }
    });
    let _ = JsFuture::from(turn).await;
}

/// The text at an address, past every cache.
pub(crate) async fn fetch_text(address: &str) -> Result<String, String> {
    let options = RequestInit::new();
    options.set_cache(RequestCache::NoStore);
    let request = Request::new_with_str_and_init(address, &options).map_err(|error| words(&error))?;
    let window = window().ok_or("there is no window")?;
    let answer = JsFuture::from(window.fetch_with_request(&request)).await.map_err(|error| words(&error))?;
    let answer: Response = answer.dyn_into().map_err(|error| words(&error))?;
    if !answer.ok() {
        return Err(format!("the server answered {}", answer.status()));
    }
    let text = answer.text().map_err(|error| words(&error))?;
    JsFuture::from(text).await.map_err(|error| words(&error))?.as_string().ok_or_else(|| "no text came back".to_owned())
}

/// Asks for a WebGPU adapter. By reflection: the typed bindings are unstable, and most of them we do not need.
pub(crate) async fn adapter() -> Adapter {
    match request_adapter().await {
        Some(adapter) if adapter.is_object() => {
            let info = Reflect::get(&adapter, &"info".into()).unwrap_or(JsValue::UNDEFINED);
            // The property moved from the adapter to its info.
            let software = [&info, &adapter]
                .into_iter()
                .filter(|holder| holder.is_object())
                .any(|holder| Reflect::get(holder, &"isFallbackAdapter".into()).is_ok_and(|v| v.is_truthy()));
            if software { Adapter::Software } else { Adapter::Real }
        }
        _ => Adapter::None,
    }
}

fn gpu() -> Option<JsValue> {
    Reflect::get(&window()?.navigator(), &"gpu".into()).ok().filter(JsValue::is_object)
}

/// Whether the browser knows WebGPU, without asking it for an adapter.
pub(crate) fn may_have_gpu() -> bool {
    gpu().is_some()
}

async fn request_adapter() -> Option<JsValue> {
    let gpu = gpu()?;
    let ask: Function = Reflect::get(&gpu, &"requestAdapter".into()).ok()?.dyn_into().ok()?;
    let promise: Promise = ask.call0(&gpu).ok()?.dyn_into().ok()?;
    JsFuture::from(promise).await.ok()
}

/// The first element in `area` that a selector of ours matches.
pub(crate) fn find(area: &Element, selector: &str) -> Option<Element> {
    area.query_selector(selector).ok().flatten()
}

/// All elements in `area` that a selector of ours matches.
pub(crate) fn find_all(area: &Element, selector: &str) -> Vec<Element> {
    let mut all = Vec::new();
    if let Ok(list) = area.query_selector_all(selector) {
        for i in 0..list.length() {
            all.extend(list.get(i).and_then(|node| node.dyn_into::<Element>().ok()));
        }
    }
    all
}

/// Where the keyboard is.
pub(crate) fn active() -> Option<Element> {
    window()?.document()?.active_element()
}

/// Sets words, if they are others: a live region speaks at every change.
pub(crate) fn set_text(area: &Element, selector: &str, words: &str) {
    if let Some(element) = find(area, selector)
        && element.text_content().as_deref() != Some(words)
    {
        element.set_text_content(Some(words));
    }
}

/// Sets or removes an attribute.
pub(crate) fn set_attribute(area: &Element, selector: &str, name: &str, value: Option<&str>) {
    if let Some(element) = find(area, selector) {
        let _ = match value {
            Some(value) => element.set_attribute(name, value),
            None => element.remove_attribute(name),
        };
    }
}

/// Hides or shows an element.
pub(crate) fn set_hidden(area: &Element, selector: &str, hidden: bool) {
    set_attribute(area, selector, "hidden", hidden.then_some(""));
}

/// The words of a JavaScript error.
pub(crate) fn words(error: &JsValue) -> String {
    let message = Reflect::get(error, &"message".into()).ok().and_then(|message| message.as_string());
    message.or_else(|| error.as_string()).unwrap_or_else(|| "an unknown error".to_owned())
}
