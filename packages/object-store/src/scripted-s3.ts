import { createHash } from 'node:crypto';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type ObjectStore, type ObjectStoreOptions, createObjectStore } from './object-store.ts';
import { escapeXml, fitsXml } from './s3-xml.ts';
import { signatureProblem } from './verify-signature.ts';

/** What a test wants to do to one request; true says that it has answered, or never will. */
export type Script = (request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>;

/** A bucket in memory behind real HTTP, for the faults that a well-behaved store does not make. It checks every signature. */
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
    const { method = '', url = '', headers } = request;
    // Not by URL, which would resolve ".." in a key.
    const [path = '', query] = url.split(/\?(.*)/s);
    const searchParams = new URLSearchParams(query);
    const key = decodeURIComponent(path.slice('/pictures/'.length));
    requests.push(`${method} ${key}`);
    const problem = signatureProblem({ method, url, headers }, 'secret');
    if (problem !== undefined) return refuse(response, 403, 'SignatureDoesNotMatch', problem);
    if (fault.script !== undefined && (await fault.script(request, response))) return;
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const signedSha256 = headers['x-amz-content-sha256'];
    if (signedSha256 !== 'UNSIGNED-PAYLOAD' && signedSha256 !== createHash('sha256').update(body).digest('hex')) {
      return refuse(response, 400, 'XAmzContentSHA256Mismatch');
    }
    if (method === 'PUT') {
      if (headers['if-none-match'] === '*' && objects.has(key)) return refuse(response, 412, 'PreconditionFailed');
      objects.set(key, body);
      response.end();
    } else if (method === 'POST' && searchParams.has('delete')) {
      for (const match of body.toString().matchAll(/<Key>(.*?)<\/Key>/gs)) objects.delete(unescapeXml(match[1] ?? ''));
      response.end('<DeleteResult/>');
    } else if (method === 'DELETE') {
      objects.delete(key);
      response.writeHead(204).end();
    } else if (searchParams.has('list-type')) {
      const limit = Number(searchParams.get('max-keys'));
      const after = searchParams.get('continuation-token') ?? searchParams.get('start-after') ?? '';
      const prefix = searchParams.get('prefix') ?? '';
      const keys = [...objects.keys()].filter((candidate) => candidate.startsWith(prefix) && candidate > after).toSorted();
      const page = keys.slice(0, limit);
      const encoded = searchParams.get('encoding-type') === 'url';
      const written = (name: string) => (encoded ? encodeURIComponent(name) : fitsXml(name) ? escapeXml(name) : '(not for XML)');
      const rows = page.map(
        (name) => `<Contents><Key>${written(name)}</Key><Size>${objects.get(name)?.length}</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>`,
      );
      const more = keys.length > limit ? `<IsTruncated>true</IsTruncated><NextContinuationToken>${escapeXml(page.at(-1) ?? '')}</NextContinuationToken>` : '';
      response.end(`<ListBucketResult>${encoded ? '<EncodingType>url</EncodingType>' : ''}${more}${rows.join('')}</ListBucketResult>`);
    } else if (key === '') {
      response.end();
    } else {
      const object = objects.get(key);
      if (object === undefined) return refuse(response, 404, 'NoSuchKey');
      const etag = `"${createHash('md5').update(object).digest('hex')}"`;
      response.writeHead(200, { etag, 'content-length': object.length, 'content-type': 'image/jpeg' });
      response.end(method === 'HEAD' ? undefined : object);
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
export function refuse(response: ServerResponse, status: number, code: string, message = 'scripted', headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/xml', ...headers });
  response.end(`<Error><Code>${code}</Code><Message>${escapeXml(message)}</Message></Error>`);
}

function unescapeXml(text: string): string {
  return text.replaceAll(/&#(\d+);/g, (_whole, code) => String.fromCodePoint(Number(code)));
}
