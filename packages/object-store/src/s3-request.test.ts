import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type AddressInfo, type Socket, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { pause } from '@backhaul/runtime';
import { expect, onTestFinished, test } from 'vitest';
import { AccessRefused, StoreUnavailable } from './failures.ts';
import { createObjectStore } from './object-store.ts';
import type { ListedObject } from './s3-documents.ts';
import { type ScriptedS3, refuse, startScriptedS3 } from './scripted-s3.ts';

const jpeg = { contentType: 'image/jpeg' };
const hour = 3_600_000;

/** Answers the first requests by `answer`, and all others as a store does. */
function first(s3: ScriptedS3, count: number, answer: (request: IncomingMessage, response: ServerResponse) => void): void {
  let left = count;
  s3.script = (request, response) => {
    if (left === 0) return false;
    left -= 1;
    request.resume();
    answer(request, response);
    return true;
  };
}

async function fileOf(bytes: Buffer): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'object-store-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'in'), bytes);
  return join(folder, 'in');
}

async function keysOf(listing: AsyncIterable<ListedObject>): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of listing) keys.push(key);
  return keys;
}

/** A server that is told of every connection, below HTTP. */
async function rawServer(onConnection: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function clientOf(endpoint: string, options: Partial<Parameters<typeof createObjectStore>[0]> = {}) {
  const store = createObjectStore({
    region: 'eu-central-1',
    accessKeyId: 'key',
    secretAccessKey: 'secret',
    bucket: 'pictures',
    endpoint,
    requestTimeoutMs: 300,
    attempts: 2,
    ...options,
  });
  onTestFinished(() => store.close());
  return store;
}

test('what is asked for is signed as it is sent, whatever characters the key has', async () => {
  await using s3 = await startScriptedS3();
  const store = s3.client();
  const keys = ['../up', 'a//b', 'a b+c', "!'()*~", 'ü/😀', '%2F%', 'a?b#c&d=e', '.', 'a/.', '<&>"', '\u0001'];
  const file = await fileOf(Buffer.from('x'));
  for (const key of keys) {
    await store.put(key, Buffer.from(key), { ...jpeg, cacheControl: 'max-age=60,  immutable', metadata: { owner: 'u-1' } });
    expect((await store.get(key, { maxBytes: 100 })).body.toString()).toBe(key);
    await store.put(key, { file }, jpeg);
    expect((await store.head(key))?.sizeBytes).toBe(1);
  }
  expect([...s3.objects.keys()].toSorted()).toEqual(keys.toSorted());
  for (const key of keys) expect(await keysOf(store.list(key))).toContain(key);
  expect(await store.deleteMany(keys)).toEqual({ deleted: keys.length, failed: [] });
  expect(s3.objects.size).toBe(0);
});

test('a signature with the wrong secret is refused, and no error tells the secrets', async () => {
  await using s3 = await startScriptedS3();
  const store = s3.client({ secretAccessKey: 'not-the-s3cret' });
  const failure = await store.get('k', { maxBytes: 1 }).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(AccessRefused);
  expect(String(failure)).toContain('SignatureDoesNotMatch (403)');
  first(s3, 1, (request) => request.socket.destroy());
  const lost = await s3
    .client({ attempts: 1, secretAccessKey: 'not-the-s3cret' })
    .put('k', Buffer.from('x'), jpeg)
    .catch((error: unknown) => error);
  for (const error of [failure, lost]) expect(inspect(error, { depth: 10, showHidden: true })).not.toMatch(/not-the-s3cret|Credential=|Signature=/);
});

test('a bulk delete is sealed with its MD5', async () => {
  await using s3 = await startScriptedS3();
  const seen: unknown[] = [];
  s3.script = (request) => {
    seen.push(request.headers['content-md5']);
    return false;
  };
  await s3.client().deleteMany(['a']);
  expect(seen).toEqual([expect.stringMatching(/^[\w+/]{22}==$/)]);
});

test('a request that fails for now is sent again, also from a file, with the body whole each time', async () => {
  await using s3 = await startScriptedS3();
  const bytes = Buffer.alloc(1_500_000, 7);
  const file = await fileOf(bytes);
  for (const body of [bytes, { file }]) {
    first(s3, 2, (_request, response) => refuse(response, 500, 'InternalError'));
    expect(await s3.client({ attempts: 3 }).put('k', body, jpeg)).toBe('created');
    expect(s3.objects.get('k')).toEqual(bytes);
    s3.objects.clear();
    first(s3, 2, (_request, response) => refuse(response, 409, 'ConditionalRequestConflict'));
    await expect(s3.client({ attempts: 2 }).put('k', body, { ...jpeg, ifNoneMatch: true })).rejects.toThrow(/409/);
    expect(s3.objects.size).toBe(0);
  }
});

test('a file that is gone, or has become shorter, is not the answer of the store', async () => {
  await using s3 = await startScriptedS3();
  await expect(s3.client().put('k', { file: '/nowhere/at/all' }, jpeg)).rejects.toMatchObject({ code: 'ENOENT' });
  const file = await fileOf(Buffer.alloc(2_000_000));
  s3.script = async (request) => {
    request.pause();
    await writeFile(file, 'short');
    return false;
  };
  await expect(s3.client({ attempts: 1 }).put('k', { file }, jpeg)).rejects.toThrow(/instead of 2000000|took longer/);
  expect(s3.objects.size).toBe(0);
});

test('a connection that the store closed while it was idle costs no try', async () => {
  let connections = 0;
  const endpoint = await rawServer((socket) => {
    connections += 1;
    let requests = 0;
    socket.on('data', () => {
      requests += 1;
      // The second request on a connection finds it closed, as if that had happened a moment before.
      if (requests === 1) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx');
      else socket.resetAndDestroy();
    });
  });
  const store = clientOf(endpoint, { attempts: 1 });
  for (let request = 0; request < 5; request += 1) expect((await store.get('k', { maxBytes: 1 })).sizeBytes).toBe(1);
  expect(connections).toBe(5);
});

test('a store that closes every connection is not asked for ever', async () => {
  let requests = 0;
  const endpoint = await rawServer((socket) => {
    socket.on('data', () => {
      requests += 1;
      socket.resetAndDestroy();
    });
  });
  await expect(clientOf(endpoint, { attempts: 3 }).get('k', { maxBytes: 1 })).rejects.toThrow(StoreUnavailable);
  expect(requests).toBe(3);
});

test('a store that says how long it keeps a connection is believed', async () => {
  const open = new Set<Socket>();
  const endpoint = await rawServer((socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nkeep-alive: timeout=2\r\ncontent-length: 1\r\n\r\nx'));
  });
  const store = clientOf(endpoint);
  await store.get('k', { maxBytes: 1 });
  await store.get('k', { maxBytes: 1 });
  expect(open.size).toBe(1);
  // A second earlier than the store.
  await expect.poll(() => open.size, { timeout: 1_800 }).toBe(0);
});

test('fifty connections at most; who waits for one waits no longer than for an answer', async () => {
  await using s3 = await startScriptedS3();
  let taken = 0;
  s3.script = () => {
    taken += 1;
    return true;
  };
  const store = s3.client({ attempts: 1, requestTimeoutMs: 600 });
  const all = Promise.allSettled(Array.from({ length: 60 }, () => store.get('k', { maxBytes: 1 })));
  await expect.poll(() => taken).toBe(50);
  await pause(100);
  expect([taken, s3.openSockets()]).toEqual([50, 50]);
  expect((await all).every((result) => result.status === 'rejected' && result.reason instanceof StoreUnavailable)).toBe(true);
  await expect.poll(s3.openSockets).toBe(0);
  s3.script = undefined;
  expect(await store.head('k')).toBeUndefined();
});

test.each([
  ['refuses', 'HTTP/1.1 412 Precondition Failed', 'exists'],
  ['accepts', 'HTTP/1.1 200 OK', 'created'],
])('a store that %s a large file and reads no byte of it holds none of the fifty connections', async (_what, line, result) => {
  const sockets = new Set<Socket>();
  const endpoint = await rawServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.once('data', () => {
      socket.pause();
      socket.write(`${line}\r\ncontent-length: 0\r\n\r\n`);
    });
  });
  const file = await fileOf(Buffer.from(''));
  await truncate(file, 50_000_000);
  const store = clientOf(endpoint, { attempts: 1, requestTimeoutMs: 2_000 });
  const puts = Array.from({ length: 60 }, () => store.put('k', { file }, { ...jpeg, ifNoneMatch: true }));
  expect(await Promise.all(puts)).toEqual(puts.map(() => result));
  // A paused socket learns of its end only when it reads.
  for (const socket of sockets) socket.resume();
  await expect.poll(() => sockets.size).toBe(0);
});

test('a server that takes the connection and does not complete it is given up after the time for connecting', async () => {
  const endpoint = await rawServer(() => undefined);
  const store = clientOf(endpoint.replace('http:', 'https:'), { attempts: 1, connectTimeoutMs: 200, requestTimeoutMs: 5_000 });
  await expect(store.ping()).rejects.toThrow(/the connection took longer than 200 ms/);
});

test('an answer that drips is given up in time, and its connection is closed', async () => {
  await using s3 = await startScriptedS3();
  s3.script = (_request, response) => {
    response.writeHead(403, { 'content-type': 'application/xml' });
    const timer = setInterval(() => response.write(' '), 20);
    response.on('close', () => clearInterval(timer));
    return true;
  };
  await expect(s3.client({ attempts: 1 }).get('k', { maxBytes: 1 })).rejects.toThrow(/took longer than 300 ms/);
  await expect.poll(s3.openSockets).toBe(0);
});

test('a clock that goes wrong is corrected by the store’s, also where the refusal has no words', async () => {
  await using s3 = await startScriptedS3();
  s3.objects.set('k', Buffer.from('x'));
  const storeTime = Date.now() + 2 * hour;
  s3.script = (request, response) => {
    const sent = String(request.headers['x-amz-date']).replace(/^(....)(..)(..)T(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6Z');
    if (Math.abs(Date.parse(sent) - storeTime) < 15 * 60_000) return false;
    refuse(response, 403, 'RequestTimeTooSkewed', 'The difference is too large.', { date: new Date(storeTime).toUTCString() });
    return true;
  };
  for (const ask of ['get', 'head'] as const) {
    const before = s3.requests.length;
    const store = s3.client({ attempts: 1 });
    const asked = () => (ask === 'get' ? store.get('k', { maxBytes: 1 }) : store.head('k'));
    expect(await asked()).toMatchObject({ sizeBytes: 1 });
    expect(await asked()).toMatchObject({ sizeBytes: 1 });
    expect(s3.requests.length - before).toBe(3);
  }
});

test('a refusal about the time that the store’s own clock does not explain is final', async () => {
  await using s3 = await startScriptedS3();
  s3.script = (_request, response) => {
    refuse(response, 403, 'RequestTimeTooSkewed');
    return true;
  };
  await expect(s3.client().get('k', { maxBytes: 1 })).rejects.toThrow(AccessRefused);
  expect(s3.requests).toHaveLength(1);
});

test('a bucket in another region is not followed, but named', async () => {
  await using s3 = await startScriptedS3();
  const store = s3.client();
  s3.script = (request, response) => {
    const headers = { location: 'http://127.0.0.1:1/', 'x-amz-bucket-region': 'eu-west-3' };
    if (request.method === 'HEAD') response.writeHead(301, headers).end();
    else refuse(response, 307, 'TemporaryRedirect', 'Please re-send this request to the specified temporary endpoint.', headers);
    return true;
  };
  await expect(store.get('k', { maxBytes: 1 })).rejects.toThrow(/TemporaryRedirect \(307\): .*the bucket is in the region eu-west-3/);
  await expect(store.ping()).rejects.toThrow(AccessRefused);
  await expect(store.ping()).rejects.toThrow(/\(301\) \(the bucket is in the region eu-west-3\)/);
  s3.script = (_request, response) => {
    response.writeHead(400).end('<Error><Code>AuthorizationHeaderMalformed</Code><Message>wrong region</Message><Region>us-west-2</Region></Error>');
    return true;
  };
  await expect(store.get('k', { maxBytes: 1 })).rejects.toThrow(/us-west-2/);
  expect(s3.requests).toHaveLength(4);
});

test('an error that comes with status 200 is a failure, and is asked again when it may pass', async () => {
  await using s3 = await startScriptedS3();
  const store = s3.client();
  s3.objects.set('k', Buffer.from('x'));
  first(s3, 1, (_request, response) => refuse(response, 200, 'InternalError'));
  expect(await store.deleteMany(['k'])).toEqual({ deleted: 1, failed: [] });
  s3.script = (_request, response) => {
    refuse(response, 200, 'AccessDenied');
    return true;
  };
  await expect(store.deleteMany(['k'])).rejects.toThrow(AccessRefused);
  await expect(keysOf(store.list(''))).rejects.toThrow(/AccessDenied/);
});

test('an answer that is not S3’s says nothing of the object', async () => {
  await using s3 = await startScriptedS3();
  const store = s3.client({ attempts: 1 });
  for (const status of [200, 403, 404, 502]) {
    s3.script = (_request, response) => {
      response.writeHead(status).end('<!DOCTYPE html><html><body>Please log in</body></html>');
      return true;
    };
    const failures = status === 200 ? [] : [store.get('k', { maxBytes: 1 }), store.put('k', Buffer.from('x'), jpeg)];
    for (const failure of [...failures, keysOf(store.list('')), store.deleteMany(['k'])]) {
      await expect(failure).rejects.toThrow(StoreUnavailable);
      await expect(failure).rejects.toThrow(new RegExp(`not one of S3 \\(status ${status}\\)`));
    }
  }
});

test('an answer that never ends is cut off, and its connection is closed', async () => {
  await using s3 = await startScriptedS3();
  const store = s3.client({ attempts: 1, requestTimeoutMs: 5_000 });
  for (const status of [200, 404]) {
    s3.script = (request, response) => {
      request.resume();
      response.writeHead(status);
      const pump = () => {
        while (!response.destroyed && response.write('<Error>'.repeat(1_000)));
      };
      response.on('drain', pump);
      pump();
      return true;
    };
    await expect(store.put('k', Buffer.from('x'), jpeg)).rejects.toThrow(/longer than 65536 bytes/);
    await expect(keysOf(store.list(''))).rejects.toThrow(/longer than/);
    await expect.poll(s3.openSockets).toBe(0);
  }
});

test('a listing comes back right from stores that encode its keys and from those that do not', async () => {
  await using s3 = await startScriptedS3();
  const page = (inner: string) => {
    s3.script = (_request, response) => {
      response.end(`<?xml version="1.0"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${inner}</ListBucketResult>`);
      return true;
    };
  };
  const row = (key: string) => `<Contents><Key>${key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>3</Size></Contents>`;
  const keys = async () => {
    const found: unknown[] = [];
    for await (const { key, sizeBytes } of s3.client().list('')) found.push(key, sizeBytes);
    return found;
  };
  page('<KeyCount>0</KeyCount><IsTruncated>false</IsTruncated>');
  expect(await keys()).toEqual([]);
  page(row('007'));
  expect(await keys()).toEqual(['007', 3]);
  page(`${row('a%20b')}${row('1+1')}${row('x&amp;y&#13;')}`);
  expect(await keys()).toEqual(['a%20b', 3, '1+1', 3, 'x&y\r', 3]);
  page(`<EncodingType>url</EncodingType>${row('a+b%2Bc%01/d')}`);
  expect(await keys()).toEqual(['a b+c\u0001/d', 3]);
  page(`<IsTruncated>true</IsTruncated>${row('a')}`);
  await expect(keys()).rejects.toThrow(StoreUnavailable);
});

test('what a bulk delete leaves is told by key', async () => {
  await using s3 = await startScriptedS3();
  s3.script = (_request, response) => {
    const error = (key: string, code: string) => `<Error><Key>${key}</Key><Code>${code}</Code><Message>scripted</Message></Error>`;
    response.end(`<DeleteResult>${error('a&amp;b', 'AccessDenied')}${error('c', 'NoSuchKey')}</DeleteResult>`);
    return true;
  };
  expect(await s3.client().deleteMany(['a&b', 'c'])).toEqual({ deleted: 1, failed: [{ key: 'a&b', code: 'AccessDenied', message: 'scripted' }] });
});

test('what the store keeps of an object comes back', async () => {
  await using s3 = await startScriptedS3();
  s3.script = (_request, response) => {
    response.writeHead(200, {
      'content-length': 5,
      'content-type': 'image/png',
      'cache-control': 'no-store',
      etag: '"e"',
      'last-modified': 'Fri, 24 May 2013 00:00:00 GMT',
      'x-amz-meta-owner': 'u-1',
    });
    response.end();
    return true;
  };
  expect(await s3.client().head('k')).toEqual({
    key: 'k',
    sizeBytes: 5,
    contentType: 'image/png',
    cacheControl: 'no-store',
    etag: '"e"',
    lastModified: new Date('2013-05-24T00:00:00Z'),
    metadata: { owner: 'u-1' },
  });
});
