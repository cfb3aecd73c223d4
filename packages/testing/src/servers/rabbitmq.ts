import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { controlServer } from '../server-process.ts';
import type { ServerControl } from '../server-process.ts';
import { elsewhere } from './elsewhere.ts';
import { findBinary } from './find-binary.ts';
import { handshake } from './handshake.ts';

/** RabbitMQ, with the command line that makes its alarms, queues and connections visible. */
export type RabbitmqControl = ServerControl & {
  /** Run `rabbitmqctl` against it, for example `['list_queues', 'name', 'messages']`. Takes seconds. */
  ctl(args: string[]): Promise<string>;
};

/** AMQP's frame type "method", with which the server opens the conversation (AMQP 0-9-1, 4.2.3). */
const METHOD_FRAME = 1;

/**
 * A RabbitMQ node that shares nothing with one that the system may run: node name, port, distribution
 * port, port mapper, cookie, data, logs and plugins are its own, and all of it listens on loopback only.
 */
export function rabbitmqServer(options: {
  dir: string;
  port: number;
  distPort: number;
  /** Port of the Erlang port mapper. The stack starts it; see erlangPortMapper. */
  epmdPort: number;
}): RabbitmqControl {
  const { dir, port, distPort, epmdPort } = options;
  // Its disk monitor puts the path in single quotes for a shell, and waits for ever when it holds one itself.
  const base = /['"\\]/.test(dir) ? elsewhere(dir, 'rabbitmq') : join(dir, 'rabbitmq');
  const home = join(base, 'home');
  const data = join(base, 'data');
  const env: NodeJS.ProcessEnv = {
    PATH: process.env['PATH'],
    LANG: 'C.UTF-8',
    HOME: home,
    // Makes the start script replace itself with the Erlang machine, so that our signals reach it.
    RUNNING_UNDER_SYSTEMD: '1',
    ERL_EPMD_PORT: String(epmdPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    // localhost, not the machine's name: that one need not resolve on a fresh or offline machine.
    RABBITMQ_NODENAME: 'backhaul@localhost',
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_DIST_PORT: String(distPort),
    RABBITMQ_MNESIA_BASE: data,
    RABBITMQ_LOG_BASE: join(base, 'log'),
    RABBITMQ_CONFIG_FILE: join(base, 'rabbitmq'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(base, 'enabled_plugins'),
    RABBITMQ_PID_FILE: join(base, 'node.pid'),
    // Else the system's /etc/rabbitmq/rabbitmq-env.conf is read and may override the above.
    RABBITMQ_CONF_ENV_FILE: '/dev/null',
    // Else Erlang would start a port mapper as a daemon that nobody stops.
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: `-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}`,
  };
  const server = (): string =>
    findBinary('rabbitmq-server', {
      // Debian's wrapper on PATH insists on the user rabbitmq and on /var/lib/rabbitmq.
      globs: ['/usr/lib/rabbitmq/bin/rabbitmq-server'],
      install: 'apt-get install rabbitmq-server',
    });

  const control = controlServer({
    name: 'rabbitmq',
    url: `amqp://guest:guest@127.0.0.1:${port}`,
    port,
    dir,
    async command() {
      await Promise.all([home, data, join(base, 'log')].map((folder) => mkdir(folder, { recursive: true })));
      await Promise.all([
        writeCookie(join(home, '.erlang.cookie')),
        writeFile(join(base, 'enabled_plugins'), '[].\n'),
        writeFile(
          join(base, 'rabbitmq.conf'),
          [
            `listeners.tcp.1 = 127.0.0.1:${port}`,
            // The default, half of the memory, would raise an alarm on a small machine with a full disk.
            'disk_free_limit.absolute = 64MB',
            'vm_memory_high_watermark.relative = 0.4',
            'log.file = false',
            'log.console = true',
            'log.console.level = info',
          ].join('\n') + '\n',
        ),
      ]);
      return { file: server(), args: [], env, cwd: base };
    },
    answers: () => handshake(port, 'AMQP\x00\x00\x09\x01', (answer) => answer[0] === METHOD_FRAME),
    startTimeoutMs: 120_000,
    stopSignal: 'SIGTERM',
    stopTimeoutMs: 20_000,
    wipe: () => rm(base, { recursive: true, force: true }),
  });

  const ctl = async (args: string[]): Promise<string> => {
    const file = join(dirname(server()), 'rabbitmqctl');
    const { stdout } = await promisify(execFile)(file, ['--quiet', '--node', 'backhaul@localhost', ...args], { env, cwd: base });
    return stdout;
  };
  // Not a spread: that would freeze the pid getter at its present value.
  return Object.assign(control, { ctl });
}

/** Erlang's port mapper of one stack: without an own one, RabbitMQ would use or start the system's. */
export function erlangPortMapper({ dir, port }: { dir: string; port: number }): ServerControl {
  return controlServer({
    name: 'epmd',
    url: `tcp://127.0.0.1:${port}`,
    port,
    dir,
    command: () =>
      Promise.resolve({
        file: findBinary('epmd', {
          globs: ['/usr/lib/erlang/bin/epmd', '/opt/homebrew/opt/erlang/lib/erlang/bin/epmd', '/usr/local/opt/erlang/lib/erlang/bin/epmd'],
          install: 'apt-get install rabbitmq-server',
        }),
        args: ['-address', '127.0.0.1', '-port', String(port)],
      }),
    // EPMD's NAMES request; the answer begins with the port in four bytes.
    answers: () => handshake(port, Buffer.from([0, 1, 110]), (answer) => (answer.length >= 4 ? answer.readUInt32BE() === port : undefined)),
    startTimeoutMs: 10_000,
    // It has no orderly stop: `epmd -kill` refuses while a node is registered.
    stopSignal: 'SIGKILL',
    stopTimeoutMs: 1_000,
    wipe: () => Promise.resolve(),
  });
}

async function writeCookie(path: string): Promise<void> {
  try {
    await writeFile(path, randomBytes(15).toString('base64url'), { flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  // Erlang refuses a cookie that others may read.
  await chmod(path, 0o400);
}
