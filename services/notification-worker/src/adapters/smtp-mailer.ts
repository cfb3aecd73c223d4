import type { Readable } from 'node:stream';
import { type MailMessage, type Mailer, parseAddress } from '@backhaul/jobs/notification';
import type { Closeable } from '@backhaul/runtime';
import { createTransport } from 'nodemailer';
import { classify } from './smtp-answer.ts';
import { encodedSubject } from './subject-header.ts';

/** How mail reaches the relay. */
export interface SmtpOptions {
  readonly host: string;
  readonly port: number;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  /** The sender: a bare address, or a name with the address in angle brackets. */
  readonly from: { readonly name: string; readonly address: string };
  /**
   * `required`: TLS from the start on port 465, else STARTTLS, with a valid
   * certificate, or nothing is sent. `opportunistic`: STARTTLS when it works,
   * any certificate. `off`: never.
   */
  readonly tls: 'required' | 'opportunistic' | 'off';
}

/** Connections at once, over which messages share one greeting. */
const MAX_CONNECTIONS = 5;
/** Limits of the parts of a session; each below the time that a whole send may take. */
const CONNECTION_TIMEOUT_MS = 5_000;
const GREETING_TIMEOUT_MS = 5_000;
const SOCKET_TIMEOUT_MS = 15_000;
const DNS_TIMEOUT_MS = 5_000;
/** Connections that nobody used for so long are closed before the relay does it in the middle of a send. */
const IDLE_TIMEOUT_MS = 10_000;

/** Mails through one SMTP relay, over a pool of connections. Connects on the first send. */
export function createSmtpMailer(options: SmtpOptions): Mailer & Closeable {
  const transport = createTransport({
    pool: true,
    host: options.host,
    port: options.port,
    ...tlsOptions(options),
    ...(options.user === undefined ? {} : { auth: { user: options.user, pass: options.password ?? '' } }),
    maxConnections: MAX_CONNECTIONS,
    connectionTimeout: CONNECTION_TIMEOUT_MS,
    greetingTimeout: GREETING_TIMEOUT_MS,
    socketTimeout: SOCKET_TIMEOUT_MS,
    dnsTimeout: DNS_TIMEOUT_MS,
    idleTimeout: IDLE_TIMEOUT_MS,
    // Nobody's text may name a file or a URL to be read into a mail.
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  const bodies = new WeakMap<AbortSignal, Readable[]>();
  // The error of a lost connection does not say whether the message had gone out. Whether its body was read does.
  transport.use('stream', (mail, next) => {
    const { signal } = mail.data;
    const create = mail.message.createReadStream.bind(mail.message);
    mail.message.createReadStream = (...args) => {
      const body = create(...args);
      if (signal !== undefined) bodies.get(signal)?.push(body);
      return body;
    };
    next();
  });
  const domain = options.from.address.slice(options.from.address.lastIndexOf('@') + 1);

  return {
    async send(message, signal) {
      // nodemailer drops line breaks out of an address, which can leave another one: nothing but a plain address may come so far.
      if (parseAddress(message.to) !== message.to)
        return { outcome: 'refused', about: 'recipient', code: 'invalid_address', detail: 'the recipient is not one plain mail address' };
      // One of its own, because a signal is also the key under which the body is found.
      const own = AbortSignal.any([signal]);
      const read: Readable[] = [];
      bodies.set(own, read);
      try {
        const info = await transport.sendMail({ ...compose(message, options.from, domain), signal: own });
        return { outcome: 'sent', providerId: info.serverMessageId ?? info.messageId };
      } catch (error) {
        return classify(
          error,
          read.some((body) => body.readableDidRead),
        );
      }
    },
    async close() {
      transport.close({ force: true });
    },
  };
}

/** From a fixed set of plain strings; nothing of a payload reaches nodemailer as an object. */
function compose({ to, subject, text, html, messageIdLeft, fromName }: MailMessage, from: SmtpOptions['from'], domain: string) {
  const encoded = encodedSubject(subject);
  return {
    from: { name: fromName ?? from.name, address: from.address },
    to: { name: '', address: to },
    envelope: { from: from.address, to: [to] },
    messageId: `<${messageIdLeft}@${domain}>`,
    // RFC 3834: tells out-of-office replies to stay silent.
    headers: { 'Auto-Submitted': 'auto-generated', ...(encoded === undefined ? {} : { Subject: { prepared: true, value: encoded } }) },
    ...(encoded === undefined ? { subject } : {}),
    text,
    html,
    disableFileAccess: true,
    disableUrlAccess: true,
  };
}

function tlsOptions({ tls, port }: SmtpOptions) {
  switch (tls) {
    case 'required':
      return port === 465
        ? { secure: true, tls: { minVersion: 'TLSv1.2' as const } }
        : { secure: false, requireTLS: true, tls: { minVersion: 'TLSv1.2' as const } };
    case 'opportunistic':
      // Against a listener only: whoever can change traffic can strip STARTTLS as well, so the certificate proves nothing.
      return { secure: port === 465, opportunisticTLS: true, tls: { rejectUnauthorized: false } };
    case 'off':
      return { secure: false, ignoreTLS: true };
  }
}
