import { createTransport } from 'nodemailer';
import { type Finding, ok, problem } from './finding.ts';

/** Where mail goes; names as in `.env.example`. */
export interface SmtpAddress {
  readonly SMTP_HOST: string;
  readonly SMTP_PORT: number;
  readonly SMTP_USER?: string | undefined;
  readonly SMTP_PASSWORD?: string | undefined;
  readonly SMTP_TLS: 'required' | 'opportunistic' | 'off';
}

const TIMEOUT_MS = 5_000;

/** The SMTP relay: greeting, TLS and sign-in, as the notification worker does them. Sends nothing. */
export async function checkSmtp(address: SmtpAddress): Promise<Finding[]> {
  const { SMTP_HOST: host, SMTP_PORT: port, SMTP_USER: user, SMTP_TLS: tls } = address;
  const transport = createTransport({
    host,
    port,
    secure: tls !== 'off' && port === 465,
    requireTLS: tls === 'required',
    ignoreTLS: tls === 'off',
    ...(tls === 'opportunistic' ? { opportunisticTLS: true, tls: { rejectUnauthorized: false } } : {}),
    ...(user === undefined ? {} : { auth: { user, pass: address.SMTP_PASSWORD ?? '' } }),
    connectionTimeout: TIMEOUT_MS,
    greetingTimeout: TIMEOUT_MS,
    socketTimeout: TIMEOUT_MS,
    dnsTimeout: TIMEOUT_MS,
  });
  try {
    await transport.verify();
    return [ok('smtp.handshake', `${host}:${port}, TLS ${tls}, ${user === undefined ? 'no sign-in' : `as ${user}`}`)];
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [problem('smtp.handshake', `${host}:${port}: ${reason}`, mendOf(error))];
  } finally {
    transport.close();
  }
}

function mendOf(error: unknown): string {
  switch ((error as { code?: unknown }).code) {
    case 'EAUTH':
      return 'check SMTP_USER and SMTP_PASSWORD';
    case 'EDNS':
    case 'ENOTFOUND':
      return 'check SMTP_HOST';
    case 'ETLS':
      return 'the relay offers no TLS, or its certificate is not valid: mend the relay, or set SMTP_TLS';
    default:
      return 'check SMTP_HOST and SMTP_PORT, and that this machine may reach them';
  }
}
