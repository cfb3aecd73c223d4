import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chownSync, existsSync, lstatSync } from 'node:fs';
import { chmod, mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { controlServer } from '../server-process.ts';
import type { ServerControl } from '../server-process.ts';
import { elsewhere } from './elsewhere.ts';
import { findBinary } from './find-binary.ts';
import { handshake } from './handshake.ts';

type User = { uid: number; gid: number };

const SUPERUSER = 'backhaul';
const DATABASE = 'backhaul';

/**
 * A Postgres cluster on loopback with one database, `backhaul`, without passwords. As root it runs as the
 * user `postgres`, since the server refuses root.
 *
 * @param options.durable true: fsync as in production. False (the default) still survives a kill of the
 *   server, just not a power cut, and makes commits several times faster.
 */
export async function postgresServer(options: { dir: string; port: number; durable?: boolean; report?: (line: string) => void }): Promise<ServerControl> {
  const { dir, port, durable = false, report = () => {} } = options;
  const user = process.getuid?.() === 0 ? postgresUser() : undefined;
  const base = await dataFolder(dir, user, report);
  const data = join(base, 'data');
  return controlServer({
    name: 'postgres',
    url: `postgres://${SUPERUSER}@127.0.0.1:${port}/${DATABASE}`,
    port,
    dir,
    user,
    async command() {
      // A wiped one elsewhere is gone with its folder.
      await ownFolder(base, user);
      if (!existsSync(data)) await createCluster(base, data, user);
      const settings = {
        listen_addresses: '127.0.0.1',
        port: String(port),
        unix_socket_directories: socketFolder(base),
        max_connections: '200',
        shared_buffers: '64MB',
        // Without it a long run of tests would stop for checkpoints of the small default.
        max_wal_size: '1GB',
        ...(durable ? {} : { fsync: 'off', full_page_writes: 'off' }),
      };
      const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
      return { file: program('postgres'), args: ['-D', data, ...args], cwd: base };
    },
    answers: () =>
      handshake(port, startupMessage(), (answer) =>
        // 'R': asks for authentication, or needs none. 'E': an error, such as "the database system is starting up".
        answer.length > 0 ? answer.toString('latin1', 0, 1) === 'R' : undefined,
      ),
    startTimeoutMs: 60_000,
    // Fast shutdown: roll back what runs, disconnect clients. SIGTERM would wait for clients to leave.
    stopSignal: 'SIGINT',
    stopTimeoutMs: 15_000,
    // Each backend is its own process group; SIGQUIT makes the postmaster end them all at once.
    reapSignal: 'QUIT',
    async wipe() {
      await rm(data, { recursive: true, force: true });
      // Else an empty folder stays in the temporary folder.
      if (!base.startsWith(dir)) await rm(base, { recursive: true, force: true });
    },
  });
}

const program = (name: string): string =>
  findBinary(name, {
    // Debian keeps them off PATH, as several versions can be installed together.
    globs: [`/usr/lib/postgresql/*/bin/${name}`, `/opt/homebrew/opt/postgresql*/bin/${name}`, `/usr/local/opt/postgresql*/bin/${name}`],
    install: 'apt-get install postgresql',
  });

function postgresUser(): User {
  const id = (flag: string): number => {
    try {
      return Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
    } catch (cause) {
      throw new Error('Postgres refuses to run as root and there is no user "postgres"; create one with: useradd --system postgres', { cause });
    }
  };
  return { uid: id('-u'), gid: id('-g') };
}

/** A folder that the server's user can reach: in the stack's folder, or in the system's temporary folder. */
async function dataFolder(dir: string, user: User | undefined, report: (line: string) => void): Promise<string> {
  const wanted = join(dir, 'postgres');
  await ownFolder(wanted, user);
  if (!user) return wanted;
  const entered = spawnSync('/bin/sh', ['-c', 'cd "$1" && : > .reachable && rm .reachable', 'sh', wanted], { ...user, stdio: 'ignore', cwd: '/' });
  if (entered.status === 0) return wanted;
  // A clone under /root, for example: the user postgres cannot enter it, whoever owns the folder inside.
  const folder = elsewhere(dir, 'postgres');
  await ownFolder(folder, user);
  report(`the user postgres cannot enter ${dirname(dir)}, so its data is in ${folder}`);
  return folder;
}

/** Makes the folder and gives it to the user; refuses one that is somebody else's, as the temporary folder is open to all. */
async function ownFolder(folder: string, user: User | undefined): Promise<void> {
  await mkdir(folder, { recursive: true });
  if (!user) return;
  const present = lstatSync(folder);
  if (!present.isDirectory() || (present.uid !== 0 && present.uid !== user.uid)) throw new Error(`${folder} belongs to somebody else; remove it`);
  chownSync(folder, user.uid, user.gid);
}

// The path of a Unix socket is limited to 107 bytes; deep project folders exceed that.
const socketFolder = (base: string): string => (Buffer.byteLength(base) < 85 ? `"${base}"` : '');

async function createCluster(base: string, data: string, user: User | undefined): Promise<void> {
  // Built beside and renamed, so that an interrupted start does not leave half a cluster behind.
  const draft = join(base, 'data.new');
  await rm(draft, { recursive: true, force: true });
  const initdb = ['-D', draft, '-U', SUPERUSER, '--auth=trust', '--encoding=UTF8', '--locale=C', '--no-sync', '--no-instructions'];
  await run(program('initdb'), initdb, '', base, user);
  await run(program('postgres'), ['--single', '-D', draft, '-c', 'fsync=off', 'postgres'], `CREATE DATABASE ${DATABASE}\n`, base, user);
  await chmod(draft, 0o700);
  await rename(draft, data);
}

async function run(file: string, args: string[], input: string, cwd: string, user: User | undefined): Promise<void> {
  const child = spawn(file, args, { cwd, ...user, stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const exited = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', resolve);
  });
  const [code, out, err] = await Promise.all([exited, text(child.stdout), text(child.stderr)]);
  if (code !== 0) throw new Error(`${file} ended with code ${code}:\n${(out + err).slice(-2000)}`);
}

/** Protocol 3.0's first message (PostgreSQL documentation, "Message Formats", StartupMessage). */
function startupMessage(): Buffer {
  const parameters = Buffer.from(`user\0${SUPERUSER}\0database\0${DATABASE}\0\0`);
  const message = Buffer.alloc(8 + parameters.length);
  message.writeInt32BE(message.length, 0);
  message.writeInt32BE(3 << 16, 4);
  parameters.copy(message, 8);
  return message;
}
