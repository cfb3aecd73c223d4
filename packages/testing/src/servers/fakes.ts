import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { FakesConfig } from '../fakes/main.ts';
import { controlServer } from '../server-process.ts';
import type { ServerControl } from '../server-process.ts';

/** Loopback ports of the process with the fakes. */
export type FakesPorts = { control: number; s3: number; fcm: number; smtp: number; sms: number; resend: number };

/** The one process that plays S3, FCM, SMTP, the SMS provider and Resend; its URL is that of the control port. */
export function fakesServer(options: {
  dir: string;
  ports: FakesPorts;
  accounts: Pick<FakesConfig, 'smtp' | 'sms' | 'resend'>;
}): ServerControl & { caFile: string } {
  const { dir, ports, accounts } = options;
  const base = join(dir, 'fakes');
  const caFile = join(base, 'fcm-cert.pem');
  const keyFile = join(base, 'fcm-key.pem');
  const control = controlServer({
    name: 'fakes',
    url: `http://127.0.0.1:${ports.control}`,
    port: ports.control,
    dir,
    async command() {
      await mkdir(base, { recursive: true });
      if (!existsSync(caFile)) await createCertificate(caFile, keyFile);
      const config: FakesConfig = { dir, ports, tls: { certFile: caFile, keyFile }, ...accounts };
      return { file: process.execPath, args: [fileURLToPath(new URL('../fakes/main.ts', import.meta.url)), JSON.stringify(config)] };
    },
    async answers() {
      try {
        return (await fetch(`http://127.0.0.1:${ports.control}/ready`)).ok;
      } catch {
        return false;
      }
    },
    startTimeoutMs: 20_000,
    stopSignal: 'SIGTERM',
    stopTimeoutMs: 3_000,
    async wipe() {
      await Promise.all(['fakes', 's3', 'mail'].map((folder) => rm(join(dir, folder), { recursive: true, force: true })));
    },
  });
  return Object.assign(control, { caFile });
}

/** A self-signed certificate for Google's hosts; it is its own authority, so clients trust it as a CA. */
async function createCertificate(certFile: string, keyFile: string): Promise<void> {
  const names = 'DNS:fcm.googleapis.com,DNS:oauth2.googleapis.com,DNS:www.googleapis.com,DNS:localhost,IP:127.0.0.1';
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile];
  const certificate = ['-subj', '/CN=fcm.googleapis.com', '-addext', `subjectAltName=${names}`, '-days', '3650', '-out', certFile];
  try {
    await promisify(execFile)('openssl', ['req', '-x509', ...key, ...certificate]);
  } catch (cause) {
    throw new Error('openssl could not make the certificate of the FCM fake; install it with: apt-get install openssl', { cause });
  }
}
