import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Server } from 'node:net';
import { controlPort } from './control.ts';
import { EffectLog } from './effect-log.ts';
import { fcmFake } from './fcm.ts';
import { resendFake } from './resend.ts';
import type { ResendAccount } from './resend.ts';
import { s3Fake } from './s3.ts';
import { smsFake } from './sms.ts';
import type { SmsAccount } from './sms.ts';
import { smtpFake } from './smtp.ts';
import type { SmtpAccount } from './smtp.ts';

/** The one argument of this program, as JSON. */
export type FakesConfig = {
  dir: string;
  ports: { control: number; s3: number; fcm: number; smtp: number; sms: number; resend: number };
  tls: { certFile: string; keyFile: string };
  smtp: SmtpAccount;
  sms: SmsAccount;
  resend: ResendAccount;
};

/** Run the fakes: effects go to `<dir>/fakes/effects.ndjson`. The control port opens last. */
async function main(config: FakesConfig): Promise<void> {
  const { dir, ports } = config;
  const log = new EffectLog(join(dir, 'fakes', 'effects.ndjson'));
  const tls = { cert: readFileSync(config.tls.certFile, 'utf8'), key: readFileSync(config.tls.keyFile, 'utf8') };
  const fakes = {
    s3: s3Fake({ dir, log }),
    fcm: fcmFake({ log, tls }),
    smtp: smtpFake({ dir, log, account: config.smtp, tls }),
    sms: smsFake({ log, account: config.sms }),
    resend: resendFake({ log, account: config.resend }),
  };
  await Promise.all(Object.entries(fakes).map(([name, fake]) => listen(fake.server, ports[name as keyof typeof fakes])));
  await listen(controlPort(fakes, log), ports.control);
  process.on('SIGTERM', () => process.exit(0));
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve());
  });
}

await main(JSON.parse(process.argv[2] ?? '{}') as FakesConfig);
