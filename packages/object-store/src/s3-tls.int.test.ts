import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { StoreUnavailable } from './failures.ts';
import { createObjectStore } from './object-store.ts';

/** A store behind TLS that says of every object that it is there. */
async function startTlsStore() {
  const folder = await mkdtemp(join(tmpdir(), 'object-store-tls-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-days', '2'];
  await promisify(execFile)('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, ...subject]);
  const received: { sha256: unknown; sizeBytes: number }[] = [];
  let connections = 0;
  const server = createServer({ key: await readFile(key), cert: await readFile(cert) }, (request, response) => {
    let sizeBytes = 0;
    request.on('data', (chunk: Buffer) => (sizeBytes += chunk.length));
    request.on('end', () => {
      received.push({ sha256: request.headers['x-amz-content-sha256'], sizeBytes });
      response.writeHead(200, { 'content-length': 0 }).end();
    });
  });
  server.on('secureConnection', () => (connections += 1));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const store = createObjectStore({
    region: 'eu-central-1',
    accessKeyId: 'key',
    secretAccessKey: 'secret',
    bucket: 'pictures',
    endpoint: `https://localhost:${(server.address() as AddressInfo).port}`,
    attempts: 1,
  });
  onTestFinished(() => store.close());
  return { store, received, folder, cert: await readFile(cert, 'utf8'), connections: () => connections };
}

test('a store behind TLS is believed by its certificate only, and its connection is used again', async () => {
  const { store, received, folder, cert, connections } = await startTlsStore();
  await expect(store.head('k')).rejects.toThrow(StoreUnavailable);
  expect(received).toEqual([]);
  const trusted = getCACertificates();
  onTestFinished(() => setDefaultCACertificates(trusted));
  setDefaultCACertificates([cert]);
  await writeFile(join(folder, 'in'), Buffer.alloc(3_000_000));
  await store.head('k');
  await store.put('k', Buffer.from('x'), { contentType: 'text/plain' });
  await store.put('k', { file: join(folder, 'in') }, { contentType: 'text/plain' });
  const hash = expect.stringMatching(/^[0-9a-f]{64}$/) as unknown;
  expect(received).toEqual([
    { sha256: hash, sizeBytes: 0 },
    { sha256: hash, sizeBytes: 1 },
    { sha256: 'UNSIGNED-PAYLOAD', sizeBytes: 3_000_000 },
  ]);
  expect(connections()).toBe(1);
});
