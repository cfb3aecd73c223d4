import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pause } from '@backhaul/runtime';
import { expect, test } from 'vitest';
import { AccessRefused, ObjectMissing, ObjectTooLarge, StoreUnavailable } from './failures.ts';
import type { ListedObject } from './s3-documents.ts';
import { refuse, startScriptedS3 } from './scripted-s3.ts';

const jpeg = { contentType: 'image/jpeg' };

async function folder() {
  const path = await mkdtemp(join(tmpdir(), 'object-store-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

async function keysOf(listing: AsyncIterable<ListedObject>): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of listing) keys.push(key);
  return keys;
}

test('bytes come back as they were put, with their hash', async () => {
  await using s3 = await startScriptedS3();
  const store = s3.client();
  expect(await store.put('a b/ü.jpg', Buffer.from('hello'), jpeg)).toBe('created');
  const { body, sha256 } = await store.get('a b/ü.jpg', { maxBytes: 5 });
  expect(body.toString()).toBe('hello');
  expect(sha256).toBe('2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824');
  expect(await store.head('a b/ü.jpg')).toMatchObject({ sizeBytes: 5, contentType: 'image/jpeg' });
});

test('a file is uploaded and downloaded by name', async () => {
  await using s3 = await startScriptedS3();
  await using dir = await folder();
  const store = s3.client();
  await writeFile(join(dir.path, 'in'), 'x'.repeat(100_000));
  await store.put('k', { file: join(dir.path, 'in') }, jpeg);
  await store.download('k', join(dir.path, 'out'), { maxBytes: 100_000 });
  expect((await readFile(join(dir.path, 'out'))).length).toBe(100_000);
});

test('a taken key is left alone when it must be free', async () => {
  await using s3 = await startScriptedS3();
  const store = s3.client();
  await store.put('k', Buffer.from('first'), { ...jpeg, ifNoneMatch: true });
  expect(await store.put('k', Buffer.from('second'), { ...jpeg, ifNoneMatch: true })).toBe('exists');
  expect(s3.objects.get('k')?.toString()).toBe('first');
});

test('a put whose answer was lost counts as done when the second try finds it (D-03)', async () => {
  await using s3 = await startScriptedS3();
  await using dir = await folder();
  const store = s3.client();
  await writeFile(join(dir.path, 'in'), 'x'.repeat(100));
  let cut = 0;
  s3.script = async (request) => {
    if (request.method !== 'PUT' || cut > 0) return false;
    cut += 1;
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    s3.objects.set('k', Buffer.concat(chunks));
    request.socket.destroy();
    return true;
  };
  expect(await store.put('k', { file: join(dir.path, 'in') }, { ...jpeg, ifNoneMatch: true })).toBe('exists');
  expect(s3.objects.get('k')?.length).toBe(100);
});

test('a store that does not know If-None-Match is written to without it', async () => {
  await using s3 = await startScriptedS3();
  s3.script = (request, response) => {
    if (request.headers['if-none-match'] === undefined) return false;
    request.resume();
    refuse(response, 501, 'NotImplemented');
    return true;
  };
  expect(await s3.client().put('k', Buffer.from('x'), { ...jpeg, ifNoneMatch: true })).toBe('created');
});

test('an object that is larger than it may be is refused by its length', async () => {
  await using s3 = await startScriptedS3();
  s3.objects.set('k', Buffer.alloc(1_000));
  await expect(s3.client().get('k', { maxBytes: 999 })).rejects.toThrow(ObjectTooLarge);
});

test('an endless object without a length is cut off at the limit (E-18)', async () => {
  await using s3 = await startScriptedS3();
  await using dir = await folder();
  let sentBytes = 0;
  s3.script = (_request, response) => {
    response.writeHead(200);
    const pump = () => {
      while (!response.destroyed) {
        sentBytes += 65_536;
        if (!response.write(Buffer.alloc(65_536))) break;
      }
    };
    response.on('drain', pump);
    pump();
    return true;
  };
  const store = s3.client();
  await expect(store.get('k', { maxBytes: 1_000_000 })).rejects.toThrow(ObjectTooLarge);
  await expect(store.download('k', join(dir.path, 'out'), { maxBytes: 1_000_000 })).rejects.toThrow(ObjectTooLarge);
  expect(sentBytes).toBeLessThan(100_000_000);
});

test('no key, no permission, no bucket and no service are told apart (D-01, D-05)', async () => {
  await using s3 = await startScriptedS3();
  const store = s3.client();
  await expect(store.get('k', { maxBytes: 1 })).rejects.toThrow(ObjectMissing);
  expect(await store.head('k')).toBeUndefined();
  const answers = {
    403: ['AccessDenied', AccessRefused],
    404: ['NoSuchBucket', AccessRefused],
    503: ['SlowDown', StoreUnavailable],
    500: ['InternalError', StoreUnavailable],
  } as const;
  for (const [status, [code, failure]] of Object.entries(answers)) {
    s3.script = (_request, response) => {
      refuse(response, Number(status), code);
      return true;
    };
    await expect(store.get('k', { maxBytes: 1 })).rejects.toThrow(failure);
  }
});

test('a store that accepts and never answers is given up (D-02)', async () => {
  await using s3 = await startScriptedS3();
  s3.script = () => true;
  await expect(s3.client().get('k', { maxBytes: 1 })).rejects.toThrow(StoreUnavailable);
});

test('a body that stops in the middle is given up, and its socket is closed (D-02)', async () => {
  await using s3 = await startScriptedS3();
  s3.script = (_request, response) => {
    response.writeHead(200, { 'content-length': 1_000 });
    response.write('x'.repeat(10));
    return true;
  };
  await expect(s3.client().get('k', { maxBytes: 2_000 })).rejects.toThrow(/took longer than/);
  await expect.poll(s3.openSockets).toBe(0);
});

test('a body that ends early is not taken for the whole', async () => {
  await using s3 = await startScriptedS3();
  s3.script = (_request, response) => {
    response.writeHead(200, { 'content-length': 1_000 });
    response.write('x'.repeat(10), () => response.destroy());
    return true;
  };
  await expect(s3.client().get('k', { maxBytes: 2_000 })).rejects.toThrow(StoreUnavailable);
});

test('the caller can give up, and gets its own reason back', async () => {
  await using s3 = await startScriptedS3();
  const caller = new AbortController();
  s3.script = () => {
    caller.abort(new Error('the job was cancelled'));
    return true;
  };
  await expect(s3.client().get('k', { maxBytes: 1, signal: caller.signal })).rejects.toThrow('the job was cancelled');
});

test('a listing walks all pages, and can go on after a key', async () => {
  await using s3 = await startScriptedS3();
  for (let index = 0; index < 25; index += 1) s3.objects.set(`media/${String(index).padStart(2, '0')}`, Buffer.alloc(index));
  s3.objects.set('other/x', Buffer.alloc(1));
  const store = s3.client();
  const keys = await keysOf(store.list('media/', { pageSize: 10 }));
  expect(keys).toHaveLength(25);
  expect(await keysOf(store.list('media/', { startAfter: 'media/22' }))).toEqual(['media/23', 'media/24']);
});

test('many keys are deleted in batches that S3 accepts', async () => {
  await using s3 = await startScriptedS3();
  const keys = Array.from({ length: 2_001 }, (_, index) => `k${index}`);
  for (const key of keys) s3.objects.set(key, Buffer.alloc(1));
  expect(await s3.client().deleteMany(keys)).toEqual({ deleted: 2_001, failed: [] });
  expect(s3.objects.size).toBe(0);
  expect(s3.requests.filter((request) => request.startsWith('POST'))).toHaveLength(3);
});

test('the round trip leaves nothing behind', async () => {
  await using s3 = await startScriptedS3();
  const store = s3.client();
  await store.ping();
  expect(await store.roundTrip()).toMatchObject({ conditionalPut: true });
  expect(s3.objects.size).toBe(0);
});

test('an object is opened with its properties, and its bytes are those that it had then, also when it is replaced meanwhile', async () => {
  await using s3 = await startScriptedS3();
  await using dir = await folder();
  const store = s3.client();
  expect(await store.open('k')).toBeUndefined();
  await store.put('k', Buffer.from('one'), jpeg);
  const [first, second] = [await store.open('k'), await store.open('k')];
  expect(first).toMatchObject({ sizeBytes: 3, contentType: 'image/jpeg', etag: (await store.head('k'))?.etag });
  await store.put('k', Buffer.from('other'), jpeg);
  expect((await first?.read({ maxBytes: 5 }))?.body.toString()).toBe('one');
  expect(await second?.save(join(dir.path, 'out'), { maxBytes: 5 })).toMatchObject({ sizeBytes: 3 });
});

test('an object that is opened and left, or cut off before it is read, holds no connection and ends no process', async () => {
  await using s3 = await startScriptedS3();
  const store = s3.client();
  s3.objects.set('k', Buffer.alloc(4_000_000));
  for (let left = 0; left < 100; left += 1) {
    using object = await store.open('k');
    expect(object?.sizeBytes).toBe(4_000_000);
  }
  s3.script = (_request, response) => {
    response.writeHead(200, { 'content-length': 1_000 });
    response.write('a', () => response.destroy());
    return true;
  };
  const cut = await store.open('k');
  await pause(50);
  await expect(cut?.read({ maxBytes: 1_000 })).rejects.toThrow(StoreUnavailable);
});

test.each([
  ['takes a file and answers at its last byte', 200],
  ['refuses a file without taking it', 412],
])('a store that %s holds none of the fifty connections (%d)', async (_what, status) => {
  await using s3 = await startScriptedS3();
  await using dir = await folder();
  await writeFile(join(dir.path, 'in'), Buffer.alloc(1_000_000));
  s3.script = (request, response) => {
    if (request.method !== 'PUT') return false;
    let leftBytes = Number(request.headers['content-length']);
    if (status === 200) request.on('data', (chunk: Buffer) => (leftBytes -= chunk.length) > 0 || response.end());
    else refuse(response, status, 'PreconditionFailed');
    return true;
  };
  const store = s3.client({ requestTimeoutMs: 2_000 });
  for (let sent = 0; sent < 60; sent += 1) await store.put(`k${sent}`, { file: join(dir.path, 'in') }, { ...jpeg, ifNoneMatch: true });
  expect(await store.head('k0')).toBeUndefined();
  expect(s3.openSockets()).toBeLessThan(4);
});
