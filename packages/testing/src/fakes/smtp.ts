import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createSecureContext, TLSSocket } from 'node:tls';
import { simpleParser } from 'mailparser';
import type { ControlledFake } from './control.ts';
import type { EffectLog } from './effect-log.ts';
import { RuleBook } from './rules.ts';
import type { Action, Facts } from './rules.ts';

export type SmtpAccount = { user: string; password: string };

/** Bytes of a line that is no message content; RFC 5321 asks for 512, extensions for more. */
const MAX_LINE_BYTES = 4096;

/**
 * An SMTP submission server (EHLO, STARTTLS, AUTH PLAIN and LOGIN, PIPELINING, 8BITMIME, SIZE). Own code,
 * since the steps to be scripted include the DATA command and the moment after the final dot, which
 * server libraries do not expose.
 *
 * Steps for rules: greeting, ehlo, starttls, auth, mail, rcpt, data, message (after the final dot), quit.
 * `status` is the reply code, `code` the enhanced status, `body` the text. On `ehlo`, the status 250 with a body
 * of `no-starttls` hides STARTTLS. `loseReply` on `message` takes the mail and drops the line.
 *
 * Effects: mail `{from, to, subject, messageId, hasText, hasHtml, headers, file, sizeBytes}`; the raw mail is in
 * `<dir>/mail/<n>.eml`.
 */
export function smtpFake(options: {
  dir: string;
  log: EffectLog;
  account: SmtpAccount;
  tls: { cert: string; key: string };
}): ControlledFake & { server: Server } {
  const { dir, log, account } = options;
  const rules = new RuleBook();
  const requests: Record<string, number> = {};
  const sockets = new Set<Socket>();
  const secureContext = createSecureContext(options.tls);
  const mailDir = join(dir, 'mail');
  mkdirSync(mailDir, { recursive: true });
  // Continues behind the mails of earlier runs.
  let mails = Date.now();

  async function converse(raw: Socket): Promise<void> {
    let socket: Socket = raw;
    let lines = lineReader(socket);
    let authenticated = false;
    let offersStartTls = true;
    let from: string | undefined;
    let to: string[] = [];
    const say = (line: string): boolean => socket.writable && socket.write(`${line}\r\n`);

    /** Apply the rules of a step. True: the step is settled, do not do its normal work. */
    async function faulty(step: string, facts: Facts = {}): Promise<'settled' | Action | undefined> {
      requests[step] = (requests[step] ?? 0) + 1;
      const all = { step, from: from ?? '', to: to.join(','), ...facts };
      const action = rules.take(all);
      if (!action) return undefined;
      if (action.delayMs !== undefined) await delay(action.delayMs);
      if (action.hang) await new Promise((resolve) => raw.once('close', resolve));
      if (action.hang || action.reset) {
        raw.resetAndDestroy();
        return 'settled';
      }
      if (action.status !== undefined && action.status >= 400) {
        const text = [action.status, action.code, action.body ?? 'scripted'].filter((part) => part !== undefined).join(' ');
        log.append('smtp', 'refused', all.to, { ...all, status: action.status });
        say(text);
        // 421 announces that the server closes the channel (RFC 5321, 3.8).
        if (action.status === 421 || step === 'greeting') socket.end();
        return 'settled';
      }
      return action;
    }

    /** One reply for a step that succeeds, slow or lost when a rule says so. */
    async function reply(action: Action | undefined, line: string): Promise<void> {
      if (action?.loseReply) {
        raw.resetAndDestroy();
      } else if (action?.bytesPerSecond !== undefined) {
        for (const character of `${line}\r\n`) {
          await delay(1000 / action.bytesPerSecond);
          if (!socket.writable) return;
          socket.write(character);
        }
      } else {
        say(line);
      }
    }

    const greeting = await faulty('greeting');
    if (greeting === 'settled') return;
    await reply(greeting, '220 backhaul.example ESMTP');

    for (;;) {
      const line = await lines.next();
      if (line === undefined) return;
      const [verb = '', ...rest] = line.split(' ');
      const argument = rest.join(' ');
      switch (verb.toUpperCase()) {
        case 'HELO':
        case 'EHLO': {
          const action = await faulty('ehlo');
          if (action === 'settled') break;
          offersStartTls = !(socket instanceof TLSSocket) && action?.body !== 'no-starttls';
          const extensions = [
            'backhaul.example',
            'PIPELINING',
            '8BITMIME',
            'SMTPUTF8',
            'ENHANCEDSTATUSCODES',
            'SIZE 26214400',
            'AUTH PLAIN LOGIN',
            ...(offersStartTls ? ['STARTTLS'] : []),
          ];
          if (verb.toUpperCase() === 'HELO') extensions.length = 1;
          await reply(action, extensions.map((extension, index) => `250${index === extensions.length - 1 ? ' ' : '-'}${extension}`).join('\r\n'));
          break;
        }
        case 'STARTTLS': {
          if ((await faulty('starttls')) === 'settled') break;
          if (!offersStartTls) {
            say('454 4.7.0 TLS not available');
            break;
          }
          // What was pipelined behind STARTTLS in clear text must not count as said inside TLS.
          lines.stop();
          say('220 2.0.0 Ready to start TLS');
          socket = new TLSSocket(raw, { isServer: true, secureContext });
          socket.on('error', () => raw.destroy());
          lines = lineReader(socket);
          authenticated = false;
          break;
        }
        case 'AUTH': {
          const action = await faulty('auth');
          if (action === 'settled') break;
          const given = await credentials(argument, say, () => lines.next());
          authenticated = given?.user === account.user && given.password === account.password;
          await reply(action, authenticated ? '235 2.7.0 Accepted' : '535 5.7.8 Authentication credentials invalid');
          break;
        }
        case 'MAIL': {
          const address = /^FROM:\s*<([^>]*)>/i.exec(argument)?.[1];
          const action = await faulty('mail', { from: address ?? '' });
          if (action === 'settled') break;
          if (!authenticated) say('530 5.7.0 Authentication required');
          else if (address === undefined) say('501 5.5.4 Syntax: MAIL FROM:<address>');
          else {
            from = address;
            to = [];
            await reply(action, '250 2.1.0 OK');
          }
          break;
        }
        case 'RCPT': {
          const address = /^TO:\s*<([^>]+)>/i.exec(argument)?.[1];
          const action = await faulty('rcpt', { to: address ?? '' });
          if (action === 'settled') break;
          if (from === undefined) say('503 5.5.1 MAIL first');
          else if (address === undefined) say('501 5.5.4 Syntax: RCPT TO:<address>');
          else {
            to.push(address);
            await reply(action, '250 2.1.5 OK');
          }
          break;
        }
        case 'DATA': {
          const action = await faulty('data');
          if (action === 'settled') break;
          if (from === undefined || to.length === 0) {
            say('503 5.5.1 RCPT first');
            break;
          }
          await reply(action, '354 End data with <CR><LF>.<CR><LF>');
          const content = await lines.content();
          if (content === undefined) return;
          const outcome = await faulty('message');
          if (outcome !== 'settled') {
            const id = await accept({ from, to, content });
            await reply(outcome, `250 2.0.0 OK queued as ${id}`);
          }
          from = undefined;
          to = [];
          break;
        }
        case 'RSET':
          from = undefined;
          to = [];
          say('250 2.0.0 OK');
          break;
        case 'NOOP':
          say('250 2.0.0 OK');
          break;
        case 'QUIT':
          if ((await faulty('quit')) !== 'settled') say('221 2.0.0 Bye');
          socket.end();
          return;
        default:
          say('500 5.5.2 Command not recognised');
      }
    }
  }

  async function accept({ from, to, content }: { from: string; to: string[]; content: Buffer }): Promise<string> {
    const id = String(++mails);
    const file = join(mailDir, `${id}.eml`);
    writeFileSync(file, content);
    const parsed = await simpleParser(content);
    log.append('smtp', 'mail', to.join(','), {
      from,
      to,
      subject: parsed.subject ?? '',
      messageId: parsed.messageId ?? '',
      hasText: Boolean(parsed.text),
      hasHtml: typeof parsed.html === 'string',
      text: parsed.text?.slice(0, 2000),
      // Every occurrence counts: a header that was smuggled in twice must be seen.
      headers: parsed.headerLines.map(({ line }) => line),
      file,
      sizeBytes: content.length,
    });
    return id;
  }

  // Else the second answer to pipelined commands waits until the first is acknowledged, which takes 40 ms: servers send them together.
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    converse(socket).catch((error: unknown) => {
      process.stderr.write(`smtp: ${error instanceof Error ? (error.stack ?? '') : String(error)}\n`);
      socket.destroy();
    });
  });
  return { server, rules, traffic: () => ({ connections: sockets.size, requests }) };
}

async function credentials(argument: string, say: (line: string) => void, next: () => Promise<string | undefined>): Promise<SmtpAccount | undefined> {
  const [mechanism = '', initial] = argument.split(' ');
  const decode = (line: string | undefined): string => Buffer.from(line ?? '', 'base64').toString();
  const ask = async (challenge: string): Promise<string> => {
    say(`334 ${challenge}`);
    return decode(await next());
  };
  if (mechanism.toUpperCase() === 'PLAIN') {
    const [, user = '', password = ''] = (initial === undefined ? await ask('') : decode(initial)).split('\0');
    return { user, password };
  }
  if (mechanism.toUpperCase() !== 'LOGIN') return undefined;
  const user = initial === undefined ? await ask('VXNlcm5hbWU6') : decode(initial);
  return { user, password: await ask('UGFzc3dvcmQ6') };
}

type LineReader = {
  /** The next line without its end; undefined when the client is gone. */
  next(): Promise<string | undefined>;
  /** Message content up to the final dot, unstuffed; undefined when the client is gone before it. */
  content(): Promise<Buffer | undefined>;
  stop(): void;
};

const FINAL_DOT = Buffer.from('\r\n.\r\n');

function lineReader(socket: Socket): LineReader {
  let buffer = Buffer.alloc(0);
  let ended = false;
  let wake = (): void => {};
  const onData = (data: Buffer): void => {
    buffer = Buffer.concat([buffer, data]);
    wake();
  };
  const onEnd = (): void => {
    ended = true;
    wake();
  };
  socket.on('data', onData).once('end', onEnd).once('close', onEnd);

  async function take(find: () => { value: Buffer; rest: Buffer } | undefined): Promise<Buffer | undefined> {
    for (;;) {
      const found = find();
      if (found) {
        buffer = Buffer.from(found.rest);
        return found.value;
      }
      if (ended) return undefined;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  }

  return {
    async next() {
      const line = await take(() => {
        const end = buffer.indexOf('\r\n');
        if (end === -1 && buffer.length > MAX_LINE_BYTES) return { value: Buffer.from('TOO-LONG'), rest: Buffer.alloc(0) };
        return end === -1 ? undefined : { value: buffer.subarray(0, end), rest: buffer.subarray(end + 2) };
      });
      return line?.toString('utf8');
    },
    content: () =>
      take(() => {
        if (buffer.indexOf('.\r\n') === 0) return { value: Buffer.alloc(0), rest: buffer.subarray(3) };
        const end = buffer.indexOf(FINAL_DOT);
        if (end === -1) return undefined;
        const stuffed = buffer.toString('latin1', 0, end + 2);
        // A leading dot was doubled by the client (RFC 5321, 4.5.2).
        const content = stuffed.replaceAll(/(^|\r\n)\.\./g, '$1.');
        return { value: Buffer.from(content, 'latin1'), rest: buffer.subarray(end + FINAL_DOT.length) };
      }),
    stop() {
      socket.off('data', onData).off('end', onEnd).off('close', onEnd);
    },
  };
}
