// Loads .heapsnapshot files as the Memory panel of Chrome's DevTools does, without a
// browser, and prints what it found as one JSON object:
// {"files": [...], "diff": {...}, "complaints": [...]}.
//   node engine.mjs FILE [LATER_FILE]
// The entry points are internal to DevTools; package.json pins their version.
import * as Loader from './node_modules/chrome-devtools-frontend/front_end/entrypoints/heap_snapshot_worker/HeapSnapshotLoader.js';
import * as Engine from './node_modules/chrome-devtools-frontend/front_end/entrypoints/heap_snapshot_worker/HeapSnapshot.js';
import * as fs from 'node:fs';

// Before node 22.
(Promise as any).withResolvers ??= () => {
  let resolve, reject;
  const promise = new Promise((yes, no) => [resolve, reject] = [yes, no]);
  return {promise, resolve, reject};
};

// Of what it cannot reach the engine complains on the console, of the rest by an event.
const complaints: string[] = [];
const dispatcher = {
  sendEvent(name: string, data: unknown) {
    if (name === 'BrokenSnapshot') {
      complaints.push(String(data));
    }
  },
};
console.warn = console.error = (...words: unknown[]) => complaints.push(words.join(' '));

async function load(path: string): Promise<any> {
  const loader: any = new Loader.HeapSnapshotLoader(dispatcher as any);
  const decoder = new TextDecoder();
  for await (const chunk of fs.createReadStream(path, {highWaterMark: 1 << 24})) {
    loader.write(decoder.decode(chunk as Buffer, {stream: true}));
    await new Promise(turn => setImmediate(turn));
  }
  loader.close();
  // Where a browser starts a second worker, which finds the dominators.
  const {port1, port2} = new MessageChannel();
  new (Engine as any).SecondaryInitManager(port2);
  const snapshot = await loader.buildSnapshot(port1);
  port1.close();
  return snapshot;
}

function classes(snapshot: any): object {
  const rows = Object.values(snapshot.aggregatesWithFilter({})) as any[];
  return Object.fromEntries(
      rows.map(row => [row.name, {count: row.count, self: row.self, retained: row.maxRet}]));
}

function comparison(old: any, later: any): object {
  const base = old.aggregatesForDiff(later.interfaceDefinitions());
  const rows = later.calculateSnapshotDiff('base', base);
  return Object.fromEntries(Object.entries(rows).map(([key, row]: [string, any]) => [
    row.name ?? key,
    {added: row.addedCount, removed: row.removedCount, bytes: row.sizeDelta},
  ]));
}

const files = [];
const snapshots = [];
for (const path of process.argv.slice(2)) {
  const start = Date.now();
  const snapshot = await load(path);
  snapshots.push(snapshot);
  files.push({
    nodes: snapshot.nodeCount,
    total: snapshot.totalSize,
    ms: Date.now() - start,
    rss: process.memoryUsage().rss,
    classes: classes(snapshot),
  });
}
const diff = snapshots.length === 2 ? comparison(snapshots[0], snapshots[1]) : {};
process.stdout.write(JSON.stringify({files, diff, complaints}), () => process.exit(0));
