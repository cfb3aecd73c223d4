import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { IHorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2';
import type { IDeployment } from 'kubernetes-models/apps/v1';
import type { INetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1';
import type { IPodDisruptionBudget } from 'kubernetes-models/policy/v1';
import type { IContainer, IEnvFromSource, IService } from 'kubernetes-models/v1';
import { queues } from '@backhaul/jobs';
import { expect, test, vi } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { type Manifest, schemaProblems } from './kubernetes-schema.ts';
import { root, serviceConfigs, services } from './service-configs.ts';

// tsc and kubectl are started by these tests: seconds on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

interface Kustomization {
  readonly resources: readonly string[];
  readonly images?: readonly { readonly name: string }[];
  readonly patches?: readonly { readonly target: { readonly kind: string; readonly name?: string } }[];
}

const kustomization = (folder: string) => parse(readFileSync(join(root, 'k8s', folder, 'kustomization.yaml'), 'utf8')) as Kustomization;
const base = kustomization('base').resources.flatMap((file) =>
  parseAllDocuments(readFileSync(join(root, 'k8s/base', file), 'utf8')).map((document) => document.toJS() as Manifest),
);

/** What kubectl makes of a kustomization; undefined where there is no kubectl. */
function render(folder: string): Promise<Manifest[] | undefined> {
  return new Promise((resolve, reject) => {
    execFile('kubectl', ['kustomize', join(root, 'k8s', folder)], { maxBuffer: 16 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error === null) resolve(parseAllDocuments(stdout).map((document) => document.toJS() as Manifest));
      else if (error.code === 'ENOENT') resolve(undefined);
      else reject(new Error(stderr, { cause: error }));
    });
  });
}

const all = <Kind>(kind: string, manifests: readonly Manifest[] = base) => manifests.filter((manifest) => manifest.kind === kind) as (Manifest & Kind)[];
const deployments = all<IDeployment>('Deployment');
const pod = (deployment: IDeployment) => deployment.spec?.template.spec;
const container = (deployment: IDeployment): IContainer => {
  const [only, ...others] = pod(deployment)?.containers ?? [];
  if (only === undefined || others.length > 0) throw new Error('expected one container');
  return only;
};

/** The environment that a Deployment's container gets, in the order in which Kubernetes lets later ones win. */
function environment(deployment: IDeployment): Record<string, string> {
  const { envFrom = [], env = [] } = container(deployment);
  const contents = (kind: string, name: string | undefined): Record<string, string> => {
    const found = base.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);
    if (found === undefined) throw new Error(`${kind} ${name} does not exist`);
    return { ...found.data, ...found.stringData };
  };
  const source = ({ configMapRef, secretRef }: IEnvFromSource) =>
    configMapRef ? contents('ConfigMap', configMapRef.name) : contents('Secret', secretRef?.name);
  const own = env.map(({ name, value = '', valueFrom }) => {
    const reference = valueFrom?.secretKeyRef;
    if (reference === undefined) return [name, value];
    const kept = contents('Secret', reference.name)[reference.key];
    if (kept === undefined) throw new Error(`the Secret ${reference.name} has no ${reference.key}`);
    return [name, kept];
  });
  return Object.assign({}, ...envFrom.map(source), Object.fromEntries(own)) as Record<string, string>;
}

test('every manifest of the base fits the schemas of Kubernetes, without an unknown field', async () => {
  expect(await schemaProblems(base)).toBe('');
});

test('the schema check finds an unknown field, a missing one and a wrong type', async () => {
  const autoscaler = { apiVersion: 'autoscaling/v2', kind: 'HorizontalPodAutoscaler' };
  const target = { kind: 'Deployment', name: 'x' };
  const problems = await schemaProblems([
    { ...autoscaler, metadata: { name: 'unknown' }, spec: { scaleTargetRef: target, maxReplicas: 3, minReplica: 1 } },
    { ...autoscaler, metadata: { name: 'missing' }, spec: { scaleTargetRef: target } },
    { ...autoscaler, metadata: { name: 'wrong' }, spec: { scaleTargetRef: target, maxReplicas: '3' } },
  ]);
  expect(problems.match(/error TS\d+/g)).toEqual(['error TS2353', 'error TS2741', 'error TS2322']);
});

test('every file of the base is listed, and every listed file exists', () => {
  const files = readdirSync(join(root, 'k8s/base')).filter((file) => file !== 'kustomization.yaml');
  expect(kustomization('base').resources.toSorted()).toEqual(files.toSorted());
  for (const overlay of readdirSync(join(root, 'k8s/overlays'))) {
    for (const resource of kustomization(`overlays/${overlay}`).resources) expect(existsSync(join(root, 'k8s/overlays', overlay, resource))).toBe(true);
  }
});

test('every service has a Deployment and a Service', () => {
  expect(deployments.map(({ metadata }) => metadata.name).toSorted()).toEqual(services.toSorted());
  expect(
    all('Service')
      .map(({ metadata }) => metadata.name)
      .toSorted(),
  ).toEqual(services.toSorted());
});

test.each(deployments.map((deployment) => [deployment.metadata.name, deployment] as const))(
  'the pods of %s are probed, bounded and unprivileged',
  (name, deployment) => {
    const { livenessProbe, readinessProbe, startupProbe, resources, securityContext, volumeMounts, image } = container(deployment);
    expect(image).toBe(`backhaul/${name}`);
    expect([startupProbe, livenessProbe, readinessProbe].map((probe) => probe?.httpGet)).toEqual([
      { path: '/livez', port: 'http' },
      { path: '/livez', port: 'http' },
      { path: '/readyz', port: 'http' },
    ]);
    expect(resources).toMatchObject({
      requests: { cpu: expect.anything() as unknown, memory: expect.anything() as unknown },
      limits: { cpu: expect.anything() as unknown, memory: expect.anything() as unknown },
    });
    expect(securityContext).toEqual({ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } });
    expect(pod(deployment)?.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } });
    // The root file system is read-only: without this mount nothing that needs a temporary file works.
    expect(volumeMounts).toContainEqual({ name: 'tmp', mountPath: '/tmp' });
    expect(pod(deployment)?.volumes).toContainEqual({ name: 'tmp', emptyDir: { sizeLimit: expect.any(String) as unknown } });
  },
);

test.each(deployments.map((deployment) => [deployment.metadata.name, deployment] as const))(
  '%s listens where its Service and its probes look',
  (name, deployment) => {
    const { PORT, HOST } = environment(deployment);
    expect(container(deployment).ports).toEqual([{ name: 'http', containerPort: Number(PORT) }]);
    expect(HOST).toBe('0.0.0.0');
    const service = all<IService>('Service').find(({ metadata }) => metadata.name === name);
    expect(service?.spec?.ports).toEqual([{ name: 'http', port: 80, targetPort: 'http' }]);
    expect(service?.spec?.selector).toEqual(deployment.spec?.selector.matchLabels);
    expect(deployment.spec?.template.metadata?.labels).toMatchObject(deployment.spec?.selector.matchLabels ?? {});
    expect(deployment.spec?.template.metadata?.annotations).toMatchObject({ 'prometheus.io/port': PORT });
  },
);

test.each(deployments.map((deployment) => [deployment.metadata.name, deployment] as const))(
  'a stop of %s has time to hand back its work',
  (_name, deployment) => {
    const { SHUTDOWN_TIMEOUT_MS, WORKER_STOP_GRACE_MS } = environment(deployment);
    const pauseMs = 1000 * (container(deployment).lifecycle?.preStop?.sleep?.seconds ?? 0);
    expect(Number(WORKER_STOP_GRACE_MS)).toBeLessThan(Number(SHUTDOWN_TIMEOUT_MS));
    expect(Number(SHUTDOWN_TIMEOUT_MS) + pauseMs).toBeLessThan(1000 * (pod(deployment)?.terminationGracePeriodSeconds ?? 30));
  },
);

test('every variable in the manifests is read by a service, and each service gets what it cannot start without', async () => {
  const configs = await serviceConfigs();
  const known = new Set(configs.flatMap(({ schema }) => Object.keys(schema.shape)));
  for (const { metadata, data, stringData } of [...all('ConfigMap'), ...all('Secret')]) {
    expect({ in: metadata.name, unknown: Object.keys({ ...data, ...stringData }).filter((name) => !known.has(name)) }).toEqual({
      in: metadata.name,
      unknown: [],
    });
  }
  const { privateKey } = generateKeyPairSync('ed25519', {
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  for (const { service, schema } of configs) {
    const deployment = deployments.find(({ metadata }) => metadata.name === service);
    if (deployment === undefined) throw new Error(`${service} has no Deployment`);
    const own = (container(deployment).env ?? []).map(({ name }) => name);
    expect({ service, unknown: own.filter((name) => !(name in schema.shape)) }).toEqual({ service, unknown: [] });
    const env = environment(deployment);
    // The template's placeholder is no key; the service refuses it, as it should.
    if (env['FIREBASE_PRIVATE_KEY'] !== undefined) env['FIREBASE_PRIVATE_KEY'] = privateKey;
    expect({ service, issues: schema.safeParse(env).error?.issues }).toEqual({ service, issues: undefined });
  }
});

test('every work queue has an autoscaler, on its own figure, for a Deployment that does not set its number', () => {
  const scalers = all<IHorizontalPodAutoscaler>('HorizontalPodAutoscaler');
  const queueOf = ({ spec }: IHorizontalPodAutoscaler) => spec?.metrics?.[0]?.external?.metric.selector?.matchLabels?.['queue'];
  expect(scalers.flatMap((scaler) => queueOf(scaler) ?? []).toSorted()).toEqual(queues.map(({ name }) => name).toSorted());
  for (const scaler of scalers) {
    expect(scaler.spec?.scaleTargetRef).toEqual({ apiVersion: 'apps/v1', kind: 'Deployment', name: `${queueOf(scaler)}-worker` });
    expect(deployments.find(({ metadata }) => metadata.name === scaler.spec?.scaleTargetRef.name)?.spec).not.toHaveProperty('replicas');
    expect(scaler.spec?.metrics).toMatchObject([
      { type: 'External', external: { metric: { name: 'backhaul_worker_desired_replicas' }, target: { type: 'AverageValue', averageValue: '1' } } },
    ]);
    expect(scaler.spec?.minReplicas).toBeLessThan(scaler.spec?.maxReplicas ?? 0);
  }
});

test('the metrics adapter serves the figure that the autoscalers read', () => {
  const { rules } = parse(readFileSync(join(root, 'k8s/prometheus-adapter/values.yaml'), 'utf8')) as { rules: { external: { name: { as: string } }[] } };
  const wanted = all<IHorizontalPodAutoscaler>('HorizontalPodAutoscaler').flatMap(
    ({ spec }) => spec?.metrics?.map(({ external }) => external?.metric.name) ?? [],
  );
  expect(new Set(wanted)).toEqual(new Set(rules.external.map(({ name }) => name.as)));
});

test('what runs more than once has a disruption budget, and nothing else has', () => {
  const least = (name: string) =>
    deployments.find(({ metadata }) => metadata.name === name)?.spec?.replicas ??
    all<IHorizontalPodAutoscaler>('HorizontalPodAutoscaler').find(({ metadata }) => metadata.name === name)?.spec?.minReplicas ??
    1;
  const budgets = all<IPodDisruptionBudget>('PodDisruptionBudget');
  expect(budgets.map(({ metadata }) => metadata.name).toSorted()).toEqual(services.filter((name) => least(name) > 1).toSorted());
  for (const { metadata, spec } of budgets) expect(spec?.selector?.matchLabels).toEqual({ 'app.kubernetes.io/name': metadata.name });
});

test('the media-worker, which opens what strangers send, reaches names, the record, the queue and S3, and nothing else', () => {
  const policy = all<INetworkPolicy>('NetworkPolicy').find(({ spec }) => spec?.policyTypes?.includes('Egress'));
  const deployment = deployments.find(({ metadata }) => metadata.name === 'media-worker');
  if (policy === undefined || deployment === undefined) throw new Error('no policy, or nothing that it is for');
  expect(deployment.spec?.template.metadata?.labels).toMatchObject(policy.spec?.podSelector?.matchLabels ?? { missing: '' });
  const { REDIS_URL = '', DATABASE_URL = '' } = environment(deployment);
  const open = policy.spec?.egress?.flatMap(({ ports = [] }) => ports.map(({ protocol, port }) => `${protocol} ${port}`)) ?? [];
  expect(open.toSorted()).toEqual(['UDP 53', 'TCP 53', `TCP ${new URL(REDIS_URL).port}`, `TCP ${new URL(DATABASE_URL).port}`, 'TCP 443'].toSorted());
});

test("the media-worker's volume takes the largest video three times for each job, with what stays free", async () => {
  const { schema } = (await serviceConfigs()).find(({ service }) => service === 'media-worker') ?? {};
  const deployment = deployments.find(({ metadata }) => metadata.name === 'media-worker');
  if (schema === undefined || deployment === undefined) throw new Error('no media-worker');
  const config = schema.parse(environment(deployment)) as { MEDIA_MAX_VIDEO_BYTES: number; MEDIA_CONCURRENCY: number; MEDIA_TEMP_MIN_FREE_BYTES: number };
  const sizeLimit = pod(deployment)?.volumes?.find(({ name }) => name === 'tmp')?.emptyDir?.sizeLimit;
  expect(sizeLimit).toMatch(/^\d+Gi$/);
  expect(Number.parseInt(String(sizeLimit), 10) * 1024 ** 3).toBeGreaterThan(
    3 * config.MEDIA_MAX_VIDEO_BYTES * config.MEDIA_CONCURRENCY + config.MEDIA_TEMP_MIN_FREE_BYTES,
  );
});

test.each(['base', 'overlays/dev', 'overlays/prod'])('%s renders', async (folder) => {
  const rendered = await render(folder);
  const { images = [], patches = [] } = kustomization(folder);
  // Also where there is no kubectl: an image or a patch for something that does not exist is ignored silently.
  if (folder !== 'base') expect(images.map(({ name }) => name).toSorted()).toEqual(services.map((name) => `backhaul/${name}`).toSorted());
  for (const { target } of patches)
    expect(base.filter(({ kind, metadata }) => kind === target.kind && (target.name ?? metadata.name) === metadata.name)).not.toEqual([]);
  if (rendered === undefined) return;
  expect(await schemaProblems(rendered)).toBe('');
  expect(
    all('Deployment', rendered)
      .map(({ metadata }) => metadata.name)
      .toSorted(),
  ).toEqual(services.toSorted());
  if (folder === 'base') expect(rendered).toHaveLength(base.length);
  if (folder === 'overlays/prod') expect(all('Secret', rendered)).toEqual([]);
  for (const deployment of all<IDeployment>('Deployment', rendered))
    expect(container(deployment).image).toMatch(folder === 'base' ? /^backhaul\/[a-z-]+$/ : /:(?!latest$)/);
});
