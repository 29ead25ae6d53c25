// Offline: what was visited can be visited again. Names that change with their content come from the cache, everything else
// from the network while there is one.
const CACHE = 'efficient-ai-1';
const LIMIT = 400;

const hashed = (path) => /-[0-9a-f]{8}(\.[a-z0-9]+)+$/.test(path) || /\/pkg\/[a-z0-9]+-[0-9a-f]{12}\//.test(path) || assetHash(path) !== null;
const assetHash = (path) => path.match(/\/assets\/.*\.([0-9a-f]{12})(\.|$)/)?.[1] ?? null;

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil((async () => {
  for (const name of await caches.keys()) if (name.startsWith('efficient-ai-') && name !== CACHE) await caches.delete(name);
  await self.clients.claim();
})()));

self.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== 'GET' || url.origin !== self.location.origin) return;
  event.respondWith(hashed(url.pathname) ? cacheFirst(event.request, url) : networkFirst(event.request));
});

self.addEventListener('message', (event) => {
  const keepAll = async () => {
    for (const address of event.data?.keep ?? []) {
      const url = new URL(address);
      if (url.origin !== self.location.origin) continue;
      try {
        await (hashed(url.pathname) ? cacheFirst(new Request(url), url) : networkFirst(new Request(url)));
      } catch { /* gone offline meanwhile */ }
    }
  };
  event.waitUntil(keepAll());
});

async function cacheFirst(request, url) {
  const cache = await caches.open(CACHE);
  const known = request.cache === 'reload' || request.cache === 'no-store' ? undefined : await cache.match(request.url);
  if (known) return known;
  const response = await fetch(request);
  if (response.status === 200 && await ours(response, url) && await intact(response, url)) await keep(cache, request.url, response.clone());
  return response;
}

// A login page or a hotel's network answers 200 with its own page, whatever was asked for: none of that is kept.
async function ours(response, url) {
  const type = response.headers.get('content-type') ?? '';
  const isPage = /(\.html|\/|\/[^/.]*)$/.test(url.pathname);
  if (!isPage) return !/^text\/html/i.test(type);
  return /^text\/html/i.test(type) && (await response.clone().text()).includes('<meta name="book"');
}

// A file that arrived damaged must not be kept for ever.
async function intact(response, url) {
  const hash = assetHash(url.pathname);
  if (hash === null) return true;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', await response.clone().arrayBuffer()));
  return [...digest.slice(0, 6)].map((byte) => byte.toString(16).padStart(2, '0')).join('') === hash;
}

async function networkFirst(request) {
  const cache = await caches.open(CACHE);
  const address = request.url.split(/[?#]/)[0];
  try {
    const response = await fetch(request);
    if (response.status === 200 && await ours(response, new URL(address))) await keep(cache, address, response.clone());
    return response;
  } catch (error) {
    const known = await cache.match(address) ?? (address.endsWith('/') ? await cache.match(`${address}index.html`) : undefined);
    if (known) return known;
    throw error;
  }
}

async function keep(cache, address, response) {
  try {
    await cache.put(address, response);
    const keys = await cache.keys();
    for (const old of keys.slice(0, Math.max(0, keys.length - LIMIT))) await cache.delete(old);
  } catch { /* full or blocked: online only */ }
}
