import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { root, serviceConfigs, services } from './service-configs.ts';

interface ComposeService {
  readonly image: string;
  readonly profiles: readonly string[];
  readonly command?: readonly string[];
  readonly build?: { readonly context: string; readonly args: { readonly SERVICE: string } };
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly stop_grace_period?: string;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly tmpfs?: readonly string[];
  readonly pids_limit?: number;
  readonly mem_limit?: string;
}

const compose = parse(readFileSync(join(root, 'docker-compose.yml'), 'utf8'), { merge: true }) as {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly volumes: Readonly<Record<string, unknown>>;
};
const fleet = Object.entries(compose.services).filter(([, { build }]) => build !== undefined);
const servers = Object.entries(compose.services).filter(([, { build }]) => build === undefined);

/** The Dockerfile's instructions, each on one line, without comments. */
const instructions = readFileSync(join(root, 'Dockerfile'), 'utf8')
  .replaceAll(/^\s*#.*\n/gm, '')
  .replaceAll(/\\\n\s*/g, ' ')
  .split('\n')
  .filter((line) => line.trim() !== '')
  .map((line) => ({ name: line.split(' ')[0] ?? '', rest: line.slice(line.indexOf(' ') + 1).trim() }));
const lastStage = instructions.slice(instructions.findLastIndex(({ name }) => name === 'FROM'));
const value = (name: string) => lastStage.findLast((each) => each.name === name)?.rest;

/** What the build context keeps of a path: .dockerignore leaves out everything and then lets some of it in. */
const allowed = readFileSync(join(root, '.dockerignore'), 'utf8')
  .split('\n')
  .flatMap((line) => (line.startsWith('!') ? [line.slice(1)] : []));

test('the image copies only what exists and what .dockerignore lets in', () => {
  const sources = instructions.filter(({ name, rest }) => name === 'COPY' && !rest.startsWith('--from')).flatMap(({ rest }) => rest.split(' ').slice(0, -1));
  expect(sources.length).toBeGreaterThan(5);
  for (const source of sources.flatMap((each) => (each.includes('${SERVICE}') ? services.map((service) => each.replace('${SERVICE}', service)) : [each]))) {
    expect({ source, exists: existsSync(join(root, source)) }).toEqual({ source, exists: true });
    expect({ source, allowed: allowed.some((each) => source === each || source.startsWith(`${each}/`)) }).toEqual({ source, allowed: true });
  }
});

test('the image installs from the manifests of every workspace', () => {
  // npm ci refuses a lockfile that knows a workspace which is not there.
  const { workspaces } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { workspaces: string[] };
  const copied = instructions.filter(({ name, rest }) => name === 'COPY' && !rest.startsWith('--from')).map(({ rest }) => rest.split(' ')[0]);
  for (const workspace of workspaces) {
    const folder = workspace.replace('/*', '');
    expect(copied).toContain(workspace.endsWith('/*') ? folder : `${folder}/package.json`);
  }
});

test('the image runs as a numbered user, not root, and starts the service without a shell', () => {
  expect(value('USER')).toMatch(/^[1-9]\d*:[1-9]\d*$/);
  expect(value('WORKDIR')).toBe('/app/services/${SERVICE}');
  expect(JSON.parse(value('CMD') ?? '')).toEqual(['node', 'src/main.ts']);
  expect(value('HEALTHCHECK')).toContain('/livez');
  expect(value('ENV')).toContain('NODE_ENV=production');
});

test('the image has a Node that runs the sources', () => {
  const version = instructions.find(({ name, rest }) => name === 'ARG' && rest.startsWith('NODE_VERSION='))?.rest.split('=')[1] ?? '';
  expect(instructions.filter(({ name }) => name === 'FROM').every(({ rest }) => rest.startsWith('node:${NODE_VERSION}-'))).toBe(true);
  expect(Number(version.split('.')[0])).toBeGreaterThanOrEqual(24);
});

test('every service can start: its folder has a main.ts', () => {
  for (const service of services) expect({ service, main: existsSync(join(root, 'services', service, 'src/main.ts')) }).toEqual({ service, main: true });
});

test('the compose file runs every service, from the one Dockerfile', () => {
  expect(fleet.map(([name]) => name).toSorted()).toEqual(services.toSorted());
  for (const [name, { build, image, profiles }] of fleet) {
    expect({ build, image, profiles }).toEqual({ build: { context: '.', args: { SERVICE: name } }, image: `backhaul/${name}:dev`, profiles: ['all'] });
  }
});

test.each(Object.entries(compose.services))('%s in the compose file opens ports on loopback only', (_name, { ports = [] }) => {
  for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
});

test('no two containers of the compose file want the same port', () => {
  const ports = Object.values(compose.services).flatMap(({ ports: own = [] }) => own.map((port) => port.split(':')[1]));
  expect(ports).toHaveLength(new Set(ports).size);
});

test.each(servers)(
  '%s in the compose file is a server of both profiles that tells when it is ready',
  (_name, { profiles, healthcheck, image, volumes = [] }) => {
    expect(profiles).toEqual(['infra', 'all']);
    expect(healthcheck?.test[0]).toBe('CMD');
    // A tag of its own, so that a pull does not change the major version under existing data.
    expect(image).toMatch(/:v?\d/);
    for (const volume of volumes) expect(compose.volumes).toHaveProperty(volume.split(':')[0] ?? '');
  },
);

test('Redis in the compose file keeps its jobs: append-only, no eviction', () => {
  expect(compose.services['redis']?.command?.join(' ')).toMatch(/--appendonly yes .*--maxmemory-policy noeviction/);
});

test.each(fleet)('%s in the compose file waits for its servers, is unprivileged, and has time to stop', (_name, service) => {
  expect(Object.keys(service.depends_on ?? {})).toEqual(expect.arrayContaining(['redis', 'rabbitmq', 'postgres']));
  for (const [server, { condition }] of Object.entries(service.depends_on ?? {})) {
    expect({ server, condition }).toEqual({ server, condition: 'service_healthy' });
    expect(compose.services[server]?.healthcheck).toBeDefined();
  }
  expect({ readOnly: service.read_only, dropped: service.cap_drop }).toEqual({ readOnly: true, dropped: ['ALL'] });
  expect([...(service.tmpfs ?? []), ...(service.volumes ?? [])].some((mount) => mount.endsWith('/tmp'))).toBe(true);
  expect(Number(service.environment?.['WORKER_STOP_GRACE_MS'])).toBeLessThan(Number(service.environment?.['SHUTDOWN_TIMEOUT_MS']));
  expect(Number(service.environment?.['SHUTDOWN_TIMEOUT_MS'])).toBeLessThan(1000 * Number.parseInt(service.stop_grace_period ?? '10s', 10));
  expect(service.ports?.[0]?.split(':')[2]).toBe(service.environment?.['PORT']);
});

test('every variable in the compose file is read by a service, and each service gets what it cannot start without', async () => {
  const configs = await serviceConfigs();
  const known = new Set(configs.flatMap(({ schema }) => Object.keys(schema.shape)));
  for (const { service, schema } of configs) {
    const environment = compose.services[service]?.environment ?? {};
    expect({ service, unknown: Object.keys(environment).filter((name) => !known.has(name)) }).toEqual({ service, unknown: [] });
    expect({ service, issues: schema.safeParse(environment).error?.issues }).toEqual({ service, issues: undefined });
  }
});

test('the media-worker is bounded where it cannot lock up its decoders', () => {
  expect(compose.services['media-worker']).toMatchObject({ pids_limit: expect.any(Number) as unknown, mem_limit: expect.any(String) as unknown });
});

test("the media-worker's image brings what decoders are locked up with", () => {
  const installed = lastStage.find(({ name, rest }) => name === 'RUN' && rest.includes('apt-get install'))?.rest ?? '';
  for (const program of ['bubblewrap', 'ffmpeg', 'libheif-examples', 'libjemalloc2']) expect(installed).toContain(` ${program} `);
});

test('the compose file makes the bucket that the services use', () => {
  const buckets = Object.values(compose.services).flatMap(({ environment }) => environment?.['AWS_S3_BUCKET'] ?? []);
  expect(buckets.length).toBeGreaterThan(0);
  expect(new Set(buckets)).toEqual(new Set([compose.services['s3']?.environment?.['COM_ADOBE_TESTING_S3MOCK_STORE_INITIAL_BUCKETS']]));
});

test('the image carries no tests and no secrets', () => {
  const ignored = readFileSync(join(root, '.dockerignore'), 'utf8').split('\n');
  expect(ignored).toEqual(expect.arrayContaining(['*', '**/*.test.ts', '**/.env', '**/node_modules']));
});
