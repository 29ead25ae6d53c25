// The entry of an engine: a module worker that loads the engine beside it and hands messages over.
// A worker's message queue opens as soon as this file runs, long before the engine has loaded; what arrives until then is
// kept here and delivered in order once the engine listens.
import init, * as engine from './{name}.js';

const early = [];
const keep = (event) => early.push(event.data);
self.addEventListener('message', keep);

// Bundles are cached for ever. Should a damaged copy have been kept, it is fetched past every cache, once.
const load = () => init().catch(() =>
  init({ module_or_path: fetch(new URL('./{name}_bg.wasm', import.meta.url), { cache: 'reload' }) }));

// A worker that a lab starts beside itself, by this name, gets the compiled engine with its first message and loads nothing.
const serve = ({ data }) => {
  self.removeEventListener('message', serve);
  engine.initSync({ module: data[0] }).__wasm_call_ctors?.();
  engine.serve_loader(data);
};

if (self.name === 'loader') {
  self.removeEventListener('message', keep);
  self.addEventListener('message', serve);
} else try {
  // Constructors of the crates in it, once; an engine without any may lack the function.
  (await load()).__wasm_call_ctors?.();
  self.removeEventListener('message', keep);
  engine.start();
  for (const data of early) self.dispatchEvent(new MessageEvent('message', { data }));
} catch (error) {
  // Thrown outside of the promise: a rejected module is not an `error` event of the worker in every browser.
  setTimeout(() => { throw error; });
}
