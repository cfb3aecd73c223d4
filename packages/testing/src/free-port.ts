import { createServer } from 'node:net';

// Below the ephemeral range of Linux (32768) and macOS (49152). In that range the system may give the
// port of a stopped server to an outgoing connection, so the server could not come back on it; worse, a
// client that keeps dialling a closed loopback port there can connect to itself.
const FIRST = 15_000;
const COUNT = 15_000;
const BLOCK = 30;

// Each process starts in its own block, so that stacks which start at the same moment in several
// processes do not choose the same port between the check and the bind.
let next = (process.pid * BLOCK) % COUNT;

/**
 * A TCP port that nothing listens on, on 127.0.0.1. No port is handed out twice by one process until
 * its range of 15,000 is used up.
 *
 * @throws Error when every port of the range is taken.
 */
export async function freePort(): Promise<number> {
  for (let tried = 0; tried < COUNT; tried++) {
    const port = FIRST + next;
    next = (next + 1) % COUNT;
    if (await canBind(port)) return port;
  }
  throw new Error(`no free port on 127.0.0.1 between ${FIRST} and ${FIRST + COUNT - 1}`);
}

function canBind(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });
}
