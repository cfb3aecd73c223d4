import { createHash } from 'node:crypto';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type ObjectStore, type ObjectStoreOptions, createObjectStore } from './object-store.ts';

/** What a test wants to do to one request; true says that it has answered, or never will. */
export type Script = (request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>;

/** A bucket in memory behind real HTTP, for the faults that a well-behaved store does not make. */
export interface ScriptedS3 extends AsyncDisposable {
  readonly objects: Map<string, Buffer>;
  readonly requests: string[];
  /** Sockets that are open now. */
  readonly openSockets: () => number;
  script: Script | undefined;
  client(options?: Partial<ObjectStoreOptions>): ObjectStore;
}

/** Starts the server on a free loopback port. */
export async function startScriptedS3(): Promise<ScriptedS3> {
  const objects = new Map<string, Buffer>();
  const requests: string[] = [];
  const stores: ObjectStore[] = [];
  const fault: { script?: Script | undefined } = {};
  const server = createServer((request, response) => {
    void answer(request, response).catch(() => response.destroy());
  });
  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
    const key = decodeURIComponent(pathname.slice('/pictures/'.length));
    requests.push(`${request.method} ${key}`);
    if (fault.script !== undefined && (await fault.script(request, response))) return;
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    if (request.method === 'PUT') {
      if (request.headers['if-none-match'] === '*' && objects.has(key)) return refuse(response, 412, 'PreconditionFailed');
      objects.set(key, body);
      response.end();
    } else if (request.method === 'POST' && searchParams.has('delete')) {
      for (const match of body.toString().matchAll(/<Key>(.*?)<\/Key>/g)) objects.delete(match[1] ?? '');
      response.end('<DeleteResult/>');
    } else if (request.method === 'DELETE') {
      objects.delete(key);
      response.writeHead(204).end();
    } else if (searchParams.has('list-type')) {
      const limit = Number(searchParams.get('max-keys'));
      const after = searchParams.get('continuation-token') ?? searchParams.get('start-after') ?? '';
      const prefix = searchParams.get('prefix') ?? '';
      const keys = [...objects.keys()].filter((candidate) => candidate.startsWith(prefix) && candidate > after).toSorted();
      const page = keys.slice(0, limit);
      const rows = page.map(
        (name) => `<Contents><Key>${name}</Key><Size>${objects.get(name)?.length}</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>`,
      );
      const more = keys.length > limit ? `<IsTruncated>true</IsTruncated><NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : '';
      response.end(`<ListBucketResult>${more}${rows.join('')}</ListBucketResult>`);
    } else if (key === '') {
      response.end();
    } else {
      const object = objects.get(key);
      if (object === undefined) return refuse(response, 404, 'NoSuchKey');
      const etag = `"${createHash('md5').update(object).digest('hex')}"`;
      response.writeHead(200, { etag, 'content-length': object.length, 'content-type': 'image/jpeg' });
      response.end(request.method === 'HEAD' ? undefined : object);
    }
  }
  let openSockets = 0;
  server.on('connection', (socket) => {
    openSockets += 1;
    socket.once('close', () => (openSockets -= 1));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    objects,
    requests,
    openSockets: () => openSockets,
    get script() {
      return fault.script;
    },
    set script(script) {
      fault.script = script;
    },
    client(options = {}) {
      const store = createObjectStore({
        region: 'eu-central-1',
        accessKeyId: 'key',
        secretAccessKey: 'secret',
        bucket: 'pictures',
        endpoint: `http://127.0.0.1:${port}`,
        requestTimeoutMs: 300,
        attempts: 2,
        ...options,
      });
      stores.push(store);
      return store;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(stores.map((store) => store.close()));
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Answers with one of S3's XML errors. */
export function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { 'content-type': 'application/xml' });
  response.end(`<Error><Code>${code}</Code><Message>scripted</Message></Error>`);
}
