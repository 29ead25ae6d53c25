//! An engine of the site without a page around it: its worker, called directly, with everything counted that it asks of WebGPU.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::browser::Tab;
use crate::server::Fault;

/// What a call asked of WebGPU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Kernels started.
    pub dispatches: f64,
    /// Pipelines compiled.
    pub pipelines: f64,
    /// Buffers mapped for reading.
    pub readbacks: f64,
    /// Command buffers handed over.
    pub submits: f64,
    /// Writes into buffers: uploads and words for kernels.
    pub writes: f64,
    /// Buffers made.
    pub buffers: f64,
    /// Shaders compiled that multiply four bytes at once.
    pub integer_shaders: f64,
    /// Bytes of the largest part of a buffer that a kernel was handed.
    pub largest_binding: f64,
}

/// Stands before `worker.js`: counts, and lets the page call exports of the engine.
const LISTEN: &str =
    "{ const counts = { dispatches: 0, pipelines: 0, readbacks: 0, submits: 0, writes: 0, buffers: 0, integer_shaders: 0,
        largest_binding: 0 };
    const watch = (name, method, key, counted = () => true) => {
        const owner = self[name]?.prototype, original = owner?.[method];
        if (original) owner[method] = function (...all) {
            if (counted(...all)) counts[key]++;
            return original.apply(this, all);
        };
    };
    watch('GPUComputePassEncoder', 'dispatchWorkgroups', 'dispatches');
    watch('GPUComputePassEncoder', 'dispatchWorkgroupsIndirect', 'dispatches');
    watch('GPUDevice', 'createComputePipeline', 'pipelines');
    watch('GPUDevice', 'createComputePipelineAsync', 'pipelines');
    watch('GPUBuffer', 'mapAsync', 'readbacks');
    watch('GPUQueue', 'submit', 'submits');
    watch('GPUQueue', 'writeBuffer', 'writes');
    watch('GPUDevice', 'createBuffer', 'buffers');
    watch('GPUDevice', 'createShaderModule', 'integer_shaders', ({ code }) => code.includes('dot4U8Packed'));
    const bound = ({ resource: { buffer, offset = 0, size } }) => buffer ? size ?? buffer.size - offset : 0;
    watch('GPUDevice', 'createBindGroup', 'bind_groups', ({ entries }) => {
        counts.largest_binding = Math.max(counts.largest_binding, ...entries.map(bound));
    });
    self.addEventListener('message', async (event) => {
        if (typeof event.data === 'string') return;
        event.stopImmediatePropagation();
        counts.largest_binding = 0;
        const { name, words } = event.data, before = { ...counts };
        let answer;
        try { answer = { value: await (await import('./{engine}.js'))[name](...words) }; }
        catch (error) { answer = { error: String(error?.message ?? error) }; }
        const asked = Object.fromEntries(Object.keys(counts).map((key) => [key, counts[key] - before[key]]));
        self.postMessage({ ...answer, counts: asked });
    }); }";

/// Starts the worker; its answers, and whatever breaks it, are kept on the page.
const START: &str = "const [address] = arguments;
    window.engine?.terminate();
    window.engine = new Worker(address, { type: 'module' });
    window.answer = null; window.listening = false;
    window.engine.onmessage = ({ data }) => { if (typeof data === 'string') window.listening = true; else window.answer = data; };
    window.engine.onerror = (event) => { window.answer = { error: event.message ?? 'the worker broke' }; };";

/// A started engine.
#[derive(Debug)]
pub struct Engine<'a> {
    tab: &'a Tab,
}

impl<'a> Engine<'a> {
    /// Starts the engine `cpu` or `gpu` of the site in an otherwise empty page.
    ///
    /// # Errors
    /// The site has no such engine, or it does not start within a minute.
    pub async fn start(tab: &'a Tab, name: &str) -> anyhow::Result<Self> {
        let manifest: Value = serde_json::from_slice(&tab.site.bytes("pkg/manifest.json")?)?;
        let entry = manifest["engines"][name]["entry"].as_str().context(format!("the site has no engine {name}"))?;
        tab.bypass_service_worker().await?;
        tab.server.heal();
        tab.server.break_files("worker.js", Fault::Prepended(LISTEN.replace("{engine}", name)));
        tab.open("404.html").await?;
        tab.script(START, &[json!(tab.server.url(entry))]).await?;
        tab.wait("a listening engine", 60.0, "window.listening || window.answer").await?;
        Ok(Self { tab })
    }

    /// Calls an export and waits for its result.
    ///
    /// # Errors
    /// It throws, the worker breaks, or the time is over.
    pub async fn call(&self, name: &str, words: Value, seconds: f64) -> anyhow::Result<(Value, Counts)> {
        let send = "window.answer = null; window.engine.postMessage({ name: arguments[0], words: arguments[1] })";
        self.tab.script(send, &[json!(name), words.clone()]).await?;
        self.tab.wait(&format!("the answer to {name} {words}"), seconds, "window.answer").await?;
        let answer = self.tab.script("return window.answer", &[]).await?;
        if let Some(error) = answer["error"].as_str() {
            anyhow::bail!("{name} {words}: {error}");
        }
        Ok((answer["value"].clone(), serde_json::from_value(answer["counts"].clone()).unwrap_or_default()))
    }

    /// What one step of a hot path asks of WebGPU once everything is warm: the difference between twelve steps and four.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn counts_of_a_step(&self, path: &str, own_kernels: bool) -> anyhow::Result<Counts> {
        let (few, many) = (4, 12);
        // Warm: pipelines are compiled and memory is there.
        self.call("repeat_hot_path", json!([path, many, own_kernels]), 300.0).await?;
        let (_, less) = self.call("repeat_hot_path", json!([path, few, own_kernels]), 300.0).await?;
        let (_, more) = self.call("repeat_hot_path", json!([path, many, own_kernels]), 300.0).await?;
        let each = |more: f64, less: f64| (more - less) / f64::from(many - few);
        Ok(Counts {
            dispatches: each(more.dispatches, less.dispatches),
            pipelines: each(more.pipelines, less.pipelines),
            readbacks: each(more.readbacks, less.readbacks),
            submits: each(more.submits, less.submits),
            writes: each(more.writes, less.writes),
            buffers: each(more.buffers, less.buffers),
            integer_shaders: each(more.integer_shaders, less.integer_shaders),
            // No sum over steps: the largest of any.
            largest_binding: more.largest_binding,
        })
    }
}
